#!/usr/bin/env bash
# Renews crosspoint.profdata: builds a program that counts, loads it as benches/load does, keeps what it counted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
into="$PWD/target/profile"
rustup component add llvm-tools
tools="$(dirname "$(rustc --print target-libdir)")/bin"
rm -rf "$into/counts"
mkdir -p "$into/counts"
cargo build --release --locked -p relay-load
PROFILE_INTO="$into/counts" cargo build --release --locked -p crosspoint --target-dir "$into"
benches/load/load.sh --crosspoint "$into/release/crosspoint" --no-results --side crosspoint --only calls,register,media \
    --rates 300,600 --rounds 1 compare kinds || echo 'figures of a program that counts: not to be judged'
"$tools/llvm-profdata" merge --sparse -o deploy/profile/crosspoint.profdata "$into"/counts/*.profraw
ls -l deploy/profile/crosspoint.profdata
