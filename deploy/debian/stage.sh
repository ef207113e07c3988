#!/usr/bin/env bash
# Lays out the files of the Debian package in deploy/debian/stage, as they will lie on the machine. The argument
# is the folder with the program and the plugins. `make deb` runs this script.
set -euo pipefail
built=$(realpath "$1")
cd "$(dirname "$0")/../.."
stage=deploy/debian/stage
plugins=(slack_outgoing_webhook alertmanager webhook_out slack_channel)

rm -rf "$stage"
mkdir -p "$stage"/{usr/bin,usr/lib/tocsin/available,etc/tocsin}
strip -o "$stage/usr/bin/tocsin" "$built/tocsin"
for plugin in "${plugins[@]}"; do
  strip --strip-unneeded -o "$stage/usr/lib/tocsin/available/lib$plugin.so" "$built/lib$plugin.so"
done
cp deploy/debian/tocsin.toml "$stage/etc/tocsin/"

doc=$stage/usr/share/doc/tocsin
mkdir -p "$doc/examples"
cp -r README.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT tocsin.example.toml docs "$doc/"
cp -r deploy/prometheus deploy/grafana deploy/proxy "$doc/examples/"

deploy/plugin-api-sources.sh "$stage/usr/share/tocsin/src/plugin-api"
"$built/tocsin" man --to "$stage/usr/share/man/man1" > /dev/null
mkdir -p "$stage"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$built/tocsin" completions bash > "$stage/usr/share/bash-completion/completions/tocsin"
"$built/tocsin" completions zsh > "$stage/usr/share/zsh/vendor-completions/_tocsin"
"$built/tocsin" completions fish > "$stage/usr/share/fish/vendor_completions.d/tocsin.fish"
