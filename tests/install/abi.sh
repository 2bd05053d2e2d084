#!/usr/bin/env bash
# Compares the exported symbols of a shared library with the list beside this script: abi.txt for libgemma,
# abi_kernels.txt for libgemma_kernels. They must be equal.
#   abi.sh LIBRARY.so [--update]
set -euo pipefail
name=$(basename "$1")
name=${name%%.so*}
list=$(dirname "$0")/abi${name#libgemma}.txt
shown=$(nm -D -C --defined-only "$1" | awk '{ $1 = ""; print substr($0, 2) }' | LC_ALL=C sort -u)
if [ "${2:-}" = --update ]; then
  printf '%s\n' "$shown" >"$list"
  exit 0
fi
diff -u "$list" <(printf '%s\n' "$shown") && echo "abi: $(wc -l <"$list") symbols, as listed"
