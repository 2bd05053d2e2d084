"""The routes of the built server: responses, whole and as streams."""

import base64
import json
import math
import re
import shutil
import struct
import subprocess
import threading
import unittest

from served import BIN, DEMO, SOURCE, Served, chat_of

SERVER = None
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


def setUpModule():
    global SERVER
    SERVER = Served("-m", DEMO, "--parallel", "3")


def tearDownModule():
    status = SERVER.end()
    assert status == 0, status
    log = SERVER.logged()
    assert "stopped" in log and "path=\"/v1/chat/completions\" status=200" in log, log


def prompt_of(body):
    text = SERVER.post("/apply-template", body)["prompt"]
    return SERVER.post("/tokenize", {"content": text, "parse_special": True})["tokens"]


class Info(unittest.TestCase):
    def test_health_and_methods(self):
        self.assertEqual(SERVER.get("/health"), {"status": "ok"})
        status, headers, body = SERVER.ask("HEAD", "/health")
        self.assertEqual((status, headers["Content-Length"], body), (200, "15", ""))
        status, headers, _ = SERVER.ask("OPTIONS", CHAT, headers={"Origin": "http://a.example"})
        self.assertEqual((status, headers["Allow"]), (204, "POST, OPTIONS"))
        self.assertNotIn("Access-Control-Allow-Origin", headers)
        for method in ["GET", "PUT", "DELETE", "PATCH"]:
            status, headers, body = SERVER.ask(method, CHAT)
            self.assertEqual((status, headers["Allow"]), (405, "POST, OPTIONS"))
            self.assertEqual(body["error"]["type"], "invalid_request_error")
        for path in ["/nowhere", "/v1", "/v1/models/", "/v1/chat/completions/", "//", "/%2e%2e/etc/passwd"]:
            for method in ["GET", "POST"]:
                status, _, body = SERVER.ask(method, path, body={} if method == "POST" else None)
                self.assertEqual((status, body["error"]["type"]), (404, "not_found_error"), path)

    def test_models(self):
        model, = SERVER.get("/v1/models")["data"]
        self.assertEqual((model["id"], model["object"]), ("gemma-demo.Q4_K_M", "model"))
        self.assertEqual(SERVER.get("/v1/models/" + model["id"]), model)
        self.assertEqual(SERVER.post(CHAT, chat_of(model="gpt-4o", max_tokens=1))["model"], model["id"])

    def test_page(self):
        status, headers, page = SERVER.ask("GET", "/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("Content-Security-Policy", page)
        self.assertTrue(page.rstrip().endswith("</html>"))

    def test_props_and_metrics(self):
        props = SERVER.get("/props")
        self.assertEqual((props["total_slots"], props["n_ctx"], props["vocab_size"]), (3, 2048, 4096))
        self.assertEqual(len(SERVER.get("/slots")), 3)
        before = SERVER.metric("gemma_generated_tokens_total")
        SERVER.post(CHAT, chat_of(max_tokens=5))
        self.assertEqual(SERVER.metric("gemma_generated_tokens_total"), before + 5)
        self.assertGreater(SERVER.metric('gemma_http_requests_total{path="/v1/chat/completions",status="200"}'), 0)

    def test_tokens(self):
        text = "The river Orne, 412 metres — 日本 🙂"
        ids = SERVER.post("/tokenize", {"content": text})["tokens"]
        self.assertEqual(SERVER.post("/detokenize", {"tokens": ids})["content"], text)
        pieces = SERVER.post("/tokenize", {"content": text, "with_pieces": True})["tokens"]
        self.assertEqual([p["id"] for p in pieces], ids)
        raw = b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces)
        self.assertEqual(raw.decode(), text)
        with_bos = SERVER.post("/tokenize", {"content": text, "add_special": True})["tokens"]
        self.assertEqual(with_bos[1:], ids)


class Chat(unittest.TestCase):
    def test_usage_is_right_to_the_token(self):
        body = chat_of("A question of its own: what is 412 metres long?")
        prompt = prompt_of(body)
        first = SERVER.post(CHAT, body)
        choice, = first["choices"]
        self.assertEqual(choice["finish_reason"], "length")
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertEqual(first["usage"]["prompt_tokens"], len(prompt))
        self.assertEqual(first["usage"]["completion_tokens"], 12)
        self.assertEqual(first["usage"]["total_tokens"], len(prompt) + 12)
        again = SERVER.post(CHAT, body)
        self.assertEqual(again["choices"], first["choices"])
        self.assertEqual(again["usage"]["prompt_tokens_details"]["cached_tokens"], len(prompt) - 1)
        self.assertEqual(SERVER.post(CHAT, {**body, "max_completion_tokens": 3, "max_tokens": None})["usage"]
                         ["completion_tokens"], 3)
        # the same tokens through the other route
        text = SERVER.post(TEXT, {"prompt": prompt, "temperature": 0, "max_tokens": 12})
        self.assertEqual(text["choices"][0]["text"], choice["message"]["content"])

    def test_stream(self):
        for body in [chat_of(), chat_of(n=2, seed=4, temperature=1), chat_of(stop=["ignore", "the"])]:
            whole = SERVER.post(CHAT, body)
            events = SERVER.stream(CHAT, {**body, "stream_options": {"include_usage": True}})
            self.assertEqual(events.pop(), (None, "[DONE]"))
            usage = events.pop()[1]
            self.assertEqual(usage["choices"], [])
            self.assertEqual({**usage["usage"], "prompt_tokens_details": 0},
                             {**whole["usage"], "prompt_tokens_details": 0})
            texts = [""] * body.get("n", 1)
            reasons = [[] for _ in texts]
            roles = []
            for _, event in events:
                self.assertIsNone(event["usage"])
                self.assertEqual(event["object"], "chat.completion.chunk")
                choice, = event["choices"]
                roles += [choice["delta"]["role"]] if "role" in choice["delta"] else []
                texts[choice["index"]] += choice["delta"].get("content", "")
                reasons[choice["index"]].append(choice["finish_reason"])
            self.assertEqual(roles, ["assistant"] * len(texts))
            for i, choice in enumerate(whole["choices"]):
                self.assertEqual(texts[i], choice["message"]["content"])
                self.assertEqual(reasons[i][-1], choice["finish_reason"])
                self.assertEqual(set(reasons[i][:-1]), {None})
        self.assertNotIn("usage", SERVER.stream(CHAT, chat_of(max_tokens=1))[0][1])

    def test_stop(self):
        text = SERVER.post(CHAT, chat_of())["choices"][0]["message"]["content"]
        for stop in [text[4:11], text[-3:], [text[6:9], text[2:5]]]:
            cut = min(text.find(s) for s in ([stop] if isinstance(stop, str) else stop))
            choice, = SERVER.post(CHAT, chat_of(stop=stop))["choices"]
            self.assertEqual((choice["message"]["content"], choice["finish_reason"]), (text[:cut], "stop"))
            deltas = [e["choices"][0]["delta"].get("content", "")
                      for _, e in SERVER.stream(CHAT, chat_of(stop=stop))[:-1]]
            self.assertEqual("".join(deltas), text[:cut])

    def test_seeds_and_choices(self):
        body = chat_of(temperature=1.5, n=3, seed=11, max_tokens=8)
        three = SERVER.post(CHAT, body)
        self.assertEqual([c["index"] for c in three["choices"]], [0, 1, 2])
        self.assertEqual(three["usage"]["completion_tokens"], 24)
        self.assertEqual(three["usage"]["prompt_tokens"], len(prompt_of(body)))
        self.assertEqual(SERVER.post(CHAT, body)["choices"], three["choices"])
        second = SERVER.post(CHAT, {**body, "n": 1, "seed": 12})["choices"][0]
        self.assertEqual(second["message"], three["choices"][1]["message"])
        free = {SERVER.post(CHAT, {**body, "n": 1, "seed": None})["choices"][0]["message"]["content"] for _ in range(4)}
        self.assertGreater(len(free), 1)

    def test_logprobs(self):
        choice, = SERVER.post(CHAT, chat_of(logprobs=True, top_logprobs=3))["choices"]
        content = choice["logprobs"]["content"]
        self.assertEqual(len(content), 12)
        self.assertEqual(b"".join(bytes(t["bytes"]) for t in content).decode(), choice["message"]["content"])
        for t in content:
            self.assertEqual(len(t["top_logprobs"]), 3)
            self.assertEqual(t["top_logprobs"][0]["logprob"], t["logprob"])  # the likeliest token was chosen
            self.assertLess(sum(math.exp(o["logprob"]) for o in t["top_logprobs"]), 1.0001)
        streamed = [t for _, e in SERVER.stream(CHAT, chat_of(logprobs=True, top_logprobs=3))[:-1]
                    for t in (e["choices"][0]["logprobs"] or {"content": []})["content"]]
        self.assertEqual(streamed, content)
        plain, = SERVER.post(CHAT, chat_of())["choices"]
        self.assertIsNone(plain["logprobs"])

    def test_biases_and_penalties(self):
        river = SERVER.post("/tokenize", {"content": " river"})["tokens"][0]
        only = SERVER.post(TEXT, {"prompt": "The", "temperature": 0, "max_tokens": 4, "logit_bias": {str(river): 100}})
        self.assertEqual(only["choices"][0]["text"], " river" * 4)
        first = SERVER.post(TEXT, {"prompt": "The", "temperature": 0, "max_tokens": 1, "logprobs": 0})["choices"][0]
        banned = SERVER.post("/tokenize", {"content": first["text"]})["tokens"][0]
        other = SERVER.post(TEXT, {"prompt": "The", "temperature": 0, "max_tokens": 1, "logit_bias": {str(banned): -100}})
        self.assertNotEqual(other["choices"][0]["text"], first["text"])
        plain = SERVER.post(CHAT, chat_of(max_tokens=20))["choices"][0]["message"]["content"]  # the text is repeated
        for penalty in [{"presence_penalty": 2}, {"frequency_penalty": 2}, {"repeat_penalty": 2}]:
            said = SERVER.post(CHAT, chat_of(max_tokens=20, **penalty))["choices"][0]["message"]["content"]
            self.assertGreater(len(set(said.split())), len(set(plain.split())), penalty)

    def test_schema(self):
        schema = {"type": "object", "properties": {"a": {"enum": ["x", "yes"]}, "b": {"type": "boolean"}},
                  "required": ["a", "b"], "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}
        for seed in range(3):
            answer = SERVER.post(CHAT, chat_of(response_format=form, temperature=1, seed=seed, max_tokens=60))
            choice, = answer["choices"]
            self.assertEqual(choice["finish_reason"], "stop")
            value = json.loads(choice["message"]["content"])
            self.assertEqual(set(value), {"a", "b"})
            self.assertIn(value["a"], ["x", "yes"])
            self.assertIsInstance(value["b"], bool)
        said = SERVER.post(TEXT, {"prompt": "Is it?", "grammar": 'root ::= "yes" | "no"', "max_tokens": 9})
        self.assertIn(said["choices"][0]["text"], ["yes", "no"])
        self.assertTrue(SERVER.post(CHAT, chat_of(response_format={"type": "json_object"}, max_tokens=6))
                        ["choices"][0]["message"]["content"].lstrip().startswith("{"))

    def test_an_answer_that_was_begun(self):
        begun = chat_of()
        begun["messages"].append({"role": "assistant", "content": "The engineer"})
        self.assertTrue(SERVER.post("/apply-template", begun)["prompt"].endswith("model\nThe engineer"))
        parts = [{"type": "text", "text": "Who designed "}, {"type": "text", "text": "the bridge?"}]
        self.assertEqual(SERVER.post(CHAT, chat_of(parts))["choices"], SERVER.post(CHAT, chat_of())["choices"])


class Text(unittest.TestCase):
    def test_prompts(self):
        def text(**more):
            return SERVER.post(TEXT, {"temperature": 0, "max_tokens": 6, **more})
        ids = SERVER.post("/tokenize", {"content": "The river", "add_special": True})["tokens"]
        one = text(prompt="The river")["choices"][0]
        self.assertEqual(text(prompt=ids)["choices"][0], one)
        many = text(prompt=["The river", "The town"], n=2)
        self.assertEqual([c["text"] for c in many["choices"]],
                         [one["text"]] * 2 + [text(prompt="The town")["choices"][0]["text"]] * 2)
        self.assertEqual([c["index"] for c in many["choices"]], [0, 1, 2, 3])
        self.assertEqual(many["usage"]["completion_tokens"], 24)
        self.assertEqual(many["usage"]["prompt_tokens"], 2 * len(ids))
        self.assertEqual(text(prompt=[ids, ids])["choices"][1]["text"], one["text"])
        self.assertEqual(text(prompt="The river", echo=True)["choices"][0]["text"], "The river" + one["text"])
        nothing = text(prompt="The river", max_tokens=0)
        self.assertEqual((nothing["choices"][0]["text"], nothing["usage"]["completion_tokens"]), ("", 0))
        self.assertEqual(SERVER.post(TEXT, {"prompt": "The river", "ignore_eos": True})["usage"]["completion_tokens"], 16)
        self.assertEqual(text(prompt="")["usage"]["prompt_tokens"], 1)

    def test_logprobs(self):
        choice, = SERVER.post(TEXT, {"prompt": "The river", "temperature": 0, "max_tokens": 5, "logprobs": 2})["choices"]
        told = choice["logprobs"]
        self.assertEqual("".join(told["tokens"]), choice["text"])
        for i, token in enumerate(told["tokens"]):
            self.assertEqual(told["top_logprobs"][i][token], told["token_logprobs"][i])
            self.assertEqual(told["text_offset"][i], len("".join(told["tokens"][:i])))

    def test_stream(self):
        body = {"prompt": ["The river", "The town"], "temperature": 0, "max_tokens": 5}
        events = SERVER.stream(TEXT, body)
        self.assertEqual(events.pop(), (None, "[DONE]"))
        texts = ["", ""]
        for _, e in events:
            texts[e["choices"][0]["index"]] += e["choices"][0]["text"]
        self.assertEqual(texts, [c["text"] for c in SERVER.post(TEXT, body)["choices"]])


class Messages(unittest.TestCase):
    def test_whole_and_streamed(self):
        body = {"model": "x", "max_tokens": 12, "temperature": 0, "system": "Be brief.",
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Who designed the bridge?"}]}]}
        whole = SERVER.post("/v1/messages", body, headers={"anthropic-version": "2023-06-01"})
        self.assertEqual((whole["type"], whole["role"], whole["stop_reason"]), ("message", "assistant", "max_tokens"))
        text = whole["content"][0]["text"]
        n_prompt = whole["usage"]["input_tokens"] + whole["usage"]["cache_read_input_tokens"]
        self.assertEqual(SERVER.post("/v1/messages/count_tokens", {k: body[k] for k in ["messages", "system"]}),
                         {"input_tokens": n_prompt})
        events = SERVER.stream("/v1/messages", body)
        self.assertEqual([n for n, _ in events if n != "content_block_delta"],
                         ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])
        self.assertEqual("".join(e["delta"]["text"] for n, e in events if n == "content_block_delta"), text)
        end = dict(events)["message_delta"]
        self.assertEqual((end["delta"]["stop_reason"], end["usage"]["output_tokens"]), ("max_tokens", 12))
        cut = SERVER.post("/v1/messages", {**body, "stop_sequences": [text[5:9]]})
        self.assertEqual((cut["stop_reason"], cut["stop_sequence"]), ("stop_sequence", text[5:9]))
        self.assertEqual(cut["content"][0]["text"], text[:text.find(text[5:9])])

    def test_errors(self):
        for body in [{"messages": []}, {"max_tokens": 5}, {"max_tokens": 5, "messages": [{"role": "system", "content": ""}]}]:
            status, _, answer = SERVER.ask("POST", "/v1/messages", body)
            self.assertEqual((status, answer["type"], answer["error"]["type"]), (400, "error", "invalid_request_error"))


class Embeddings(unittest.TestCase):
    def test_forms(self):
        def vectors(**more):
            return SERVER.post("/v1/embeddings", more)
        one = vectors(input="The river")
        vector = one["data"][0]["embedding"]
        self.assertAlmostEqual(math.hypot(*vector), 1, places=5)
        packed = vectors(input=["The town", "The river"], encoding_format="base64")["data"][1]
        self.assertEqual(packed["index"], 1)
        self.assertEqual(list(struct.unpack(f"<{len(vector)}f", base64.b64decode(packed["embedding"]))),
                         [struct.unpack("<f", struct.pack("<f", x))[0] for x in vector])
        short = vectors(input="The river", dimensions=8)["data"][0]["embedding"]
        length = math.hypot(*vector[:8])
        for got, want in zip(short, vector, strict=False):
            self.assertAlmostEqual(got, want / length, places=5)
        ids = SERVER.post("/tokenize", {"content": "The river", "add_special": True})["tokens"]
        self.assertEqual(one["usage"], {"prompt_tokens": len(ids), "total_tokens": len(ids)})
        self.assertEqual(vectors(input=ids)["data"][0]["embedding"], vector)
        self.assertEqual(len(vectors(input=[ids, ids])["data"]), 2)


class Together(unittest.TestCase):
    def test_many_at_once_say_what_each_says_alone(self):
        bodies = [chat_of(f"Question {i} of many", max_tokens=6 + i) for i in range(8)]
        alone = [SERVER.post(CHAT, b)["choices"] for b in bodies]
        got = [None] * len(bodies)

        def ask(i):
            got[i] = SERVER.post(CHAT, bodies[i])["choices"]
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(got, alone)

    def test_a_client_that_leaves_stops_its_generation(self):
        long = {"prompt": "The river", "max_tokens": 2000, "ignore_eos": True, "temperature": 0}
        for streams in [True, False]:
            left = SERVER.metric("gemma_clients_left_total")
            generated = SERVER.metric("gemma_generated_tokens_total")
            if streams:
                connection, response = SERVER.begin_stream(TEXT, long)
                response.read(10)
            else:
                connection = SERVER.connection()
                connection.request("POST", TEXT, json.dumps(long))
                SERVER.wait_until(lambda: any(s["n_generated"] for s in SERVER.get("/slots")))
            connection.sock.close() if connection.sock else response.close()
            connection.close()
            SERVER.wait_until(lambda n=left: SERVER.metric("gemma_clients_left_total") == n + 1)
            SERVER.wait_until(lambda: not any(s["is_processing"] for s in SERVER.get("/slots")))
            self.assertLess(SERVER.metric("gemma_generated_tokens_total") - generated, 1900)


@unittest.skipUnless(shutil.which("curl"), "there is no curl on this machine")
class Documentation(unittest.TestCase):
    def test_every_line_of_curl_works_and_every_route_has_one(self):
        text = (SOURCE / "docs/server.md").read_text()
        commands = re.findall(r"(?m)^    curl [^']*?(?:'[^']*'[^']*?)*$", text)
        self.assertGreater(len(commands), 15)
        for command in commands:
            done = subprocess.run(["bash", "-c", command.replace("http://127.0.0.1:8080", SERVER.url).replace(
                "curl ", "curl -sS --fail-with-body ", 1)], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, (command, done.stdout, done.stderr))
        routes = re.findall(r'(?m)^ *\{"(?:GET|POST)", "(/[^"]*)"', (SOURCE / "examples/server/api.cpp").read_text())
        self.assertGreater(len(routes), 15)
        for route in routes:
            path = route if route.startswith("/v1") or "/v1" + route not in routes else "/v1" + route
            self.assertIn("http://127.0.0.1:8080" + path.removeprefix("/v1" if path == "/v1/health" else ""), text)

    def test_every_flag_is_there(self):
        text = (SOURCE / "docs/server.md").read_text()
        shown = subprocess.run([str(BIN / "gemma-server"), "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
        for short, long in re.findall(r"(?m)^  (?:(-\w),)?(--[a-z-]+)", shown):
            if long not in ("--help", "--version"):
                self.assertTrue(f"`{long}" in text or (short and f"`{short} " in text), long)


if __name__ == "__main__":
    unittest.main()
