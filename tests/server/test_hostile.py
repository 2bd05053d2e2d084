"""Malformed and wrong requests: the right status, one JSON error, and the server continues to work."""

import json
import socket
import threading
import unittest

from served import DEMO, LIMIT, Served, chat_of

SERVER = None
CHAT = "/v1/chat/completions"


def setUpModule():
    global SERVER
    SERVER = Served("-m", DEMO, "--parallel", "2", "--log", "off")


def tearDownModule():
    status = SERVER.end()
    assert status == 0, status
    assert SERVER.logged() == "", SERVER.logged()


def answers_of(raw):
    """The responses [(status, body)] in the received bytes."""
    out = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status == 100:
            continue
        length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length"))
        out.append((status, raw[:length]))
        raw = raw[length:]
    return out


class Bodies(unittest.TestCase):
    def refused(self, body, status=400, path=CHAT, param=None):
        got, headers, answer = SERVER.ask("POST", path, body)
        self.assertEqual(got, status, (body if not isinstance(body, bytes) else body[:80], answer))
        self.assertEqual(headers["Content-Type"], "application/json")
        error = answer["error"]
        self.assertTrue(error["message"] and "\n" not in error["message"], error)
        if param is not None:
            self.assertEqual(error["param"], param)
        return error

    def test_no_json(self):
        for body in [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe{}", b'{"messages": "\xff"}', b"[" * 100000, b"\0",
                     b'{"messages": [{"role": "user", "content": "a\xc3"}]}', b'{"a":1}{"b":2}', b'{"a": 1e999}', b"a=b"]:
            self.refused(body)

    def test_wrong_types(self):
        message = [{"role": "user", "content": "hi"}]
        for field, values in {
                "messages": [None, [], {}, "x", [5], [{}], [{"role": "x", "content": "y"}], [{"role": "user"}],
                             [{"role": "user", "content": 5}], [{"role": "user", "content": [{"type": "image_url"}]}]],
                "max_tokens": ["x", -2, 1.5, [], True], "temperature": ["x", -1, [], 1e9], "top_p": [-1, 2, "x"],
                "n": [0, -1, 1000, "x"], "stop": [5, [5], [""], "", ["x"] * 1000], "seed": ["x", 1.5],
                "stream": ["x", 1], "logit_bias": [[], {"x": 1}, {"5": "x"}, {"5": 101}, {"5": None}, {"999999": 1}, {"-1": 1}],
                "top_logprobs": [21, "x", 5], "presence_penalty": [3, "x"], "tools": [5, [5], [{"type": "x"}]],
                "tool_choice": ["x", 5], "model": [5], "min_p": [2], "top_k": [1.5, "x"],
                "response_format": [5, {"type": "x"}, {"type": "json_schema"},
                                    {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}],
                "grammar": [5, "x", "root ::= root"]}.items():
            for value in values:
                error = self.refused({"messages": message, "max_tokens": 1, field: value})
                self.assertTrue((error["param"] or field).startswith(field.split("_")[0]), (field, value, error))
        for value in [None, [], 5, {}, [[]], [["x"]], [-1], [1.5], [1 << 40], [4096], [5, "x"], ["x", 5]]:
            self.refused({"prompt": value, "max_tokens": 1}, path="/v1/completions")
            self.refused({"input": value if value != [4096] else [5000]}, path="/v1/embeddings")
        self.refused({"input": "x", "dimensions": 257}, path="/v1/embeddings", param="dimensions")
        self.refused({"input": "x", "encoding_format": "x"}, path="/v1/embeddings", param="encoding_format")
        self.refused({"prompt": "x", "n": 128, "best_of": 129}, path="/v1/completions")
        self.refused({"prompt": ["x"] * 100, "n": 100}, path="/v1/completions", param="n")
        self.refused({"tokens": [4096]}, path="/detokenize")
        self.refused({"content": 5}, path="/tokenize", param="content")

    def test_messages_of_anthropic(self):
        hello = {"max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
        tool = {"name": "f", "input_schema": {"type": "object"}}
        for field, values in {
                "max_tokens": ["x", 0, -1, None], "temperature": [2, "x"], "stop_sequences": ["x", [""], [5]], "system": [5, [5]],
                "messages": [[], {}, [{"role": "tool", "content": "x"}], [{"role": "user", "content": [{"type": "image"}]}]],
                "tools": [5, [{}], [{"name": ""}], [{**tool, "input_schema": 5}], [{"type": "web_search_20250305", "name": "w"}]],
                "tool_choice": ["any", {"type": "any"}, {"type": "tool"}, {"type": "tool", "name": "f"}, {"type": "x"}],
                "thinking": [5]}.items():
            for value in values:
                status, headers, answer = SERVER.ask("POST", "/v1/messages", {**hello, field: value})
                self.assertEqual((status, headers["Content-Type"], answer["type"], answer["error"]["type"]),
                                 (400, "application/json", "error", "invalid_request_error"), (field, value))
        self.assertEqual(SERVER.post("/v1/messages", {**hello, "top_p": 0})["stop_reason"], "max_tokens")
        for headers, want in [(b"Content-Length: 100000000\r\n", "request_too_large"),
                              (b"Content-Length: x\r\n", "invalid_request_error"),
                              (b"Transfer-Encoding: chunked\r\n", "invalid_request_error")]:
            (_, body), = answers_of(SERVER.raw(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\nzz\r\n"))
            self.assertEqual(json.loads(body)["error"]["type"], want)

    def test_too_long(self):
        error = self.refused(chat_of("river " * 3000))
        self.assertEqual(error["code"], "context_length_exceeded")
        error = self.refused({"prompt": [5] * 2049}, path="/v1/completions")
        self.assertIn("2049", error["message"])
        full = SERVER.post("/v1/completions", {"prompt": [5] * 2045, "max_tokens": 50, "ignore_eos": True})
        self.assertEqual(full["choices"][0]["finish_reason"], "length")
        self.assertLess(full["usage"]["completion_tokens"], 6)
        for mib in [33, 100]:  # the client sends the whole body before it reads the response
            self.assertEqual(SERVER.ask("POST", CHAT, b"x" * (mib << 20))[0], 413)


class Http(unittest.TestCase):
    HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
    BODY = json.dumps({"prompt": "The river", "max_tokens": 2, "temperature": 0}).encode()

    def status_of(self, data, **more):
        (status, body), = answers_of(SERVER.raw(data, **more))
        if status >= 400:
            self.assertTrue(json.loads(body)["error"]["message"])
        return status

    def test_bodies_in_parts(self):
        chunks = b"".join(b"%x\r\n%c\r\n" % (1, c) for c in self.BODY) + b"0\r\n\r\n"
        close = b"Connection: close\r\n"
        self.assertEqual(self.status_of(self.HEAD + close + b"Transfer-Encoding: chunked\r\n\r\n" + chunks), 200)
        length = b"Content-Length: %d\r\n" % len(self.BODY)
        self.assertEqual(self.status_of(self.HEAD + close + length + b"Expect: 100-continue\r\n\r\n" + self.BODY), 200)
        two = self.HEAD + length + b"\r\n" + self.BODY + self.HEAD + close + length + b"\r\n" + self.BODY
        first, second = answers_of(SERVER.raw(two))  # pipelined
        self.assertEqual((first[0], second[0]), (200, 200))
        self.assertEqual(self.status_of(b"POST /v1/completions HTTP/1.0\r\n" + length + b"\r\n" + self.BODY), 200)
        streamed = SERVER.raw(b"POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (len(self.BODY) + 15)
                              + self.BODY[:-1] + b', "stream":true}')
        self.assertTrue(streamed.endswith(b"data: [DONE]\n\n"), streamed)

    def test_malformed(self):
        cases = {b"x\r\n\r\n": 400, b"GET / HTTP/9.9\r\n\r\n": 400, b"BREW / HTTP/1.1\r\n\r\n": 400,
                 self.HEAD + b"Content-Length: x\r\n\r\n": 400, self.HEAD + b"Content-Length: -5\r\n\r\n{}": 400,
                 self.HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n{}": 413,
                 self.HEAD + b"Content-Length: 100000000\r\n\r\n{}": 413,
                 self.HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
                 self.HEAD + b"Transfer-Encoding: gzip\r\n\r\nxx": 400,
                 self.HEAD + b"Content-Encoding: x\r\nContent-Length: 2\r\n\r\n{}": 415,
                 b"GET http://x/health HTTP/1.1\r\nConnection: close\r\n\r\n": 200,
                 b"GET http://x/nowhere HTTP/1.1\r\nConnection: close\r\n\r\n": 404,
                 self.HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n": 400,
                 self.HEAD + b"Content-Length: 2\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n{}": 415,
                 b"GET /" + b"a" * 10000 + b" HTTP/1.1\r\n\r\n": 414,
                 b"GET / HTTP/1.1\r\nX: " + b"a" * 100000 + b"\r\n\r\n": 431,
                 b"GET / HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n": 400,
                 b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"a" * 4000) * 30 + b"\r\n": 431,
                 b"GET /" + b"a" * 100000: 431}
        for data, status in cases.items():
            self.assertEqual(self.status_of(data), status, data[:70])

    def test_half_a_body(self):
        half = self.HEAD + b"Content-Length: 1000\r\n\r\n" + self.BODY
        self.assertEqual(self.status_of(half, half_close=True), 400)
        with socket.create_connection((SERVER.host, SERVER.port), LIMIT) as s:
            s.sendall(half)  # and disconnects
        self.assertEqual(SERVER.get("/health"), {"status": "ok"})

    def test_ranges_and_encodings_change_nothing(self):
        connection = SERVER.connection()
        for headers in [{"Range": "bytes=0-1"}, {"Accept-Encoding": "identity"}, {"Content-Type": "text/plain"},
                        {"Content-Type": "application/x-www-form-urlencoded"}]:
            for _ in range(3):  # one connection for all requests
                status, _, body = SERVER.ask("POST", "/v1/completions", self.BODY, headers=headers, connection=connection)
                self.assertEqual((status, body["usage"]["completion_tokens"]), (200, 2))
        large = json.dumps({"prompt": "The river " * 300, "max_tokens": 1}).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # the headers of curl -d
        self.assertEqual(SERVER.ask("POST", "/tokenize", json.dumps({"content": "x" * 100000}), headers=form)[0], 200)
        self.assertIn(SERVER.ask("POST", "/v1/completions", large, headers=form, connection=connection)[0], [200, 400])
        connection.close()

    def test_readers_that_stall(self):
        body = {"prompt": "The river", "max_tokens": 300, "ignore_eos": True, "temperature": 0, "stream": True}
        stalled = [SERVER.begin_stream("/v1/completions", body) for _ in range(4)]  # clients that do not read
        done = []
        thread = threading.Thread(target=lambda: done.append(SERVER.post("/v1/completions", {**body, "stream": False})))
        thread.start()
        thread.join(LIMIT)
        want = done[0]["choices"][0]["text"]
        for connection, response in stalled:
            events = [line for line in response.read().decode().splitlines() if line.startswith("data: {")]
            self.assertEqual("".join(json.loads(e[6:])["choices"][0]["text"] for e in events), want)
            connection.close()


if __name__ == "__main__":
    unittest.main()
