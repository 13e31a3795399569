#!/usr/bin/env bash
# Lets schemathesis loose on a real lap-server: requests made up from openapi.json, right and wrong ones, whose every
# answer must be what the document says. Ends with status 0 only if nothing was found.
#
#   tests/schemathesis.sh [--seed N] [--examples N] [more arguments for `schemathesis run`]
#
# Needs Python 3.10 or later with venv; installs schemathesis into a folder of its own below the cache directory
# (LAP_CACHE_DIR, else ~/.cache/lap-tests).
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
# The same requests every time, unless a seed is given.
random=(--generation-deterministic)
examples=40
more=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) random=(--seed "$2"); shift 2 ;;
    --examples) examples=$2; shift 2 ;;
    *) more+=("$1"); shift ;;
  esac
done

cache=${LAP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lap-tests}/schemathesis-$version
if [ ! -x "$cache/bin/schemathesis" ]; then
  python3 -m venv "$cache"
  "$cache/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

cargo build --quiet -p lap-attach-server --bin lap-server
server=${CARGO_TARGET_DIR:-target}/debug/lap-server

work=$(mktemp -d)
pid=
finish() {
  status=$?
  [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; }
  if [ $status -ne 0 ]; then
    echo "--- the server's log, its end"
    grep -v ' INFO ' "$work/log" | tail -40 || true
  fi
  # Sandboxes outlive their server.
  for keeper in $(pgrep -f -- "__keeper run .*$work/" || true); do kill "$keeper" 2>/dev/null || true; done
  rm -rf "$work"
  exit $status
}
trap finish EXIT

export LAP_CONFIG_DIR=$work/config LAP_DATA_DIR=$work/data LAP_STATE_DIR=$work/state LAP_RUNTIME_DIR=$work/run
export LAP_KEYRING=false LAP_DEFAULT_HARNESS=shell LAP_LIVE_SESSIONS=16
export PORT=0 MASTER_KEY=only-for-this-run
"$server" 2> "$work/log" &
pid=$!
for _ in $(seq 200); do
  [ -f "$work/state/server.json" ] && break
  kill -0 "$pid" 2>/dev/null || { cat "$work/log"; exit 1; }
  sleep 0.05
done
url=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["url"])' "$work/state/server.json")

# Streams have no end and WebSockets are no plain answers: suites of their own test them.
"$cache/bin/schemathesis" --config-file tests/schemathesis.toml run "$url/api/v1/openapi.json" \
  --header "Authorization: Bearer $MASTER_KEY" \
  --exclude-path-regex '/(events|attach|tty)$' \
  --max-examples "$examples" "${random[@]}" "${more[@]}"
