#!/usr/bin/env bash
# Tests each way of using the library, in clean folders, with the files that docs/embedding.md shows.
#   run.sh                      all tests: takes minutes, and builds the library four times
#   run.sh package BUILD        installs from BUILD, moves the installation, and uses it: find_package, pkg-config, C
#   run.sh strict BUILD [-O2]   a program with folders of the library's names and -ffast-math, by gcc and clang; with -O2
#                               optimised, and header-only as well, with clang for one thread, without OpenMP
#   run.sh face                 what #include <gemma/gemma.hpp> includes: the number of lines, the system headers
#   run.sh subproject_options   configures a project that contains this one: only the library is built
#   run.sh this_cpu BUILD       configures for this CPU alone: compiled are the kernels that gemma-bench of BUILD chooses
#   run.sh xsimd /PREFIX        the kernels and their tests with the xsimd that is installed in /PREFIX
#   run.sh rust LIBGEMMA.so     the crate of examples/rust and its tests, with this library
#   run.sh static|shared|add_subdirectory|fetchcontent|deb|headers
# CXX chooses the compiler, CXX_LAUNCHER a compiler cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
model=$root/examples/models/gemma-demo.Q4_K_M.gguf
question="Where is the lighthouse?"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
launcher=()
[ -n "${CXX_LAUNCHER:-}" ] && launcher=("-DCMAKE_CXX_COMPILER_LAUNCHER=$CXX_LAUNCHER" "-DCMAKE_C_COMPILER_LAUNCHER=$CXX_LAUNCHER")
quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; return 1; }; }
configure() { quiet cmake -G Ninja "${launcher[@]}" "$@"; }
build() { quiet cmake --build "$1" -j "$(nproc)" "${@:2}"; }
ok() { printf 'ok: %s\n' "$*"; }
# writes the files of the guide to $1
guide() { python3 "$root/tests/docs/blocks.py" files "$1" "$root/docs/embedding.md" >/dev/null; }
answers() {
  local said
  said=$("$@" "$model" "$question") && [ -n "$said" ] || { echo "no answer from $*"; return 1; }
}

# header_only FOLDER: changes a project from gemma::gemma to gemma::header_only
header_only() { sed -i 's/gemma::gemma/gemma::header_only/' "$1/CMakeLists.txt"; }

# use_installed PREFIX WHAT: a C++ project by find_package, as declarations and as headers, and C by pkg-config
use_installed() {
  local prefix=$1 what=$2 here=$work/use
  rm -rf "$here" && mkdir "$here" && guide "$here"
  local libdir target
  libdir=$(dirname "$(find "$prefix" -name 'libgemma.*' | head -n 1)")
  for target in gemma::gemma gemma::header_only; do
    [ $target = gemma::gemma ] || header_only "$here/cpp"
    configure -S "$here/cpp" -B "$here/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Debug \
      -DCMAKE_CXX_FLAGS_DEBUG=-O0
    build "$here/build"
    LD_LIBRARY_PATH=$libdir answers "$here/build/ask"
    ok "$what: find_package(gemma), $target, built and run"
  done
  pkg_config_of "$libdir"
  # shellcheck disable=SC2046
  "${CC:-cc}" -std=c99 -Wall -Wextra -pedantic -Werror "$here/c/ask.c" -o "$here/ask_c" $(pc gemma --cflags) $(pc gemma --libs)
  LD_LIBRARY_PATH=$libdir answers "$here/ask_c"
  ok "$what: pkg-config $(pc gemma --modversion), C99, built and run"
}

# pkg_config_of LIBDIR: pc PACKAGE ... asks the package files installed there
pkg_config_of() {
  local dir=$1/pkgconfig
  if [ -e "$1/libgemma.a" ]; then
    eval "pc() { PKG_CONFIG_PATH='$dir' pkg-config \"\$@\"; }"
  else # linking to a shared library requires no other packages
    eval "pc() { PKG_CONFIG_LIBDIR='$dir' PKG_CONFIG_PATH='' pkg-config \"\$@\"; }"
  fi
}

# strict_by COMPILER FOLDER LEVEL PACKAGE...: builds and runs FOLDER/strict_user.cpp with each package
strict_by() {
  local compiler=$1 here=$2 level=$3 package flags libs
  if ! command -v "$compiler" >/dev/null; then
    echo "SKIPPED: there is no $compiler"
    return
  fi
  for package in "${@:4}"; do
    flags=$(pc "$package" --cflags) libs=$(pc "$package" --libs)
    if [ "$compiler-$package" = clang++-gemma-header-only ]; then # tests a system without OpenMP
      flags="${flags//-fopenmp/} -fno-openmp -DGEMMA_SINGLE_THREAD" libs=${libs//-fopenmp/}
    fi
    # shellcheck disable=SC2086
    (cd "$here" && $compiler -std=c++20 "$level" -ffast-math -Wall -Wextra -Wconversion -Werror -I. $flags strict_user.cpp \
      -o "strict_user_$compiler" $libs) || return 1
    LD_LIBRARY_PATH=$libdir answers "$here/strict_user_$compiler" || return 1
    ok "$compiler $level -ffast-math -Wconversion, $flags, beside folders of the same names: built and run"
  done
}

# A project that has folders with the same names as the library's, whose headers are errors, and flags under which
# comparisons with NaN are undefined.
strict() {
  quiet cmake --install "$1" --prefix "$work/strict/usr" --component library
  local here=$work/strict/user level=${2:--O1} header libdir said clang failed=no packages=(gemma)
  [ $# -eq 1 ] || packages+=(gemma-header-only) # takes most of the time; run.sh package also builds header-only
  for header in $(cd "$root" && ls gguf/*.hpp kernels/*.hpp tokenizer/*.hpp gemma/*.hpp); do
    [[ $header == gemma/* ]] && header=$(basename "$header") # for headers of this project: the file name only
    mkdir -p "$here/$(dirname "$header")"
    echo "#error \"the user's own $header is taken for the library's\"" >"$here/$header"
  done
  cp "$root/tests/install/strict_user.cpp" "$here"
  libdir=$(dirname "$(find "$work/strict/usr" -name 'libgemma.*' | head -n 1)")
  pkg_config_of "$libdir"
  strict_by clang++ "$here" "$level" "${packages[@]}" &
  clang=$!
  strict_by g++ "$here" "$level" "${packages[@]}" || failed=yes
  wait $clang && [ $failed = no ] || return 1
  # header-only without OpenMP and without GEMMA_SINGLE_THREAD: an error that explains what to do
  # shellcheck disable=SC2046
  said=$(echo '#include <gemma/gemma.hpp>' | g++ -std=c++20 $(pc gemma-header-only --cflags | sed 's/-fopenmp//') \
    -fno-openmp -E -x c++ - 2>&1 >/dev/null) && { echo "no OpenMP, no error"; return 1; }
  grep -q 'GEMMA_SINGLE_THREAD' <<<"$said" || { echo "not what was expected: $said"; return 1; }
  ok "as headers without OpenMP: refused, where one thread is not asked for"
}

# The size of the headers of gemma::gemma, in non-empty lines after preprocessing (header-only: 82,085).
face() {
  local lines most=68000 found
  lines=$(echo '#include <gemma/gemma.hpp>' | g++ -std=c++20 -E -I"$root" -x c++ - | tee "$work/face" | grep -c .)
  found=$(grep -oE '^# [0-9]+ "[^"]*/(fcntl|omp|sys/mman|sys/stat)\.h"' "$work/face" | sort -u || true)
  [ -z "$found" ] || { printf 'system headers reach the user:\n%s\n' "$found"; return 1; }
  [ "$lines" -le $most ] || { echo "#include <gemma/gemma.hpp> is $lines lines, more than $most"; return 1; }
  ok "#include <gemma/gemma.hpp>: $lines lines, no system headers"
}

package() {
  quiet cmake --install "$1" --prefix "$work/first/usr" --component library
  mkdir "$work/second" && mv "$work/first/usr" "$work/second/moved"
  if grep -rIl -e "$work/first" -e "$root" "$work/second/moved"; then
    echo "installed files name the place they were built in"
    return 1
  fi
  use_installed "$work/second/moved" "installed and moved"
}

# install_as on|off: builds the library alone as shared or static
install_as() {
  configure -S "$root" -B "$work/$1" -DBUILD_SHARED_LIBS="$1" -DGEMMA_BUILD_TESTS=OFF -DGEMMA_BUILD_BENCH=OFF \
    -DGEMMA_BUILD_EXAMPLES=OFF
  build "$work/$1"
  package "$work/$1"
  strict "$work/$1" -O2
  rm -rf "$work/second" "$work/strict"
}
static() { install_as OFF; }
shared() { install_as ON; }

subproject_options() {
  local here=$work/options
  mkdir "$here" && guide "$here"
  ln -s "$root" "$here/subproject/gemma"
  configure -S "$here/subproject" -B "$here/build"
  local targets extra=no
  targets=$(cmake --build "$here/build" --target help)
  grep -qE 'gemma-chat|gemma_tests|gemma-bench' <<<"$targets" && extra=yes
  grep -q libgemma "$here/build/gemma/cmake_install.cmake" && extra=yes
  if [ $extra = yes ]; then
    echo "a project that contains this one is made to build or install more than the library"
    return 1
  fi
  ok "as a subproject: only the library, nothing installed"
}

this_cpu() {
  local chosen units wanted
  chosen=$(env -u GEMMA_ISA "$1/bin/gemma-bench" -m "$model" -p 1 -n 0 -r 1 -o json | sed -n 's/.*"isa": "\([a-z0-9]*\)".*/\1/p')
  case $chosen in
    avxvnni) wanted="avx2 avxvnni scalar" ;; # these share the functions of avx2.cpp
    neon*) wanted="neon neoni8mm scalar" ;; # which of them runs here is not looked up
    scalar) wanted=scalar ;;
    *) wanted=$(printf '%s\n' "$chosen" scalar | sort | xargs) ;;
  esac
  configure -S "$root" -B "$work/this" -DGEMMA_KERNELS_FOR_THIS_CPU=ON -DGEMMA_BUILD_EXAMPLES=OFF -DGEMMA_BUILD_TESTS=OFF \
    -DGEMMA_BUILD_BENCH=OFF
  units=$(sed -n 's/.*"file": .*kernels.arch.\([a-z0-9]*\)[.]cpp".*/\1/p' "$work/this/compile_commands.json" | sort -u | xargs)
  [ "$units" = "$wanted" ] || { echo "this CPU chooses $chosen; compiled are the kernels $units, not $wanted"; return 1; }
  ok "a build for this CPU alone has the kernels $units"
}

xsimd() {
  configure -S "$root" -B "$work/xsimd" -DCMAKE_PREFIX_PATH="$1" -DGEMMA_BUILD_EXAMPLES=OFF -DGEMMA_BUILD_BENCH=OFF \
    -DGEMMA_WERROR=ON
  grep -q "isystem $1/" "$work/xsimd/build.ninja" || { echo "this is not built with the xsimd of $1"; return 1; }
  local each tests=(kernels_tests kernels_oracle_test)
  build "$work/xsimd" -t "${tests[@]}"
  for each in "${tests[@]}"; do quiet "$work/xsimd/tests/kernels/$each"; done
  ok "xsimd $(sed -n 's/^set(PACKAGE_VERSION "\(.*\)")/\1/p' "$(find "$1" -name 'xsimdConfigVersion.cmake')"): the tests of kernels"
}

rust() {
  local cargo=(--offline --quiet --manifest-path "$root/examples/rust/Cargo.toml" --target-dir "$work/rust")
  export GEMMA_LIB_DIR CARGO_BUILD_JOBS=1 RUSTFLAGS="-D warnings"
  GEMMA_LIB_DIR=$(dirname "$1")
  quiet cargo test "${cargo[@]}"
  answers cargo run "${cargo[@]}" --example ask --
  ok "$(cargo --version): built, tested and run"
}

add_subdirectory() {
  local here=$work/subdirectory
  mkdir "$here" && guide "$here"
  ln -s "$root" "$here/subproject/gemma"
  configure -S "$here/subproject" -B "$here/build" -DCMAKE_BUILD_TYPE=Release
  build "$here/build"
  answers "$here/build/ask"
  header_only "$here/subproject"
  build "$here/build"
  answers "$here/build/ask"
  ok "add_subdirectory: built and run, as declarations and as headers"
}

fetchcontent() {
  local here=$work/fetchcontent
  mkdir "$here" && guide "$here"
  configure -S "$here/fetchcontent" -B "$here/build" -DFETCHCONTENT_SOURCE_DIR_GEMMA="$root" \
    -DFETCHCONTENT_FULLY_DISCONNECTED=ON -DCMAKE_BUILD_TYPE=Release
  build "$here/build"
  answers "$here/build/ask"
  header_only "$here/fetchcontent"
  build "$here/build"
  answers "$here/build/ask"
  ok "FetchContent from a folder: built and run, as declarations and as headers"
}

deb() {
  local here=$work/deb package
  configure -S "$root" -B "$here/build" -DBUILD_SHARED_LIBS=ON -DGEMMA_BUILD_TESTS=OFF -DGEMMA_BUILD_BENCH=OFF
  build "$here/build"
  (cd "$here/build" && quiet cpack -G DEB)
  package=$(echo "$here"/build/*.deb)
  dpkg-deb --info "$package" | grep -E 'Version|Depends|Installed-Size|Recommends'
  if [ "$(id -u)" -eq 0 ] && [ -n "${GEMMA_TEST_DPKG:-}" ]; then # changes this machine, so only on request
    trap 'dpkg -P gemma; rm -rf "$work"' EXIT
    quiet dpkg -i "$package"
    [ -n "$(gemma-chat -m "$model" -p "$question" --temp 0 -n 20)" ]
    use_installed /usr "dpkg -i"
    quiet dpkg -P gemma
    trap 'rm -rf "$work"' EXIT
    [ ! -e /usr/bin/gemma-chat ]
    ok "dpkg -i, gemma-chat, dpkg -P"
  fi
  dpkg-deb -x "$package" "$here/root"
  "$here/root/usr/bin/gguf-info" "$model" >/dev/null
  [ -n "$("$here/root/usr/bin/gemma-chat" -m "$model" -p "$question" --temp 0 -n 20)" ]
  ok "$(basename "$package"), $(stat -c %s "$package") bytes: unpacked, programs run"
  use_installed "$here/root/usr" "the Debian package"
}

# each header alone, by gcc and clang, as C++20 and C++23
headers() {
  local compiler standard header n=0
  for compiler in g++ clang++; do
    for standard in c++20 c++2b; do
      while read -r header; do
        echo "#include \"$header\"" | "$compiler" -std=$standard -fsyntax-only -Wall -Wextra -Werror -fopenmp -I"$root" -x c++ -
        n=$((n + 1))
      done < <(cd "$root" && ls gguf/*.hpp tokenizer/*.hpp tokenizer/dialects/*.hpp gemma/*.hpp gemma/decoder/*.hpp gemma/families/*.hpp kernels/kernel_table.hpp)
    done
  done
  for standard in c99 c11; do
    for compiler in gcc clang; do
      echo '#include "gemma/c_api.h"' | "$compiler" -std=$standard -fsyntax-only -Wall -Wextra -pedantic -Werror -I"$root" -x c -
    done
  done
  ok "$n times a header alone: gcc and clang, C++20 and C++23; the C header as C99 and C11"
}

if [ $# -gt 0 ]; then
  "$@"
else
  for each in headers face subproject_options static shared add_subdirectory fetchcontent deb; do
    (time "$each") 2>&1 | grep -vE '^(user|sys|$)'
  done
fi
