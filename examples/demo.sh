#!/usr/bin/env bash
# Installs missing packages, builds gemma-chat and gemma-squad for this CPU, lets a small bundled model answer questions
# about a passage, and lets the evaluator compare three bundled models.
#   examples/demo.sh [--model FILE]
# With --model, uses a real model, which then also answers chat messages; examples/get_model.sh downloads small ones.
set -euo pipefail

fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
model=''
case ${1:-} in
  '') ;;
  --model)
    [ $# -eq 2 ] || fail "--model needs a file"
    [ -f "$2" ] && [ -r "$2" ] || fail "$2 cannot be read"
    model=$(cd "$(dirname "$2")" && pwd)/$(basename "$2") # relative to the folder from which this was called
    ;;
  *) fail "$1 is not understood; examples/demo.sh [--model FILE]" ;;
esac

cd "$(dirname "$0")/.."
examples/install.sh
echo "building (about two minutes on two cores, the first time)"
# the library optimised as always, of kernels what this CPU runs, the programs less than usual: they compute little
cmake --preset release -B build/demo -DGEMMA_KERNELS_FOR_THIS_CPU=ON -DGEMMA_PROGRAM_OPTIONS=-O1 \
  -DGEMMA_BUILD_TESTS=OFF -DGEMMA_BUILD_BENCH=OFF >/dev/null
cmake --build build/demo -j "$(nproc)" --target gemma-chat gemma-squad | tail -n 1
bin=build/demo/bin

passage="The Maris Bridge crosses the river Orne near the town of Velden. It was designed by the engineer Anna Keller \
and opened in 1931. The bridge is 412 metres long and carries two railway tracks."

# Asks one question about the passage. The bundled models were trained on the plain prompt; others use their template.
ask() { # MODEL QUESTION [FLAGS...]
  local file=$1 question=$2
  shift 2
  printf '%s\n  ' "$question"
  # at a terminal, gemma-chat reports its speed on stderr
  "$bin/gemma-chat" -m "$file" "$@" --temp 0 -p "Use the following pieces of context to answer the question at the end.
$passage
Question: $question
Answer:" 2>build/demo/demo.log || { cat build/demo/demo.log >&2 && exit 1; }
}

printf '\n%s\n\n' "$passage" | fold -s -w 100
for question in "Who designed the Maris Bridge?" "When was the bridge opened?" "How long is the bridge?" \
  "What river does the Maris Bridge cross?"; do
  if [ -n "$model" ]; then
    ask "$model" "$question" -n 48
  else
    ask examples/models/gemma-demo.Q4_K_M.gguf "$question" --raw -n 24
  fi
done

if [ -n "$model" ]; then
  printf '\nIt talks:\n\n'
  for message in "Hello! Who are you?" "Name three rivers of Europe."; do
    printf '> %s\n' "$message"
    "$bin/gemma-chat" -m "$model" --temp 0 -n 96 -p "$message" 2>build/demo/demo.log || { cat build/demo/demo.log >&2 && exit 1; }
  done
  name=$(basename "$model" .gguf)
  name=${name//=/-}
  printf '\nIt and a toy, on 24 of the bundled questions (gemma-squad run):\n\n'
  "$bin/gemma-squad" run --model "${name:0:40}=$model" --model toy=examples/models/gemma-demo.Q4_K_M.gguf \
    --squad examples/squad/demo_set.json -n 24 --max-tokens 48 --out "build/demo/report-${name:0:40}"
  printf '\nTo talk to it:\n\n    %s -m %s\n' "$bin/gemma-chat" "$model"
  exit 0
fi

printf '\nThree such models, on the bundled questions (gemma-squad demo):\n\n'
"$bin/gemma-squad" demo --out build/demo/report

cat <<TEXT

These were toys: 4 to 7 million parameters, trained on extractive questions, to show everything end to end. A small real
model that talks is fetched (98 MB) and shown by

    examples/demo.sh --model "\$(examples/get_model.sh smollm2-135m)"

With a larger file, for instance gemma-7b-it-Q4_K_M.gguf (README.md says where it comes from, and how all programs are
built):

    $bin/gemma-chat -m gemma-7b-it-Q4_K_M.gguf
    $bin/gemma-chat -m gemma-7b-it-Q4_K_M.gguf -p "Why is the sky blue?"
TEXT
