#!/usr/bin/env bash
# Installs what is missing, builds everything, and passes all tests.
#   tests/run.sh          gcc with warnings as errors and every test
#   tests/run.sh --all    then also a strict user's program optimised by both compilers, and the library's tests built
#                         by clang, under AddressSanitizer and UndefinedBehaviorSanitizer: what continuous integration runs
# tests/run-aarch64.sh does NEON, under emulation.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "" | --all | --quick) ;; # --quick: what the script without a flag was called before
  *)
    echo "run.sh: there is no flag $1; there is --all" >&2
    exit 1
    ;;
esac

examples/install.sh --tests
jobs=$(nproc)
begin=0
step() { # what comes now; how long the step before took
  [ "$begin" -eq 0 ] || printf '(%d s)\n' $((SECONDS - begin))
  printf '\n== %s\n' "$*"
  begin=$SECONDS
}
build() { # preset; what the compiler says is shown when it fails
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" -j "$jobs" >"build/$1/build.log" 2>&1 || { tail -n 60 "build/$1/build.log" && exit 1; }
}
run_tests() { # preset; OpenMP's idle threads sleep at once: the tests beside them want the cores
  OMP_WAIT_POLICY=passive ctest --test-dir "build/$1" --output-on-failure -j "$((jobs + 1))" --output-log "build/$1/test.log" | grep -vE ' Passed +[0-9.]+ sec$|^ +Start '
}

step "format"
find gguf kernels tokenizer gemma examples bench tests \( -name '*.hpp' -o -name '*.inl' -o -name '*.cpp' -o -name '*.h' \) -print0 |
  xargs -0 clang-format --dry-run --Werror

step "build (gcc, warnings are errors)"
build ci
step "test"
run_tests ci

if [ "${1:-}" = --all ]; then
  step "a user with folders of our names, -O2 and -ffast-math, by gcc and clang"
  tests/install/run.sh strict "$PWD/build/ci" -O2
  step "build (clang, address and undefined-behaviour sanitizers)"
  build asan
  step "test under sanitizers"
  ASAN_OPTIONS=detect_leaks=1 run_tests asan
fi
step "all passed, in $((SECONDS / 60)) min $((SECONDS % 60)) s"
