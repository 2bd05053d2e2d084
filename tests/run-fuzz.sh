#!/usr/bin/env bash
# Fuzzes all code that reads untrusted input, under AddressSanitizer and UndefinedBehaviorSanitizer.
#   tests/run-fuzz.sh [SECONDS [TARGET...]]
# SECONDS (default 600) are shared by the targets (gguf model vocabulary tokenizer chat squad safetensors grammar request), one
# after the other, on one core. Prints for each target the number of executions and of control-flow edges that it
# reached, out of all edges of its program (which include all kernels of every instruction set and unreachable code).
# Inputs that reach new edges are kept in build/fuzz/corpus, and the next run continues from them; a finding stops its
# target and is stored in build/fuzz/findings. Exit status 1 if there was a finding. GEMMA_FUZZ_FOLDER: a folder that
# replaces build/fuzz. GEMMA_FUZZ_RUNS: executions of each target, instead of seconds. GEMMA_FUZZ_SANITIZE=undefined:
# without AddressSanitizer but with the standard library's assertions, which gives twice as many executions in the same
# time. The campaign before a release, with both sanitizers first and last:
#   GEMMA_FUZZ_RUNS=1000000 tests/run-fuzz.sh 0 gguf model vocabulary squad request
#   GEMMA_FUZZ_RUNS=200000 tests/run-fuzz.sh 0 tokenizer chat grammar
#   GEMMA_FUZZ_SANITIZE=undefined GEMMA_FUZZ_RUNS=9000000 tests/run-fuzz.sh 0 gguf model vocabulary squad request
#   GEMMA_FUZZ_SANITIZE=undefined GEMMA_FUZZ_RUNS=1800000 tests/run-fuzz.sh 0 tokenizer chat grammar
#   GEMMA_FUZZ_RUNS=0 tests/run-fuzz.sh 0       # runs all kept inputs
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
[ $# -gt 0 ] && shift
targets=("$@")
[ ${#targets[@]} -eq 0 ] && targets=(gguf model vocabulary tokenizer chat squad safetensors grammar request)
folder=${GEMMA_FUZZ_FOLDER:-build/fuzz}
sanitize=${GEMMA_FUZZ_SANITIZE:-address,undefined}
# without tracing of comparisons, which takes a third of the time: seeds and dictionaries contain the relevant words
coverage="-fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp"
[[ $sanitize == *address* ]] || coverage+=" -D_GLIBCXX_ASSERTIONS"

examples/install.sh --tests
cmake -G Ninja -S . -B "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -gline-tables-only" -DCMAKE_CXX_FLAGS="$coverage" \
  -DGEMMA_SANITIZE="$sanitize" -DGEMMA_BUILD_FUZZ=ON -DGEMMA_BUILD_BENCH=OFF >/dev/null
cmake --build "$folder" -j "$(nproc)" --target write_seeds "${targets[@]/#/fuzz_}" | tail -n 1

"$folder"/tests/fuzz/write_seeds "$folder"/seeds
mkdir -p "$folder"/findings
limit=("-max_total_time=$((seconds / ${#targets[@]}))")
[ -z "${GEMMA_FUZZ_RUNS:-}" ] || limit=("-runs=$GEMMA_FUZZ_RUNS")
# -entropic=0 below: choosing inputs by rare features takes 40% of the time, more than running them
# stacks of allocations are needed only to analyse a finding: run its file without this option to see them
export ASAN_OPTIONS=${ASAN_OPTIONS:-malloc_context_size=2}
status=0
for target in "${targets[@]}"; do
  found=$folder/corpus/$target
  mkdir -p "$found"
  dictionary=()
  [ -f "tests/fuzz/$target.dict" ] && dictionary=("-dict=tests/fuzz/$target.dict")
  mkdir -p "tests/fuzz/corpus/$target"
  longest=4096 # maximum size of an input in bytes; larger for small models, smaller for texts that a model computes
  case $target in
    gguf | model | vocabulary) longest=131072 ;;
    tokenizer | chat) longest=1024 ;;
  esac
  "$folder/tests/fuzz/fuzz_$target" "$found" "$folder/seeds/$target" "tests/fuzz/corpus/$target" \
    "${limit[@]}" -max_len="$longest" -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=512 \
    -artifact_prefix="$folder/findings/$target-" -print_final_stats=1 -entropic=0 \
    "${dictionary[@]}" >"$folder/$target.log" 2>&1 || status=1
  printf '%-12s %s executions, %s of %s edges, %s inputs kept\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$target.log")" \
    "$(grep -aoE 'cov: [0-9]+' "$folder/$target.log" | tail -n 1 | cut -d' ' -f2)" \
    "$(sed -n 's/.*PC tables (\([0-9]*\) PCs).*/\1/p' "$folder/$target.log")" "$(ls "$found" | wc -l)"
  grep -aE '^(==[0-9]+==ERROR|SUMMARY|terminate called)|what\(\)' "$folder/$target.log" || true
done
exit "$status"
