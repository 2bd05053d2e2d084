#!/usr/bin/env bash
# Runs clang-tidy with the checks of .clang-tidy.
#   tests/tidy.sh [--build FOLDER] [UNIT...]    all units, or these; FOLDER: a configured build (default: build/ci)
# TIDY_JOBS: number of parallel jobs (default: all cores). Exit status 77 without clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/ci
if [ "${1:-}" = --build ]; then
  build=$2
  shift 2
fi
command -v clang-tidy >/dev/null || { echo "tidy: SKIPPED: there is no clang-tidy (examples/install.sh --tests)" && exit 77; }
[ -f "$build/compile_commands.json" ] || { echo "tidy: $build is not configured (cmake --preset ci)" >&2 && exit 1; }

# with the flags of the build, except gcc's precompiled headers, which clang cannot read
mkdir -p "$build/tidy"
sed -E 's/ -Winvalid-pch//g; s/ -include [^ ]*cmake_pch\.hxx//g' "$build/compile_commands.json" >"$build/tidy/compile_commands.json"
units=("$@")
if [ $# -eq 0 ]; then # without units of precompiled headers and generated units
  mapfile -t units < <(sed -n 's/^ *"file": "\(.*\)",\?$/\1/p' "$build/compile_commands.json" |
    grep -vE '_headers\.cpp$|cmake_pch|/tests/(docs/made|hygiene)/' | sort -u)
fi
for i in "${!units[@]}"; do # a unit that is compiled as part of another: that one
  path=$(realpath "${units[$i]}")
  grep -qF "\"file\": \"$path\"" "$build/compile_commands.json" && continue
  units[i]=$(grep -rlF --include='unity_*' "\"$path\"" "$build" | head -n 1 || true)
  [ -n "${units[$i]}" ] || { echo "tidy: $path is not a unit of $build" >&2 && exit 1; }
done
failed=0
printf '%s\0' "${units[@]}" |
  xargs -0 -P "${TIDY_JOBS:-$(nproc)}" -n 1 clang-tidy --quiet -p "$build/tidy" >"$build/tidy/log" 2>&1 || failed=1
grep -vE '^[0-9]+ warnings?( and [0-9]+ errors?)? generated\.$' "$build/tidy/log" || true
[ $failed -eq 0 ] && echo "tidy: ok (${#units[@]} units)"
exit $failed
