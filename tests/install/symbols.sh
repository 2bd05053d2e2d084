#!/usr/bin/env bash
# Checks the symbols that the library's objects define: nothing outside namespace gemma except instances of the standard
# library's templates, no mutable globals, and no function that an ISA unit shares with another unit (the linker keeps
# only one copy, possibly the one that needs AVX-512). Also checks what they use: nothing that ends the program, prints or
# reads the environment.
#   symbols.sh LIBGEMMA.a|OBJECTS...
set -euo pipefail
failed=0
defined() { nm -C --defined-only --extern-only "$@" 2>/dev/null | awk 'NF > 2 { t = $2; $1 = $2 = ""; sub(/^ +/, ""); print t " " $0 }'; }

strangers=$(defined "$@" | grep -vE \
  -e '^. (gemma::|gemma_)' \
  -e '^. (typeinfo for|typeinfo name for|vtable for|guard variable for) (gemma::|std::)' \
  -e '^. [a-z_]+( const)?[&*]? ?gemma::' \
  -e '^[WVu] .*\b(gemma|std|__gnu_cxx)::' \
  -e '^[WVu] (typeinfo (name )?for int|operator)' \
  -e '^V DW\.ref\.' || true)
if [ -n "$strangers" ]; then
  printf 'outside namespace gemma:\n%s\n' "$strangers"
  failed=1
fi

# no mutable globals: writable data is initialised once, with a guard, or is the error that needs no memory
written() { objdump -t "$@" | awk '/ O \.t?(data|bss)/ && !/data\.rel\.ro/ { print $NF }' | sort -u; }
globals=$(comm -23 <(written "$@") <(written "$@" | sed -n 's/^_ZGV/_Z/p' | sort) | grep -vE '^(_ZGV|DW\.ref)' | c++filt |
  grep -vE '^(std::|gemma::c_api::no_memory$)' || true)
if [ -n "$globals" ]; then
  printf 'mutable globals:\n%s\n' "$globals"
  failed=1
fi

# what the library must not call or read; calls that compilers add, such as std::terminate for noexcept, are not listed
refused=$(nm -uC "$@" 2>/dev/null | sed -nE 's/^ *U //p' | grep -xE \
  -e '(_?exit|_Exit|quick_exit|abort|raise|__assert_fail|_?_?environ|(secure_)?getenv|stdout|stderr|perror)' \
  -e '(__)?v?f?printf(_chk)?|f?puts|f?putc|putchar' -e 'std::(cout|cerr|clog|sto[a-z]+)\b.*' | sort -u || true)
if [ -n "$refused" ]; then
  printf 'the library must not call or read:\n%s\n' "$refused"
  failed=1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
weak() { nm -C --defined-only "$@" 2>/dev/null | awk '$2 == "W"' | cut -d' ' -f3- | sort -u; }
objects=("$@")
if [ $# -eq 1 ] && [[ $1 == *.a ]]; then
  (cd "$work" && ar x "$1")
  objects=("$work"/*.o)
fi
isa=0
for object in "${objects[@]}"; do
  case $object in
    *avx*|*neon*)
      isa=$((isa + 1))
      weak "$object" >"$work/own"
      for other in "${objects[@]}"; do
        [ "$other" = "$object" ] && continue
        weak "$other" | comm -12 "$work/own" - | sed "s|^|$(basename "$object") and $(basename "$other") share: |"
      done >>"$work/shared" ;;
  esac
done
if [ -s "$work/shared" ]; then
  sort -u "$work/shared"
  failed=1
fi
n=$(defined "$@" | wc -l)
[ "$n" -gt 100 ] || { echo "only $n symbols: this is not the library"; failed=1; }
[ $failed -eq 0 ] && echo "symbols: $n, all of namespace gemma or the standard library's; $isa ISA units share none"
exit $failed
