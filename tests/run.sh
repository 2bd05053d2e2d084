#!/usr/bin/env bash
# Installs missing packages, builds everything, and runs all tests.
#   tests/run.sh          gcc with warnings as errors, and all tests
#   tests/run.sh --all    also tests/install's strict user program, optimised by both compilers, and the library's tests,
#                         built by clang with AddressSanitizer and UndefinedBehaviorSanitizer, as in continuous integration
# tests/run-aarch64.sh tests NEON under emulation.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "" | --all | --quick) ;; # --quick: the former flag for what is now the default
  *)
    echo "run.sh: there is no flag $1; there is --all" >&2
    exit 1
    ;;
esac

examples/install.sh --tests
jobs=$(nproc)
begin=0
step() { # TITLE: prints the time of the preceding step, and the title of the next
  [ "$begin" -eq 0 ] || printf '(%d s)\n' $((SECONDS - begin))
  printf '\n== %s\n' "$*"
  begin=$SECONDS
}
build() { # PRESET: shows the output of the compiler only on failure
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" -j "$jobs" >"build/$1/build.log" 2>&1 || { tail -n 60 "build/$1/build.log" && exit 1; }
}
run_tests() { # PRESET: idle OpenMP threads sleep at once, since other tests need the cores
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
