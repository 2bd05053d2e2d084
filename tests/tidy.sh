#!/usr/bin/env bash
# clang-tidy, by the checks of .clang-tidy.
#   tests/tidy.sh [--build FOLDER] [UNIT...]    every unit that is built, or these; FOLDER: build/ci, configured
# TIDY_JOBS: how many at once (all cores). Ends with 77 where there is no clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/ci
if [ "${1:-}" = --build ]; then
  build=$2
  shift 2
fi
command -v clang-tidy >/dev/null || { echo "tidy: SKIPPED: there is no clang-tidy (examples/install.sh --tests)" && exit 77; }
[ -f "$build/compile_commands.json" ] || { echo "tidy: $build is not configured (cmake --preset ci)" >&2 && exit 1; }

# as they are compiled, but for gcc's precompiled headers, which clang cannot read
mkdir -p "$build/tidy"
sed -E 's/ -Winvalid-pch//g; s/ -include [^ ]*cmake_pch\.hxx//g' "$build/compile_commands.json" >"$build/tidy/compile_commands.json"
units=("$@")
if [ $# -eq 0 ]; then # without the units that hold precompiled headers, and what tests make
  mapfile -t units < <(sed -n 's/^ *"file": "\(.*\)",\?$/\1/p' "$build/compile_commands.json" |
    grep -vE '_headers\.cpp$|cmake_pch|/tests/(docs/made|hygiene)/' | sort -u)
fi
failed=0
printf '%s\0' "${units[@]}" |
  xargs -0 -P "${TIDY_JOBS:-$(nproc)}" -n 1 clang-tidy --quiet -p "$build/tidy" >"$build/tidy/log" 2>&1 || failed=1
grep -vE '^[0-9]+ warnings?( and [0-9]+ errors?)? generated\.$' "$build/tidy/log" || true
[ $failed -eq 0 ] && echo "tidy: ok (${#units[@]} units)"
exit $failed
