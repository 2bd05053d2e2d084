#!/usr/bin/env bash
# Builds the engine's tests with clang's ThreadSanitizer and runs those with several threads: many sessions on one
# model, a scheduler with many callers, cancelling from other threads, teams of several threads, parallel regions of
# callers. Fails on any race.
#   tests/run-tsan.sh [BUILD_FOLDER]       (build/tsan)
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/tsan}
jobs=$(nproc)
step() { printf '\n== %s\n' "$*"; }

examples/install.sh --tests

step "build (clang, thread sanitizer)"
cmake --preset tsan -B "$build" >/dev/null
cmake --build "$build" --target gemma_tests -j "$jobs" | tail -n 1

# Clang's OpenMP runtime is not instrumented, so the sanitizer cannot see the fork and the join of a parallel region.
# Archer, a tool of the runtime, reports them to the sanitizer. The barrier between steps uses std::atomic, which the
# sanitizer supports.
archer=$(clang++ -print-file-name=libarcher.so)
if [ ! -e "$archer" ]; then
  archer=$(find /usr/lib/llvm-"$(clang++ -dumpversion | cut -d. -f1)"/lib -name libarcher.so | head -n 1)
fi
if [ ! -e "$archer" ]; then
  echo "run-tsan.sh: libarcher.so, part of clang's libomp, is not there" >&2
  exit 1
fi
export OMP_TOOL_LIBRARIES=$archer
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1 exitcode=66"

step "threads and laws under the sanitizer"
"$build"/tests/gemma/gemma_tests --gtest_brief=1 \
  --gtest_filter='Models/Threads.*:Simd/OneAnswer*nano*:Forward.*:Models/Sessions.*:Schedulers.*:Windows/SharedPrefixes.NeverShow/*'
