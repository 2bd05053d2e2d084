"""Runs a gemma-server for tests, and sends requests with Python's standard library only.

GEMMA_BIN is the folder of the programs, GEMMA_SOURCE_DIR the checkout.
"""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

BIN = pathlib.Path(os.environ["GEMMA_BIN"])
SOURCE = pathlib.Path(os.environ["GEMMA_SOURCE_DIR"])
DEMO = str(SOURCE / "examples/models/gemma-demo.Q4_K_M.gguf")
AGENT = str(SOURCE / "tests/golden/models/nano-gemma4-e.F32.gguf")
VECTORS = str(SOURCE / "tests/golden/models/nano-embedding.F32.gguf")
LIMIT = float(os.environ.get("GEMMA_TEST_SECONDS", "60"))  # for a busy machine


class Served:
    """A server with these arguments, on a free port; it ends with the block."""

    def __init__(self, *arguments, key=None):
        self.key = key
        self.log = tempfile.TemporaryFile("a+")  # the server and this process append
        env = {k: v for k, v in os.environ.items() if k != "GEMMA_ISA"}
        env.setdefault("OMP_THREAD_LIMIT", "1")  # tests run in parallel
        self.process = subprocess.Popen([str(BIN / "gemma-server"), "--port", "0", *arguments], env=env,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on http://"):
            self.end()
            raise AssertionError(f"the server says {line!r} and {self.logged()!r}")
        self.url = line.split()[-1]
        self.host, self.port = self.url[7:].rsplit(":", 1)
        self.host = self.host.strip("[]")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def logged(self):
        if self.log.closed:
            return self.last_words
        self.log.seek(0)
        return self.log.read()

    def end(self):
        """Sends SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(LIMIT)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.stdout.close()
            self.last_words = self.logged()
            self.log.close()

    def connection(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=LIMIT)

    def headers(self, more):
        return {**({"Authorization": "Bearer " + self.key} if self.key else {}), **(more or {})}

    def ask(self, method, path, body=None, headers=None, connection=None):
        """Sends a request. Returns (status, headers, body); a JSON body is parsed."""
        own = connection or self.connection()
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        own.request(method, path, data, self.headers(headers))
        response = own.getresponse()
        text = response.read()
        if not connection:
            own.close()
        is_json = response.headers.get("Content-Type", "") == "application/json" and text
        return response.status, response.headers, json.loads(text) if is_json else text.decode()

    def get(self, path, **more):
        status, _, body = self.ask("GET", path, **more)
        assert status == 200, (path, status, body)
        return body

    def post(self, path, body, **more):
        status, _, answer = self.ask("POST", path, body, **more)
        assert status == 200, (path, body, status, answer)
        return answer

    def begin_stream(self, path, body):
        """Starts a streamed request; returns (connection, response)."""
        connection = self.connection()
        connection.request("POST", path, json.dumps({**body, "stream": True}), self.headers(None))
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        return connection, response

    def stream(self, path, body):
        """The events of a streamed request: [(event name, data)]; data is "[DONE]" or parsed JSON."""
        connection, response = self.begin_stream(path, body)
        text = response.read().decode()
        connection.close()
        return events_of(text)

    def raw(self, data, half_close=False):
        """Sends these bytes; returns all bytes until the server closes the connection."""
        with socket.create_connection((self.host, self.port), LIMIT) as s:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            got = b""
            while part := s.recv(65536):
                got += part
            return got

    def metric(self, name):
        """The sum of a metric's values."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith(name)]
        assert lines, name
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wait_until(self, condition):
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, "it does not come"
            time.sleep(0.01)


def events_of(text):
    out = []
    for part in text.split("\n\n"):
        name, data = None, None
        for line in part.splitlines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                assert data is None
                data = line[6:]
        if data is not None:
            out.append((name, data if data == "[DONE]" else json.loads(data)))
    return out


def chat_of(text="Who designed the bridge?", **more):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 12, **more}
