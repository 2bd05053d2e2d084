#!/usr/bin/env bash
# Installs what is missing, builds, lets a small bundled model answer questions about a passage, and lets the evaluator
# compare three of them.
set -euo pipefail
cd "$(dirname "$0")/.."

examples/install.sh
echo "building (a few minutes the first time)"
cmake --preset release -DGEMMA_BUILD_TESTS=OFF -DGEMMA_BUILD_BENCH=OFF >/dev/null
cmake --build --preset release -j "$(nproc)" | tail -n 1
bin=build/release/bin

passage="The Maris Bridge crosses the river Orne near the town of Velden. It was designed by the engineer Anna Keller \
and opened in 1931. The bridge is 412 metres long and carries two railway tracks."

printf '\n%s\n\n' "$passage" | fold -s -w 100
for question in "Who designed the Maris Bridge?" "When was the bridge opened?" "How long is the bridge?" \
  "What river does the Maris Bridge cross?"; do
  prompt="Use the following pieces of context to answer the question at the end.
$passage
Question: $question
Answer:"
  printf '%s\n  ' "$question"
  # at a terminal it says how fast it was, on stderr
  "$bin/gemma-chat" -m examples/models/gemma-demo.Q4_K_M.gguf --raw --temp 0 -n 24 -p "$prompt" 2>build/demo.log ||
    { cat build/demo.log >&2 && exit 1; }
done

printf '\nThree such models, on the bundled questions (gemma-squad demo):\n\n'
"$bin/gemma-squad" demo --out build/demo

cat <<TEXT

These were toys: 4 to 7 million parameters, trained on extractive questions, to show everything end to end. With a real
file, for instance gemma-7b-it-Q4_K_M.gguf (README.md says where it comes from):

    $bin/gemma-chat -m gemma-7b-it-Q4_K_M.gguf
    $bin/gemma-chat -m gemma-7b-it-Q4_K_M.gguf -p "Why is the sky blue?"
TEXT
