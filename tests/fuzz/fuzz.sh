#!/usr/bin/env bash
# Runs every fuzzing target (or those named) for FUZZ_SECONDS each. A panic, or an input of more than 100 ms, ends it
# with an error and leaves the input in target/fuzz/found; an input worth keeping goes to tests/fuzz/corpus/<target>.
# Usage: tests/fuzz/fuzz.sh [TARGET…]
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${FUZZ_SECONDS:=60}" "${CARGO:=cargo}"
host=$("$CARGO" -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

# What cargo-fuzz passes too: coverage by LLVM's own pass, which the stable compiler has. With --target, so that build
# scripts and macros stay as they are. Not --locked: what the tests are made of changes, and this lock file follows.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
(cd tests/fuzz && CARGO_TARGET_DIR=$target_dir RUSTFLAGS=$flags "$CARGO" build --release --target "$host")
fuzz=$target_dir/$host/release/fuzz

if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(FUZZ_TARGET=list "$fuzz" -runs=0 -artifact_prefix="$target_dir/" 2>/dev/null); fi
mkdir -p "$target_dir/found"
failed=()
for target in "${targets[@]}"; do
  mkdir -p "$target_dir/grown/$target"
  log=$target_dir/$target.log
  # What a run finds stays in the directory for that, so that the next one goes on from there.
  if FUZZ_TARGET=$target "$fuzz" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$target_dir/found/$target-" "$target_dir/grown/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
    echo "$target: $(sed -n 's/^Done \([0-9]* runs\).*/\1/p' "$log"), $(grep -ao 'cov: [0-9]*' "$log" | tail -n 1)"
  else
    failed+=("$target")
    grep -a -A 3 -e 'panicked at' -e 'ERROR: libFuzzer' "$log" || tail -n 20 "$log"
  fi
done
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}; the inputs are in $target_dir/found" >&2; exit 1; }
