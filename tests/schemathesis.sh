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

# Streams have no end and WebSockets are no plain answers: suites of their own test them.
run() {
  "$cache/bin/schemathesis" --config-file tests/schemathesis.toml run "$LAP_TEST_URL/api/v1/openapi.json" \
    --header "Authorization: Bearer $LAP_TEST_KEY" \
    --exclude-path-regex '/(events|attach|tty)$' "$@"
}
export -f run
export cache
tests/with-server bash -c 'run "$@"' run --max-examples "$examples" "${random[@]}" "${more[@]}"
