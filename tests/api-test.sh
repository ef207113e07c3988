#!/usr/bin/env bash
# Checks that the description of the admin API is valid, and that the API answers as its description says,
# whatever it is asked. openapi-spec-validator and Redocly read the description; schemathesis makes requests of
# it, and looks at every answer. `make api-test` runs this script.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pinned, so that a new check does not break an old commit.
version=4.32.5
validator_version=0.9.0
redocly_version=2.77.0
target=${CARGO_TARGET_DIR:-target}
tools=$(realpath -m "$target")/tools/schemathesis
validator=$(realpath -m "$target")/tools/openapi-spec-validator
redocly=$(realpath -m "$target")/tools/redocly

if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2> /dev/null; then
  echo "api-test skipped: it needs Python 3.10 or later with venv (apt-get install python3-venv)"
  exit 0
fi
if [ "$("$tools/bin/schemathesis" --version 2> /dev/null | grep -o '[0-9.]*$')" != "$version" ]; then
  echo "installing schemathesis $version, once"
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi
if [ "$("$validator/bin/openapi-spec-validator" --version 2> /dev/null | grep -o '[0-9.]*$')" != "$validator_version" ]; then
  echo "installing openapi-spec-validator $validator_version, once"
  rm -rf "$validator"
  python3 -m venv "$validator"
  "$validator/bin/pip" install --quiet --disable-pip-version-check "openapi-spec-validator==$validator_version"
fi
# Neither asks its vendor for news, nor reports its use.
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
has_redocly=yes
if ! node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2> /dev/null || ! command -v npm > /dev/null; then
  has_redocly=
elif [ "$("$redocly/node_modules/.bin/redocly" --version 2> /dev/null)" != "$redocly_version" ]; then
  echo "installing redocly $redocly_version, once"
  rm -rf "$redocly"
  mkdir -p "$redocly"
  npm install --prefix "$redocly" --silent --no-audit --no-fund --no-package-lock "@redocly/cli@$redocly_version"
fi

cargo build --quiet --package tocsin
for plugin in well-behaved bad-panics-in-receive; do cargo build --quiet --package $plugin; done

site=$(mktemp -d)
host=
end() {
  if [ -n "$host" ]; then
    kill "$host" 2> /dev/null || true
    # A host whose database is removed while it stops saves it beside the old path.
    wait "$host" || true
  fi
  rm -rf "$site"
}
trap end EXIT
mkdir "$site/plugins"
cp "$target"/debug/lib{well_behaved,bad_panics_in_receive}.so "$site/plugins/"
cat > "$site/tocsin.toml" << 'END'
[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[log]
format = "json"
[requests]
keep = "all"
[integrations.good]
plugin = "well-behaved"
[integrations.bad]
plugin = "bad-panics-in-receive"
END
"$target/debug/tocsin" serve --config "$site/tocsin.toml" 2> "$site/log" &
host=$!
for _ in $(seq 300); do
  grep -q '"event":"serving"' "$site/log" && break
  kill -0 "$host" 2> /dev/null || { cat "$site/log"; exit 1; }
  sleep 0.1
done
listens() { grep -m 1 '"event":"listening"' "$site/log" | sed 's/.*"'"$1"'":"\([^"]*\)".*/\1/'; }
webhooks=$(listens webhooks)
admin=$(listens admin)

curl -sS --fail -o "$site/openapi.json" "http://$admin/openapi.json"
"$validator/bin/openapi-spec-validator" "$site/openapi.json"
if [ -n "$has_redocly" ]; then
  # Warnings count as well.
  "$redocly/node_modules/.bin/redocly" lint --max-problems 1000 --format json "$site/openapi.json" \
    > "$site/findings.json" 2> "$site/redocly.log" || true
  python3 - "$site" << 'END'
import json, pathlib, sys
site = pathlib.Path(sys.argv[1])
try:
    found = json.loads((site / "findings.json").read_text())["problems"]
except ValueError:
    sys.exit((site / "redocly.log").read_text())
for one in found:
    print(one["severity"], one["ruleId"], one["message"], one["location"][0].get("pointer"))
sys.exit(1 if found else 0)
END
  echo "redocly finds nothing"
else
  echo "redocly skipped: it needs Node.js 20 or later with npm"
fi

# Something to find: alerts in every status, requests of several outcomes, some that wait.
for count in $(seq 5); do
  curl -sS -o /dev/null -d "disk $count full" -H "x-dedup-key: $count" "http://$webhooks/in/good"
  curl -sS -o /dev/null -d "panic $count" "http://$webhooks/in/bad"
done
curl -sS -o /dev/null -H "x-dedup-key: 1" -H "x-action: resolve" -d x "http://$webhooks/in/good"
curl -sS -o /dev/null -H "x-action: dance" -d x "http://$webhooks/in/good"

# It reads its settings and leaves its notes where it runs. Readiness is the only route for which 503 is no fault.
cd "$site"
cat > schemathesis.toml << 'END'
[[operations]]
include-path = "/health/ready"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
END
"$tools/bin/schemathesis" run "http://$admin/openapi.json" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
  --max-examples "${API_TEST_EXAMPLES:-60}" --seed "${API_TEST_SEED:-1}" --no-color

# It is still there.
curl -sS --fail -o /dev/null "http://$admin/health/live"
