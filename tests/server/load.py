"""Sends 1,000 requests from 64 clients at once, some of which stall, disconnect or send half a body. Each answer must be
the same as alone, and the server's memory, descriptors and threads must be the same afterwards.
    load.py BIN [MODEL [REQUESTS [CLIENTS]]]        BIN: the folder of the programs"""

import json
import os
import pathlib
import random
import socket
import sys
import threading
import time

os.environ["GEMMA_BIN"] = sys.argv[1]
os.environ.setdefault("GEMMA_SOURCE_DIR", str(pathlib.Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_THREAD_LIMIT", "4096")

from served import DEMO, Served, events_of  # noqa: E402

MODEL = sys.argv[2] if len(sys.argv) > 2 else DEMO
REQUESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
CLIENTS = int(sys.argv[4]) if len(sys.argv) > 4 else 64
PASSAGE = "The Maris Bridge crosses the river Orne near the town of Velden. "


def body_of(i):
    """The request with one of 40 questions, 13 of which share a prefix."""
    i %= 40
    text = PASSAGE * (i % 4) + f"Question {i % 13}: who?"
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 4 + i % 9, "ignore_eos": True}


def state(server):
    process = pathlib.Path(f"/proc/{server.process.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    return {"MB": int(status["VmRSS"].split()[0]) / 1024, "threads": int(status["Threads"]),
            "files": len(list((process / "fd").iterdir()))}


def stream_text(server, body, slow):
    connection, response = server.begin_stream("/v1/chat/completions", body)
    if slow:
        time.sleep(slow)
    text = response.read().decode()
    connection.close()
    return "".join(e["choices"][0]["delta"].get("content", "") for _, e in events_of(text)[:-1])


def misbehave(server, body, kind):
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    if kind == "half":
        with socket.create_connection((server.host, server.port)) as s:
            s.sendall(head + data[:len(data) // 2])
    elif kind == "silent":
        with socket.create_connection((server.host, server.port)) as s:
            time.sleep(0.05)
    elif kind == "leaves":
        with socket.create_connection((server.host, server.port)) as s:
            s.sendall(head + data)
            time.sleep(random.random() * 0.2)
    else:  # disconnects during a stream
        connection, response = server.begin_stream("/v1/chat/completions", {**body, "max_tokens": 200})
        response.read(50)
        response.close()
        connection.close()


def round_of(server, alone, n_requests):
    """Sends the requests, divided between the clients; returns the number of compared answers."""
    numbers = iter(range(n_requests))
    lock = threading.Lock()
    wrong, compared = [], [0]

    def client():
        connection = server.connection()
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                break
            body = body_of(i)
            try:
                kind = ["half", "silent", "leaves", "leaves a stream"][i // 10 % 4] if i % 10 == 9 else ""
                if kind:
                    misbehave(server, body, kind)
                    continue
                if i % 3 == 0:
                    got = stream_text(server, body, 0.5 if i % 30 == 0 else 0)
                else:
                    got = server.post("/v1/chat/completions", body, connection=connection)["choices"][0]["message"]["content"]
                compared[0] += 1
                if got != alone[i % 40]:
                    wrong.append((i, got, alone[i % 40]))
            except Exception as e:  # noqa: BLE001
                wrong.append((i, repr(e)))
        connection.close()
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        sys.exit(f"{len(wrong)} answers are wrong, the first: {wrong[0]}")
    return compared[0]


def main():
    with Served("-m", MODEL, "--parallel", "16", "-c", "512", "--log", "off") as server:
        alone = [server.post("/v1/chat/completions", body_of(i))["choices"][0]["message"]["content"] for i in range(40)]
        round_of(server, alone, CLIENTS * 2)  # so that pages are mapped and the memory of threads is allocated
        time.sleep(3)
        before = state(server)
        began = time.monotonic()
        compared = round_of(server, alone, REQUESTS)
        seconds = time.monotonic() - began
        server.wait_until(lambda: not any(s["is_processing"] for s in server.get("/slots")))
        time.sleep(3)
        after = state(server)
        print(f"{REQUESTS} requests of {CLIENTS} clients in {seconds:.1f} s, {compared} answers compared; {before} -> {after}")
        if after["threads"] > before["threads"] or after["files"] > before["files"] or after["MB"] > before["MB"] + 32:
            sys.exit("the server has grown")
    if server.process.returncode != 0:
        sys.exit(f"it ended with {server.process.returncode}: {server.logged()}")


main()
