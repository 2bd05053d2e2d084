#!/usr/bin/env bash
# Doxygen finds a comment for every public symbol and gives no warning; the reference contains every C function.
#   reference.sh DOXYGEN OUT
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$2"
(cat docs/Doxyfile && echo "OUTPUT_DIRECTORY = $2") | "$1" -
missing=0
for function in $(awk '$2 ~ /^gemma_/ { print $2 }' tests/install/abi.txt); do
  grep -q "$function" "$2/html/c__api_8h.html" || { echo "not in the reference: $function" && missing=$((missing + 1)); }
done
exit $((missing != 0))
