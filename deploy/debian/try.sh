#!/usr/bin/env bash
# Installs the Debian package, serves, upgrades, removes and purges it, all in a copy of this machine that is thrown
# away: an overlay over its root folder. `make try-deb` runs this script with debug builds.
set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "$script")/../.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo_deb=$target/tools/bin/cargo-deb

skip() {
  echo "try-deb skipped: $1"
  exit 0
}
command -v dpkg > /dev/null || skip "it needs dpkg"
[ -x "$cargo_deb" ] || skip "it needs cargo-deb (make $cargo_deb)"
for program in adduser deluser unshare setpriv strip; do
  command -v "$program" > /dev/null || skip "it needs $program"
done
if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || skip "it needs root"
  unshare --mount true 2> /dev/null || skip "it needs the right to mount"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  deploy/debian/stage.sh "${DEB_FROM:-$target/debug}"
  for version in 1.0.0~first 1.0.0~second; do
    "$cargo_deb" --quiet --package tocsin --no-build --no-strip --fast --deb-version "$version" \
      --output "$work/tocsin-$version.deb" > /dev/null
  done
  unshare --mount --pid --fork "$script" inside "$work"
  exit
fi

work=$2
mkdir "$work/room"
mount -t tmpfs tmpfs "$work/room"
mkdir "$work/room/"{upper,work,root}
root=$work/room/root
if ! mount -t overlay overlay -o "lowerdir=/,upperdir=$work/room/upper,workdir=$work/room/work" "$root"; then
  skip "the kernel has no overlay"
fi
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mkdir -p "$root/deb"
cp "$work"/*.deb "$root/deb/"

in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
is() {
  local found
  found=$(in_root stat -c '%a %U:%G' "$1")
  [ "$found" = "$2" ] || { echo "$1 is $found, not $2"; exit 1; }
}
missing() { [ ! -e "$root$1" ] || { echo "$1 is still there"; exit 1; }; }

echo "installing"
in_root dpkg -i /deb/tocsin-1.0.0~first.deb > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; exit 1; }
is /etc/tocsin "750 root:tocsin"
is /etc/tocsin/tocsin.toml "640 root:tocsin"
is /var/lib/tocsin "700 tocsin:tocsin"
is /usr/bin/tocsin "755 root:root"
is /usr/lib/tocsin/plugins "755 root:root"
is /usr/lib/tocsin/available/libalertmanager.so "644 root:root"
test -e "$root/usr/share/tocsin/src/plugin-api/Cargo.toml"
unit=$(in_root dpkg -L tocsin | grep '/tocsin.service$')

if command -v systemd-analyze > /dev/null; then
  in_root systemd-analyze verify --man=no "$unit"
  in_root systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" | tail -n 1
else
  echo "the unit is not verified: systemd-analyze is not installed"
fi

# Starts the program as the unit does, sends an alert of this name, and stops it. The whole of 127.0.0.0/8 is this
# machine, and other hosts listen on 127.0.0.1.
address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250)).$((RANDOM % 250 + 1))
serve() {
  # Each of these programs becomes the next, so that `$!` is the host.
  chroot "$root" setpriv --reuid tocsin --regid tocsin --clear-groups --no-new-privs \
    /usr/bin/tocsin serve --config /etc/tocsin/tocsin.toml 2>> "$work/host.log" &
  local host=$! answer=
  for _ in $(seq 600); do
    answer=$(curl -sS -H "content-type: application/json" -H "Authorization: Bearer a-token-of-the-sender" -d "$(alert "$1")" \
      "http://$address:8080/in/prometheus" 2>&1) && break
    kill -0 "$host" 2> /dev/null || { cat "$work/host.log"; exit 1; }
    sleep 0.1
  done
  case $answer in *error* | *curl*) echo "$answer"; cat "$work/host.log"; exit 1 ;; esac
  in_root tocsin alerts list --config /etc/tocsin/tocsin.toml > "$work/alerts"
  kill "$host"
  wait "$host"
}
alert() {
  echo '{"version": "4", "groupKey": "'"$1"'", "status": "firing", "receiver": "tocsin", "groupLabels": {},
    "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager.example.com", "alerts": [{
    "status": "firing", "labels": {"alertname": "'"$1"'"}, "annotations": {"summary": "'"$1"'"},
    "startsAt": "2026-11-24T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
    "fingerprint": "'"$1"'"}]}'
}

echo "serving"
sed -i "s/127\.0\.0\.1/$address/" "$root/etc/tocsin/tocsin.toml"
printf '\n[integrations.prometheus]\nplugin = "alertmanager"\noptions.bearer_token = { file = "alertmanager.token" }\n' \
  >> "$root/etc/tocsin/tocsin.toml"
(umask 027 && echo a-token-of-the-sender > "$root/etc/tocsin/alertmanager.token")
in_root chgrp tocsin /etc/tocsin/alertmanager.token
in_root cp /usr/lib/tocsin/available/libalertmanager.so /usr/lib/tocsin/plugins/
serve first
grep -q first "$work/alerts"
is /var/lib/tocsin/tocsin.db "600 tocsin:tocsin"

echo "upgrading"
in_root dpkg -i /deb/tocsin-1.0.0~second.deb > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; exit 1; }
grep -q alertmanager.token "$root/etc/tocsin/tocsin.toml"
is /etc/tocsin/tocsin.toml "640 root:tocsin"
serve second
grep -q first "$work/alerts"
grep -q second "$work/alerts"

echo "removing"
in_root dpkg -r tocsin > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; exit 1; }
missing /usr/bin/tocsin
missing /usr/lib/tocsin/available
is /etc/tocsin/tocsin.toml "640 root:tocsin"
is /var/lib/tocsin/tocsin.db "600 tocsin:tocsin"

echo "installing again"
in_root dpkg -i /deb/tocsin-1.0.0~second.deb > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; exit 1; }
serve third
grep -q first "$work/alerts"

echo "purging"
in_root dpkg -P tocsin > "$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log"; exit 1; }
missing /etc/tocsin
missing /var/lib/tocsin
missing /usr/lib/tocsin
if in_root getent passwd tocsin; then exit 1; fi
echo "the package installs, serves, is upgraded, removed and purged"
