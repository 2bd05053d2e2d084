"""Several models on demand, tools and thoughts, keys, other origins, and the start and end of the server."""

import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from served import AGENT, BIN, DEMO, LIMIT, VECTORS, Served, chat_of

CHAT = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather of a city.", "parameters": {
        "type": "object", "required": ["city", "days"],
        "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}, "days": {"type": "integer"},
                       "hot": {"type": "boolean"}}}}},
    {"type": "function", "function": {"name": "no_arguments"}}]


class Several(unittest.TestCase):
    """Three models, of which at most two fit into the memory at the same time."""

    @classmethod
    def setUpClass(cls):
        cls.server = Served("-m", "chat=" + DEMO, "-m", "agent=" + AGENT, "-m", "vec=" + VECTORS, "-c", "1024",
                            "--parallel", "2", "--kv", "f32", "--max-memory", "30MB", "--api-key", "secret", "--cors",
                            "https://a.example", "--log", "json", key="secret")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0
        lines = [json.loads(line) for line in cls.server.logged().splitlines()]
        assert {"model", "request", "stopped"} <= {line["event"] for line in lines}

    def loaded(self):
        return re.findall(r'gemma_model_memory_bytes\{model="(\w+)"\} (\d+)', self.server.get("/metrics"))

    def test_on_demand_within_the_memory(self):
        self.assertEqual([m["id"] for m in self.server.get("/v1/models")["data"]], ["chat", "agent", "vec"])
        got = []

        def ask(name):
            got.append(self.server.post(CHAT, chat_of(model=name, max_tokens=3))["model"])
        for names in [["chat", "agent"], ["agent", "chat", "chat", "agent"]]:
            threads = [threading.Thread(target=ask, args=(n,)) for n in names]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(sorted(got), sorted(names))
            got.clear()
            self.assertLessEqual(sum(int(n) for _, n in self.loaded()), 30_000_000)
        ask("chat")
        self.assertNotIn("vec", dict(self.loaded()))
        self.assertEqual(len(self.server.post("/v1/embeddings", {"model": "vec", "input": ["t5"]})["data"]), 1)
        self.assertLessEqual(sum(int(n) for _, n in self.loaded()), 30_000_000)
        for path, body in [(CHAT, chat_of(model="vec")), ("/v1/completions", {"model": "vec", "prompt": "x"})]:
            status, _, answer = self.server.ask("POST", path, body)
            self.assertEqual((status, answer["error"]["param"]), (400, "model"))
        status, _, answer = self.server.ask("POST", CHAT, chat_of(model="other"))
        self.assertEqual((status, answer["error"]["code"]), (404, "model_not_found"))
        self.assertEqual(self.server.ask("GET", "/v1/models/other")[0], 404)
        self.assertEqual(self.server.post(CHAT, chat_of(max_tokens=1))["model"], "chat")
        self.assertEqual(self.server.get("/props?model=agent")["model"], "agent")

    def test_keys(self):
        for headers in [{"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer secrets"},
                        {"Authorization": "secret"}, {"Authorization": "", "x-api-key": "wrong"}]:
            for method, path in [("GET", "/v1/models"), ("POST", CHAT), ("GET", "/metrics"), ("GET", "/slots")]:
                status, got, answer = self.server.ask(method, path, body=chat_of() if method == "POST" else None,
                                                      headers=headers)
                self.assertEqual((status, answer["error"]["code"], got["WWW-Authenticate"]),
                                 (401, "invalid_api_key", "Bearer"))
            for path in ["/", "/health"]:
                self.assertEqual(self.server.ask("GET", path, headers=headers)[0], 200)
        self.assertEqual(self.server.ask("GET", "/v1/models", headers={"Authorization": "", "x-api-key": "secret"})[0], 200)
        status, _, answer = self.server.ask("POST", "/v1/messages", {}, headers={"Authorization": ""})
        self.assertEqual((status, answer["error"]["type"]), (401, "authentication_error"))

    def test_other_origins(self):
        for origin, allowed in [("https://a.example", "https://a.example"), ("https://b.example", None), ("null", None)]:
            for method in ["GET", "OPTIONS"]:
                headers = self.server.ask(method, "/v1/models", headers={"Origin": origin})[1]
                self.assertEqual(headers["Access-Control-Allow-Origin"], allowed)
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST", "Authorization": "",
                 "Access-Control-Request-Headers": "authorization,content-type"}
        status, headers, _ = self.server.ask("OPTIONS", CHAT, headers=asked)
        self.assertEqual((status, headers["Access-Control-Allow-Headers"]), (204, "authorization,content-type"))
        broken = self.server.raw(b"OPTIONS /v1/models HTTP/1.1\r\nOrigin: https://a.example\r\nConnection: close\r\n"
                                 b"Access-Control-Request-Headers: a\rSet-Cookie: b\r\n\r\n")
        self.assertNotIn(b"\rSet-Cookie", broken)

    def test_tools(self):
        body = chat_of(model="agent", tools=TOOLS, temperature=1, max_tokens=400, seed=1)
        for choice in ["required", {"type": "function", "function": {"name": "weather"}},
                       {"type": "function", "function": {"name": "no_arguments"}}]:
            said, = self.server.post(CHAT, {**body, "tool_choice": choice})["choices"]
            self.assertEqual(said["finish_reason"], "tool_calls", said)
            call, = said["message"]["tool_calls"]
            self.assertIsNone(said["message"]["content"])
            self.assertEqual(call["type"], "function")
            arguments = json.loads(call["function"]["arguments"])
            if choice != "required":
                self.assertEqual(call["function"]["name"], choice["function"]["name"])
            if call["function"]["name"] == "weather":
                self.assertIn(arguments["city"], ["Rome", "Oslo"])
                self.assertIsInstance(arguments["days"], int)
            deltas = [e["choices"][0] for _, e in self.server.stream(CHAT, {**body, "tool_choice": choice})[:-1]]
            streamed = [c for d in deltas for c in d["delta"].get("tool_calls", [])]
            self.assertEqual([(c["index"], c["function"]) for c in streamed], [(0, call["function"])])
            self.assertEqual(deltas[-1]["finish_reason"], "tool_calls")
        answered = [*body["messages"], {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]
        prompt = self.server.post("/apply-template", {**body, "messages": answered})["prompt"]
        self.assertIn('<|tool>declaration:weather', prompt)
        self.assertIn('call:weather{city:<|"|>Rome<|"|>}', prompt)
        self.assertIn("sunny", prompt)
        self.assertNotIn("<|tool>", self.server.post("/apply-template", {**body, "tool_choice": "none"})["prompt"])
        status, _, answer = self.server.ask("POST", CHAT, chat_of(model="chat", tools=TOOLS))
        self.assertEqual((status, answer["error"]["param"]), (400, "tools"))

    def test_odd_tools(self):
        deep = {"type": "string"}
        for _ in range(80):
            deep = {"type": "array", "items": deep}
        for parameters in [None, {}, {"type": 5}, {"properties": 5}, {"properties": ["a", "b"]}, {"properties": {"a": 5}},
                           {"properties": {"a": {"type": ["string", "null"]}}, "required": 5},
                           {"properties": {"a": {"enum": [1, None, [2], {"b": 3}]}}, "required": [5, "a"]},
                           {"properties": {"a b": {"type": "integer"}, 'q"\\': {}, "": {}, "a:{b": {}}, "required": ["a b"]},
                           {"properties": {"a": deep}, "required": ["a"]},
                           {"properties": {f"p{i}": {"type": "array", "items": {"type": "object"}} for i in range(300)}}]:
            tool = {"type": "function", "function": {"name": "odd", "parameters": parameters}}
            for choice in ["auto", "required"]:
                status, _, answer = self.server.ask("POST", CHAT, chat_of(model="agent", tools=[tool], tool_choice=choice,
                                                                          max_tokens=4))
                self.assertIn(status, [200, 400], (parameters, answer))
                self.assertTrue(status == 200 or answer["error"]["message"], answer)

    def test_tools_of_anthropic(self):
        body = {"model": "agent", "max_tokens": 400, "messages": [{"role": "user", "content": "hi"}], "tool_choice": {"type": "any"},
                "tools": [{"name": "weather", "input_schema": {**TOOLS[0]["function"]["parameters"], "required": ["city"]}}]}
        said = self.server.post("/v1/messages", body)
        self.assertEqual((said["stop_reason"], said["content"][0]["type"]), ("tool_use", "tool_use"))
        self.assertIn(said["content"][0]["input"]["city"], ["Rome", "Oslo"])
        events = self.server.stream("/v1/messages", body)
        self.assertEqual(dict(events)["content_block_start"]["content_block"]["type"], "tool_use")
        self.assertIn("city", json.loads(dict(events)["content_block_delta"]["delta"]["partial_json"]))

    def test_thoughts(self):
        # a model with random weights does not think by itself, so a grammar forces a thought and a word
        marks = chat_of(model="agent", max_tokens=60, grammar='root ::= "<|channel>thought\\nhm<channel|>yes"')
        said, = self.server.post(CHAT, marks)["choices"]
        self.assertEqual((said["message"]["content"], said["message"]["reasoning_content"]), ("yes", "hm"))
        self.assertGreater(self.server.post(CHAT, marks)["usage"]["completion_tokens_details"]["reasoning_tokens"], 1)
        deltas = [e["choices"][0]["delta"] for _, e in self.server.stream(CHAT, marks)[:-1]]
        self.assertEqual("".join(d.get("reasoning_content", "") for d in deltas), "hm")
        self.assertEqual("".join(d.get("content", "") for d in deltas), "yes")
        for thinks in [True, False]:
            prompt = self.server.post("/apply-template", {**marks, "chat_template_kwargs": {"enable_thinking": thinks}})["prompt"]
            self.assertEqual("<|think|>" in prompt, thinks)


class Program(unittest.TestCase):
    def refuses(self, *arguments, says):
        done = subprocess.run([str(BIN / "gemma-server"), *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertRegex(done.stderr.splitlines()[-1], r"\Agemma-server: [^\n]+\Z")
        self.assertIn(says, done.stderr)
        self.assertEqual(len([line for line in done.stderr.splitlines() if line.startswith("gemma-server")]), 1)

    def test_what_is_refused(self):
        self.refuses(says="--model")
        self.refuses("-m", "/nowhere.gguf", "--port", "0", says="/nowhere.gguf")
        self.refuses("-m", DEMO, "-m", "b=/nowhere.gguf", "--port", "0", says="/nowhere.gguf")
        self.refuses("-m", DEMO, "-m", DEMO, says="two models")
        self.refuses("-m", DEMO, "-m", AGENT, "--lora", "a.gguf", says="--lora")
        self.refuses("-m", DEMO, "--port", "65536", says="--port")
        self.refuses("-m", DEMO, "--parallel", "0", says="--parallel")
        self.refuses("-m", DEMO, "--host", "256.0.0.1", says="256.0.0.1")
        self.refuses("-m", DEMO, "--max-memory", "1MB", "--port", "0", says="limit of 1000000")
        self.refuses("-m", DEMO, "--api-key", "", says="empty")
        for origin in ["foo", "https://", "https://a.example/", "a.example", ""]:
            self.refuses("-m", DEMO, "--cors", origin, says="--cors: ")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.refuses("-m", DEMO, "--port", str(taken.getsockname()[1]), says="in use")
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder) / "keys"
            keys.write_text("\n \n")
            self.refuses("-m", DEMO, "--api-key-file", str(keys), says="holds no key")
            keys.write_text("one\r\ntwo\n")
            with Served("-m", DEMO, "--api-key-file", str(keys), key="two") as server:
                self.assertEqual(server.ask("GET", "/v1/models")[0], 200)
                self.assertEqual(server.ask("GET", "/v1/models", headers={"Authorization": "Bearer one"})[0], 200)
                self.assertEqual(server.ask("GET", "/v1/models", headers={"Authorization": "Bearer "})[0], 401)
                # no other process may use its port
                self.refuses("-m", DEMO, "--port", server.port, says="in use")

    def test_the_other_kind_of_address(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("this machine has no ::1")
        with Served("-m", DEMO, "--host", "::1") as server:
            self.assertTrue(server.url.startswith("http://[::1]:"), server.url)
            self.assertEqual(server.get("/health"), {"status": "ok"})

    def test_an_end_that_waits_for_answers(self):
        server = Served("-m", DEMO)
        idle = server.connection()
        server.ask("GET", "/health", connection=idle)
        connection, response = server.begin_stream("/v1/completions", {"prompt": "The", "max_tokens": 60, "ignore_eos": True})
        response.read(20)
        server.process.send_signal(signal.SIGTERM)
        text = response.read().decode()  # until its end
        self.assertTrue(text.endswith("data: [DONE]\n\n"), text[-200:])
        self.assertEqual(server.process.wait(LIMIT), 0)
        with self.assertRaises(OSError):
            server.ask("GET", "/health")
        idle.close()
        connection.close()
        server.end()

    def test_a_second_signal_ends_them(self):
        server = Served("-m", DEMO)
        connection, response = server.begin_stream("/v1/completions", {"prompt": "The", "max_tokens": 2000, "ignore_eos": True})
        response.read(20)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: "stopping" in server.logged())  # signals that arrive together count as one
        server.process.send_signal(signal.SIGTERM)
        last = [line for line in response.read().decode().splitlines() if line.startswith("data: ")][-1]
        self.assertIn("shutting down", json.loads(last[6:])["error"]["message"])
        self.assertEqual(server.process.wait(LIMIT), 0)
        self.assertLess(time.monotonic() - began, 5)
        connection.close()
        server.end()


if __name__ == "__main__":
    unittest.main()
