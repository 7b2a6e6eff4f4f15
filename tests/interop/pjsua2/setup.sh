#!/usr/bin/env bash
# Makes the virtual environment with pjsua2 that `tests/interop/pjsua2.rs` uses, beside the build. Where it cannot be had for
# this machine it says so, and the tests pass those flows over with the reason in skips.toml.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
place="${CARGO_TARGET_DIR:-$here/../../../target}/pjsua2"
want="$(sha256sum <"$here/requirements.txt")"
if [ "$(cat "$place/made" 2>/dev/null)" = "$want" ] && "$place/bin/python" -c 'import pjsua2' 2>/dev/null; then
  exit 0
fi
rm -rf "$place"
echo "installing: pjsua2"
if python3 -m venv "$place" &&
  "$place/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$here/requirements.txt" &&
  "$place/bin/python" -c 'import pjsua2'; then
  echo "$want" >"$place/made"
else
  echo "pjsua2 cannot be had for this machine's Python: its tests are passed over"
fi
