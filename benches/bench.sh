#!/usr/bin/env bash
# Runs the micro benches, prints what they measure beside budgets.toml and appends it to RESULTS.md.
# Exit 1 when a budget is missed.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/.."
cargo="${CARGO:-cargo}"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

# $1 names what runs, the rest is the command. Its output is shown and kept; a failure is told at the end.
failed=()
run() {
  local title="$1"
  shift
  echo "== $title"
  echo "== $title" >>"$out/said"
  if ! "$@" 2>"$out/errors" | tee -a "$out/said"; then
    cat "$out/errors" >&2
    failed+=("$title")
  fi
}

run "messages" "$cargo" bench --locked -q -p benches-micro --features bench --bench message -- --output-format bencher
run "srtp" "$cargo" bench --locked -q -p benches-micro --features bench --bench srtp -- --output-format bencher
run "allocations" "$cargo" test --release --locked -q -p benches-micro --test allocations --test relay
run "lamps" "$cargo" run --release --locked -q -p benches-micro --bin lamps
run "commits of calls and registrations at 1,000/s" "$cargo" bench --locked -q -p controller --bench commit

python3 "$here/record.py" "micro benches" "benches/bench.sh" "$out/said" "${failed[@]}"
