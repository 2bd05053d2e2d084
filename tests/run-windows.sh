#!/usr/bin/env bash
# Builds gguf/ and gguf-info for Windows by mingw-w64 without warnings, runs them under wine, and compares them with the
# Linux build byte by byte: the report of each golden file, the message for each damaged file, names that are not ASCII,
# and rewritten files.
#   tests/run-windows.sh [GGUF-INFO]     the Linux program (default: build/ci/bin/gguf-info)
# Needs Debian's g++-mingw-w64-x86-64-posix and wine, which examples/install.sh --windows installs.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$(realpath "${1:-build/ci/bin/gguf-info}")
[ -x "$here" ] || { echo "run-windows.sh: build gguf-info first" >&2; exit 1; }
step() { printf '\n== %s\n' "$*"; }

examples/install.sh --windows
work=$(mktemp -d)
# wine's server outlives the last program by some seconds, and writes to the prefix meanwhile
trap 'wineserver -k || true; rm -rf "$work"' EXIT
export WINEPREFIX=$work/wine WINEDEBUG=-all

step "build (mingw-w64, warnings are errors)"
mkdir "$work"/include # header-only packages, without the rest of /usr/include
for package in fmt CLI nlohmann; do ln -s /usr/include/$package "$work"/include; done
compile=(x86_64-w64-mingw32-g++-posix -std=c++20 -O1 -static -Wall -Wextra -Wconversion -Wshadow -Werror
  -DGEMMA_HEADER_ONLY -DFMT_HEADER_ONLY -DNOMINMAX -I. -isystem "$work"/include)
"${compile[@]}" examples/gguf_info/*.cpp examples/program.cpp -o "$work"/gguf-info.exe
"${compile[@]}" tests/windows/copy.cpp -o "$work"/copy.exe
wine "$work"/gguf-info.exe --version 2>/dev/null | grep -q "^gguf-info [0-9]"

cp "$here" "$work"/gguf-info
cd "$work"
failed=0 n=0
# same ARGUMENTS...: checks that both programs have the same output, errors and exit status
same() {
  local here=0 there=0
  ./gguf-info "$@" >here.out 2>here.err || here=$?
  wine gguf-info.exe "$@" >there.out 2>there.err || there=$?
  n=$((n + 1))
  if [ $here -ne $there ] || ! cmp -s here.out there.out || ! cmp -s here.err there.err; then
    printf 'differs: gguf-info %s (%d, %d)\n' "$*" $here $there
    diff here.err there.err | head -n 4 || true
    diff here.out there.out | head -n 4 || true
    failed=1
  fi
}

step "what is shown"
for file in "$OLDPWD"/tests/golden/models/*.gguf; do
  name=$(basename "$file")
  cp "$file" "$name"
  same "$name"
  same --json "$name"
  wine copy.exe "$name" again.gguf && wine copy.exe again.gguf twice.gguf && wine copy.exe again.gguf twice.gguf
  cmp again.gguf twice.gguf || failed=1
  if [ -e again.gguf.part ] || [ -e twice.gguf.part ]; then echo "a part was left behind" && failed=1; fi
  same --json again.gguf
  rm again.gguf twice.gguf
done

step "what is refused"
file=nano-gemma3.F32.gguf
for size in 0 1 3 4 8 23 24 25 100 999 5000 $(($(stat -c %s "$file") - 1)); do
  head -c "$size" "$file" >cut.gguf
  same cut.gguf
done
for place in 0 4 8 16 24 40 60; do
  cp "$file" damaged.gguf
  printf '\xff\xff\xff\xff' | dd of=damaged.gguf bs=1 seek=$place conv=notrunc status=none
  same damaged.gguf
done
mkdir folder
same folder
same absent.gguf
same ''
same --no-such-flag

step "names that are not ASCII"
for name in 'größe.gguf' '模型 2.gguf' 'модель.gguf'; do
  cp "$file" "$name"
  same --json "$name"
done

[ $failed -eq 0 ] && printf '\n%d comparisons: the same\n' $n
exit $failed
