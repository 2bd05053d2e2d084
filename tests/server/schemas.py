"""Requests with generated schemas: every answer of the server that ends with "stop" is JSON that its schema accepts.
    schemas.py BIN [SCHEMAS [SEED [MODEL]]]
BIN: the folder of the programs. Needs Python's jsonschema; where NODE_PATH holds ajv and ajv-formats (npm), ajv is used too."""

import concurrent.futures
import importlib.util
import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
os.environ["GEMMA_BIN"] = sys.argv[1]
os.environ.setdefault("GEMMA_SOURCE_DIR", str(HERE.parents[1]))
os.environ.setdefault("OMP_THREAD_LIMIT", "4096")

from served import DEMO, Served  # noqa: E402

spec = importlib.util.spec_from_file_location("stress", HERE.parent / "grammar" / "stress.py")
stress = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stress)

SCHEMAS = int(sys.argv[2]) if len(sys.argv) > 2 else 500
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
MODEL = sys.argv[4] if len(sys.argv) > 4 else DEMO


def main():
    schemas = [stress.Maker(SEED * 1000003 + i).document() for i in range(SCHEMAS)]
    texts, refused, cut, tokens = [], 0, 0, 0
    with Served("-m", MODEL, "--parallel", "16", "--log", "off") as server, \
            concurrent.futures.ThreadPoolExecutor(16) as pool:
        def ask(i):
            form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schemas[i]}}
            body = {"messages": [{"role": "user", "content": "Answer as JSON."}], "response_format": form, "seed": i,
                    "temperature": 1, "max_tokens": 300}
            return server.ask("POST", "/v1/chat/completions", body)
        for i, (status, _, answer) in enumerate(pool.map(ask, range(SCHEMAS))):
            if status == 400:  # unsupported keywords are refused by name
                refused += 1
                continue
            if status != 200:
                sys.exit(f"status {status}: {answer} for {json.dumps(schemas[i])}")
            choice, = answer["choices"]
            tokens += answer["usage"]["completion_tokens"]
            if choice["finish_reason"] == "stop":
                texts.append([i, choice["message"]["content"]])
            else:
                cut += 1
    wrong, looked = stress.invalid(schemas, texts)
    for who, i, why in wrong:
        print(f"NOT VALID ({who})", json.dumps(schemas[texts[i][0]])[:600], "\n ", texts[i][1][:300], "\n ", why)
    print(f"{SCHEMAS} schemas, {refused} of them refused; {len(texts)} answers ended with stop, {cut} were cut, {tokens} "
          f"tokens; {len(wrong)} not valid" + ("" if looked else " (without ajv)"))
    sys.exit(1 if wrong or not texts else 0)


main()
