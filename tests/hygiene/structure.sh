#!/usr/bin/env bash
# What the compiler does not check: includes point down only, the library neither prints nor ends its host, ISA
# conditionals stay in kernels/arch, no flag makes floating point inexact; and the house stays tidy.
#   structure.sh [CHECKOUT]
set -u
cd "${1:-.}" || exit 1
failed=0
# forbid WHAT PATTERN FOLDERS...: no line of code in the folders may match
forbid() {
  local what=$1 pattern=$2 found
  shift 2
  found=$(grep -rnE "$pattern" --include='*.hpp' --include='*.inl' --include='*.cpp' --include='*.h' \
    --include='CMakeLists.txt' --include='*.cmake' --include='*.json' "$@" | grep -vE '^[^:]+:[0-9]+: *(//|\*)')
  [ -z "$found" ] && return
  printf '%s:\n%s\n' "$what" "$found"
  failed=1
}
includes() { printf '#include "(\\.\\./)*(%s)/' "$1"; }

forbid 'gguf is the ground floor' "$(includes 'kernels|tokenizer|gemma|examples|bench|tests')" gguf
forbid 'kernels know gguf only' "$(includes 'tokenizer|gemma|examples|bench|tests')" kernels
forbid 'the tokenizer knows gguf only' "$(includes 'kernels|gemma|examples|bench|tests')" tokenizer
forbid 'the engine knows nothing above it' "$(includes 'examples|bench|tests')" gemma
forbid 'benches of kernels know no programs' "$(includes 'examples|tests')" bench
forbid 'programs know no benches of kernels and no tests' "$(includes 'bench|tests')" examples
forbid 'library files include each other by relative paths, which no folder of a user can shadow' \
  '#include ["<](gguf|kernels|tokenizer|gemma)/' gguf kernels tokenizer gemma
forbid 'the library must not end its host' '\b(abort|exit|terminate) *\(' gguf kernels tokenizer gemma
forbid 'the library must not print or read the environment' \
  'std::(cout|cerr|clog)\b|\b(f?printf|puts|fputs|getenv) *\(' gguf kernels tokenizer gemma
forbid 'ISA conditionals belong in kernels/arch' '# *if.*__(AVX|SSE|ARM_NEON|FMA)' gguf tokenizer gemma examples \
  kernels/generic kernels/encode kernels/reference.hpp
forbid 'no flags that change results' 'march=native|ffast-math' CMakeLists.txt CMakePresets.json cmake bench examples
# complain WHAT FILES: unless there are none
complain() {
  [ -z "$2" ] && return
  printf '%s:\n%s\n' "$1" "$2"
  failed=1
}
complain 'the system, threads and clocks belong in the files of definitions, which no user of gemma::gemma reads' \
  "$(grep -rnE '#include <(fcntl|sched|unistd|omp|sys/[a-z]+)\.h>|#include <(chrono|fstream|thread)>' --include='*.hpp' gguf tokenizer gemma)"
# what they may stand in is listed in docs/style.md too
complain 'names of GGUF keys and tensors' \
  "$(grep -rnE '"[^"]*(general\.[a-z]|tokenizer\.(ggml|chat)|blk\.|\.weight"|\.bias"|token_embd|output_norm|split\.[a-z])' \
    --include='*.hpp' --include='*.inl' --include='*.cpp' kernels gemma examples bench |
    grep -vE '^(gemma/families/|gemma/(weights|quantiz|importance|adapter|model)[a-z_]*\.|examples/convert/)' |
    grep -vE '^[^:]+:[0-9]+: *(//|#include)|//.*"[^"]*$')"
# whoever owns the checkout; one without git has nothing to compare with
if files=$(git -c safe.directory='*' ls-files 2>/dev/null) && [ -n "$files" ]; then
  complain 'folders that the house does not have' \
    "$(printf '%s\n' "$files" | sed -n 's|/.*||p' | sort -u |
      grep -vxE 'gguf|kernels|tokenizer|gemma|examples|bench|tests|docs|cmake|\.ci|\.github')"
  complain 'bench/ is kernels-bench alone; what measures models is a program, in examples/bench' \
    "$(printf '%s\n' "$files" | grep '^bench/' | grep -vxE 'bench/(CMakeLists\.txt|kernels_bench\.cpp)')"
  complain 'names that say nothing' \
    "$(printf '%s\n' "$files" | grep -iE '(^|[/_])(misc|common|utils?|helpers?)(_[a-z]+)?\.[a-z]+$')"
  complain 'more than 1,000 lines' \
    "$(printf '%s\n' "$files" | grep -E '\.(hpp|inl|cpp|h|py|sh|cmake)$' | while read -r f; do
      [ -f "$f" ] && [ "$(wc -l <"$f")" -gt 1000 ] && echo "$f"
    done)"
  complain 'finish it or leave it out' "$(printf '%s\n' "$files" | grep -E '\.(hpp|inl|cpp|h|py|cmake)$' |
    xargs -r grep -nE '\b(TO''DO|FIX''ME)\b' 2>/dev/null)"
  complain 'kept build output' "$(printf '%s\n' "$files" | grep -E '\.(o|a|so|pyc|orig|rej)$')"
fi
[ $failed -eq 0 ] && echo 'structure: ok'
exit $failed
