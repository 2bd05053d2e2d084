#!/usr/bin/env bash
# Tests gemma-server under clang's sanitizers: builds the program and the engine, runs the tests of its routes, and sends
# 200 requests from 32 clients, some of which stall, disconnect or send half a body. Fails on any report or leak.
#   tests/server/sanitize.sh [address,undefined | thread] [BUILD_FOLDER]       (address,undefined; build/server-...)
# JOBS: number of parallel compilers (default: all cores); CXX_LAUNCHER=ccache speeds up the build.
set -euo pipefail
cd "$(dirname "$0")/../.."
which=${1:-address,undefined}
build=${2:-build/server-${which%%,*}}
jobs=${JOBS:-$(nproc)}
step() { printf '\n== %s\n' "$*"; }

step "build (clang, $which)"
preset=asan
[ "$which" = thread ] && preset=tsan
cmake --preset "$preset" -B "$build" -DGEMMA_BUILD_EXAMPLES=ON -DGEMMA_BUILD_TESTS=OFF "-DGEMMA_SANITIZE=$which" \
  ${CXX_LAUNCHER:+-DCMAKE_CXX_COMPILER_LAUNCHER=$CXX_LAUNCHER} >/dev/null
ninja -C "$build" -j "$jobs" gemma-server | tail -n 1

# keeps the quarantine of freed memory small compared to the growth that the load test allows
export ASAN_OPTIONS="detect_leaks=1 quarantine_size_mb=8 malloc_context_size=12"
export UBSAN_OPTIONS="halt_on_error=1 print_stacktrace=1"
# clang's OpenMP warns if a busy server gets a smaller team, and leaks the text of suppressed warnings
export KMP_WARNINGS=0
printf 'leak:libomp\n' >"$build/leaks"
export LSAN_OPTIONS="suppressions=$(realpath "$build/leaks"):print_suppressions=0"
if [ "$which" = thread ]; then
  # clang's OpenMP runtime is not instrumented: archer, a tool of the runtime, reports forks and joins to the sanitizer
  archer=$(clang++ -print-file-name=libarcher.so)
  [ -e "$archer" ] || archer=$(find /usr/lib/llvm-"$(clang++ -dumpversion | cut -d. -f1)"/lib -name libarcher.so | head -n 1)
  [ -e "$archer" ] || { echo "sanitize.sh: libarcher.so, part of clang's libomp, is not there" >&2; exit 1; }
  export OMP_TOOL_LIBRARIES=$archer
  export TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1 exitcode=66"
fi

export GEMMA_BIN=$build/bin GEMMA_SOURCE_DIR=$PWD GEMMA_TEST_SECONDS=${GEMMA_TEST_SECONDS:-300}
for name in server echo hostile models; do
  step "test_$name.py"
  python3 -B tests/server/test_$name.py
done
step "load.py, 200 requests of 32 clients"
python3 -B tests/server/load.py "$build/bin" examples/models/gemma-demo.Q4_K_M.gguf 200 32
step "no reports"
