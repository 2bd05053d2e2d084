#!/usr/bin/env bash
# Tests gemma-server with real clients: openai (PyPI and npm), anthropic and langchain-openai, and the page in Chromium
# if it is installed. The clients are installed into FOLDER, which needs a network once; nothing else is changed.
#   clients.sh BIN FOLDER [CHECKOUT]      BIN: the folder of the programs
set -euo pipefail
bin=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
source=$(realpath "${3:-$(dirname "$0")/../..}")
here=$source/tests/server

if [ ! -x "$folder/venv/bin/python" ]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install -q openai anthropic langchain-openai
fi
if [ ! -d "$folder/node_modules/openai" ] || [ ! -d "$folder/node_modules/playwright-core" ]; then
  npm install --silent --no-fund --no-audit --prefix "$folder" openai playwright-core
fi

"$bin/gemma-server" -m "chat=$source/examples/models/gemma-demo.Q4_K_M.gguf" \
  -m "agent=$source/tests/golden/models/nano-gemma4-e.F32.gguf" \
  -m "vectors=$source/tests/golden/models/nano-embedding.F32.gguf" \
  --api-key secret --port 0 --log off >"$folder/url" &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  grep -q listening "$folder/url" && break
  sleep 0.1
done
url=$(sed 's/.* //' "$folder/url")

status=0
"$folder/venv/bin/python" "$here/clients.py" "$url" secret || status=1
NODE_PATH=$folder/node_modules node "$here/clients.js" "$url" secret || status=1
if [ -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
  NODE_PATH=$folder/node_modules node "$source/tests/page/run.js" || status=1
  NODE_PATH=$folder/node_modules node "$here/page.js" "$url" secret || status=1
else
  echo "no Chromium: the page is not tested"
fi
kill $server
wait $server || status=1
trap - EXIT
[ $status -eq 0 ] && echo "clients: ok"
exit $status
