#!/usr/bin/env bash
# Tests the Python package: builds a wheel once, installs it into a new virtual environment for each Python, and runs its
# tests by pytest, mypy --strict, the code of docs/python.md, and article.py. Needs a network and takes minutes.
#   tests/python.sh [PYTHON...]     with these; by default with every installed python3.9 to python3.13
# GEMMA_WHEEL=FILE uses an existing wheel; GEMMA_SQUAD=PROGRAM compares article.py with gemma-squad.
# CMAKE_CXX_COMPILER_LAUNCHER=ccache speeds up the build.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pythons=("$@")
if [ ${#pythons[@]} -eq 0 ]; then
  for version in 3.9 3.10 3.11 3.12 3.13; do
    python$version -c '' 2>/dev/null && pythons+=("python$version")
  done
fi
[ ${#pythons[@]} -gt 0 ] || { echo "python.sh: there is no Python 3.9 to 3.13" >&2; exit 1; }

wheel=${GEMMA_WHEEL:+$(realpath "$GEMMA_WHEEL")}
[ -z "${GEMMA_SQUAD:-}" ] || { GEMMA_SQUAD=$(realpath "$GEMMA_SQUAD"); export GEMMA_SQUAD; }
if [ -z "$wheel" ]; then
  "${pythons[0]}" -m venv "$work/build"
  "$work/build/bin/pip" wheel -q --no-deps -w "$work/wheel" "$root/examples/python"
  wheel=$(echo "$work"/wheel/*.whl)
fi
case $(basename "$wheel") in
  *-py3-none-linux_*) ;;
  *) echo "python.sh: $wheel is not for every Python 3" >&2 && exit 1 ;;
esac

cd "$work" && mkdir scratch
ln -s "$root/examples/models/gemma-demo.Q4_K_M.gguf" "$work/scratch/model.gguf"
for python in "${pythons[@]}"; do
  here=$work/env-$(basename "$python")
  "$python" -m venv "$here"
  "$here/bin/pip" install -q "$wheel[article,test]" mypy
  "$here/bin/python" -m pytest -q "$root/examples/python/tests"
  (cd "$root/examples/python" && "$here/bin/mypy" --cache-dir="$work/mypy" --python-executable "$here/bin/python")
  (cd "$work/scratch" && "$here/bin/python" "$root/tests/docs/blocks.py" run python "$root/docs/python.md" >"$work/log") ||
    { cat "$work/log"; exit 1; }
  echo "ok: $("$here/bin/python" --version): installed, tests, mypy --strict, the lines of docs/python.md"
done
