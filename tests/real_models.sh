#!/usr/bin/env bash
# Tests real weights: Gemma 3 270M and SmolLM2 135M Instruct, which examples/get_model.sh downloads to the user's cache
# (360 MB).
#   tests/real_models.sh [MODEL...]     gemma-3-270m smollm2-135m
# For each model: greedy answers to a dozen prompts must equal those of llama.cpp in tests/real (up to the first token
# where its two best tokens are within 0.25 nat); the perplexity of SQuAD's contexts must be within 0.5% of llama.cpp's,
# or lower; exact match and F1 on 600 questions of SQuAD dev are printed. Needs dev-v1.1.json in ../shared/squad, or in
# the folder $GEMMA_SQUAD. Tests whose data is missing or cannot be downloaded are skipped with a message; the status is
# 1 if a test fails. $GEMMA_BUILD: the build folder of the programs (default: build/release).
set -euo pipefail
cd "$(dirname "$0")/.."

models=("$@")
[ ${#models[@]} -gt 0 ] || models=(gemma-3-270m smollm2-135m)
squad=${GEMMA_SQUAD:-../shared/squad}/dev-v1.1.json
build=${GEMMA_BUILD:-build/release}
out=build/real
status=0
skip() { printf 'SKIPPED %s\n' "$*"; }
mkdir -p "$out"

if [ -z "${GEMMA_BUILD:-}" ]; then
  cmake --preset release >/dev/null
  cmake --build "$build" --target real_model gemma-perplexity gemma-squad | tail -n 1
fi

if [ -f "$squad" ]; then
  python3 -c 'import json, sys
data = json.load(open(sys.argv[1], encoding="utf-8"))["data"]
print(end="\n".join(p["context"] for article in data for p in article["paragraphs"]))' "$squad" >"$out/contexts.txt"
fi

expected() { [ ! -f "tests/real/$2.txt" ] || sed -n "s/^$1 //p" "tests/real/$2.txt"; } # KEY MODEL

for model in "${models[@]}"; do
  printf '\n%s\n' "$model"
  if ! file=$(examples/get_model.sh --yes "$model"); then
    skip "$model could not be fetched"
    continue
  fi
  if ! "$build/tests/real/real_model" greedy "$file" tests/real/prompts.jsonl 32 >"$out/$model.jsonl"; then
    printf 'FAILED %s\n' "$model" && status=1
    continue
  fi
  if [ -f "tests/real/$model.llama_cpp.jsonl" ]; then
    python3 tests/real/compare.py "$out/$model.jsonl" "tests/real/$model.llama_cpp.jsonl" || status=1
  else
    skip "greedy answers of llama.cpp to compare with: none are kept for $model"
  fi
  if [ ! -f "$squad" ]; then
    skip "perplexity, exact match and F1: there is no $squad"
    continue
  fi
  "$build/bin/gemma-perplexity" -m "$file" -f "$out/contexts.txt" --windows 64 --kv f32 | tee "$out/$model.perplexity"
  ours=$(awk '$1 == "perplexity" { print $2 }' "$out/$model.perplexity")
  theirs=$(expected perplexity "$model")
  [ -n "$theirs" ] || { skip "perplexity of llama.cpp to compare with: none is kept for $model" && continue; }
  awk -v a="$ours" -v b="$theirs" 'BEGIN { exit !(a <= 1.005 * b) }' && word=good || { word=BAD && status=1; }
  printf 'perplexity %s, of llama.cpp %s: %s\n' "$ours" "$theirs" "$word"
  # shellcheck disable=SC2046 # words
  "$build/bin/gemma-squad" run --model "$model=$file" --squad "$squad" -n 600 --seed 1 --judge none \
    $(expected flags "$model") --out "$out/$model.squad"
  printf 'of llama.cpp: exact match and F1 %s\n' "$(expected squad "$model")"
done
exit $status
