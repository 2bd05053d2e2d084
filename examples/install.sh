#!/usr/bin/env bash
# Installs the packages that are needed for building on Debian 12+ or Ubuntu 24.04+, unless all are installed.
#   install.sh [--tests] [--aarch64] [--windows]     also those for tests/run.sh, run-aarch64.sh, run-windows.sh
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config
  libxsimd-dev libsentencepiece-dev libpcre2-dev                                # the library
  libcli11-dev libfmt-dev nlohmann-json3-dev libedit-dev                        # the programs
  libcpp-httplib-dev libssl-dev                                                 # the server, the evaluator
  libboost-math-dev libicu-dev                                                  # the evaluator
)
for flag in "$@"; do
  case $flag in
    --tests) packages+=(libgtest-dev libeigen3-dev libbenchmark-dev clang libclang-rt-dev libomp-dev clang-format clang-tidy doxygen python3-numpy git curl
                         libopenmpi-dev openmpi-bin) ;;
    --aarch64) packages+=(g++-aarch64-linux-gnu qemu-user ca-certificates) ;;
    --windows) packages+=(g++-mingw-w64-x86-64-posix wine wine64) ;;
    *) echo "install.sh: there is no flag $flag" >&2 && exit 1 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "install.sh: this script knows Debian and Ubuntu only; please install: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install.sh: run as root, or install sudo: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "installing: ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
