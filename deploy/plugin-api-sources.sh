#!/usr/bin/env bash
# Puts the sources of plugin-api into a folder, for `tocsin plugins new` on a machine without this repository. Cargo
# writes a manifest that needs no workspace.
set -euo pipefail
folder=$(realpath -m "$1")
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

rm -f "$target"/package/tocsin-plugin-api-*.crate
cargo package --quiet --package tocsin-plugin-api --no-verify --allow-dirty
rm -rf "$folder"
mkdir -p "$folder"
tar -xzf "$target"/package/tocsin-plugin-api-*.crate -C "$folder" --strip-components 1
