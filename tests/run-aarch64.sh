#!/usr/bin/env bash
# Cross-compiles the library and its tests for 64-bit Arm and runs them under qemu-user, on emulated CPUs with and
# without the features that the NEON kernels need.
# Arm packages are unpacked into build/aarch64-root; no packages of another architecture are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

examples/install.sh --aarch64
jobs=$(nproc)
root=$PWD/build/aarch64-root
step() { printf '\n== %s\n' "$*"; }

# Downloads libraries for the target by apt with a separate state, so that the machine's package lists are unchanged.
fetch_root() {
  local apt=$PWD/build/aarch64-apt id mirror keyring
  . /etc/os-release
  id=$ID mirror=http://deb.debian.org/debian keyring=debian-archive-keyring.gpg
  if [ "$id" = ubuntu ]; then mirror=http://ports.ubuntu.com/ubuntu-ports keyring=ubuntu-archive-keyring.gpg; fi
  rm -rf "$apt" "$root"
  mkdir -p "$apt"/lists/partial "$apt"/archives/partial "$root"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/$keyring] $mirror $VERSION_CODENAME main $([ "$id" = ubuntu ] && echo universe)" \
    >"$apt/sources.list"
  local options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$apt"
    -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" -o Dir::Etc::SourceList="$apt/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o Acquire::Languages=none -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --no-install-recommends --download-only >/dev/null \
    libsentencepiece-dev libpcre2-dev libeigen3-dev libxsimd-dev libgtest-dev libfmt-dev nlohmann-json3-dev libgomp1 libstdc++6
  local package
  for package in "$apt"/archives/*.deb; do
    case $package in
      */libc6-dev_* | */linux-libc-dev_* | */libcrypt-dev_*) ;; # the cross compiler provides these
      *) dpkg-deb -x "$package" "$root" ;;
    esac
  done
  rm -rf "$apt"
  touch "$root/complete"
}

if [ ! -e "$root/complete" ]; then
  step "libraries for arm64"
  fetch_root
fi

step "build for aarch64"
cmake --preset aarch64 >/dev/null
cmake --build --preset aarch64 -j "$jobs" >build/aarch64/build.log 2>&1 || { tail -n 60 build/aarch64/build.log && exit 1; }

run() { # CPU, ctest's selection: runs each program by the emulator that cmake/aarch64.cmake sets
  step "test on $1"
  QEMU_CPU=$1 ctest --test-dir build/aarch64 --output-on-failure -j "$jobs" "${@:2}" |
    grep -vE ' Passed +[0-9.]+ sec$|^ +Start '
}
run cortex-a76             # has dot products, so uses the NEON kernels; all tests
run max -L kernels         # all features of the emulator, including int8 matrix multiplies
run cortex-a72 -L kernels  # no dot products: detection must choose the scalar kernels
