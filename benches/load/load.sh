#!/usr/bin/env bash
# Loads the exchange, and Kamailio with rtpengine beside it, from outside: see `load.sh --help`.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ulimit -n "$(ulimit -Hn)"
exec python3 "$here/load.py" "$@"
