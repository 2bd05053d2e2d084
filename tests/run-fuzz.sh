#!/usr/bin/env bash
# Fuzzes everything that reads what strangers wrote, under AddressSanitizer and UndefinedBehaviorSanitizer.
#   tests/run-fuzz.sh [SECONDS [TARGET...]]
# SECONDS (default 600) are shared by the targets: gguf model vocabulary tokenizer chat squad, one after the other,
# on one core. Prints for each its executions, and what of the engine's code it reached (regions and functions of
# clang's coverage). Inputs found are kept in build/fuzz/corpus and go on from there the next time; a finding stops
# its target and lies in build/fuzz/findings. Exit status 1 when there was one.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
[ $# -gt 0 ] && shift
targets=("$@")
[ ${#targets[@]} -eq 0 ] && targets=(gguf model vocabulary tokenizer chat squad)
folder=${GEMMA_FUZZ_FOLDER:-build/fuzz}

examples/install.sh --tests
cmake -G Ninja -S . -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -gline-tables-only" -DCMAKE_CXX_FLAGS="-fsanitize=fuzzer-no-link" \
  -DGEMMA_SANITIZE=address,undefined -DGEMMA_BUILD_FUZZ=ON -DGEMMA_BUILD_BENCH=OFF >/dev/null
cmake --build "$folder" -j "$(nproc)" --target write_seeds "${targets[@]/#/fuzz_}" | tail -n 1

"$folder"/tests/fuzz/write_seeds "$folder"/seeds
mkdir -p "$folder"/findings
status=0
for target in "${targets[@]}"; do
  found=$folder/corpus/$target
  mkdir -p "$found"
  dictionary=()
  [ -f "tests/fuzz/$target.dict" ] && dictionary=("-dict=tests/fuzz/$target.dict")
  "$folder/tests/fuzz/fuzz_$target" "$found" "$folder/seeds/$target" $(ls -d "tests/fuzz/corpus/$target" 2>/dev/null || true) \
    -max_total_time=$((seconds / ${#targets[@]})) -max_len=65536 -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=512 \
    -artifact_prefix="$folder/findings/$target-" -print_final_stats=1 -print_coverage=0 -verbosity=1 \
    "${dictionary[@]}" >"$folder/$target.log" 2>&1 || status=1
  printf '%-12s %s executions, %s edges, %s inputs kept\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$target.log")" \
    "$(grep -oE 'cov: [0-9]+' "$folder/$target.log" | tail -n 1 | cut -d' ' -f2)" "$(ls "$found" | wc -l)"
  grep -aE '^(==[0-9]+==ERROR|SUMMARY|terminate called)|what\(\)' "$folder/$target.log" || true
done
exit "$status"
