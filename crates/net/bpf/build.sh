#!/bin/sh
# Makes the object of relay.bpf.c: `build.sh OUT`, OUT as seen from this folder. Needs clang and the headers of linux-libc-dev; fails where they are not.
# The object carries the hash of its source, so that a test can tell whether the one that is checked in is this source's.
set -e
cd "$(dirname "$0")"
hash=$(sha256sum relay.bpf.c | cut -d' ' -f1)
clang -O2 -target bpfel -mcpu=v3 -Wall -Wextra -Werror -I"/usr/include/$(uname -m)-linux-gnu" -DSOURCE="\"$hash\"" -c relay.bpf.c -o "$1"
