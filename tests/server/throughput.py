"""Measures the speed of a running server: simultaneous clients, /v1/completions, prompts as ids, temperature 0, end tokens
ignored; then one request is repeated, whose prompt is cached.
    throughput.py URL [CLIENTS [PROMPT [GENERATED [REQUESTS]]]]
Works with other servers of the same interface (llama-server takes "ignore_eos" too)."""

import http.client
import json
import random
import statistics
import sys
import threading
import time

URL = sys.argv[1].removeprefix("http://").rstrip("/")
CLIENTS, PROMPT, GENERATED, REQUESTS = (int(a) for a in (sys.argv[2:] + ["8", "128", "64", "16"][len(sys.argv) - 2:]))


def ask(prompt, stream=False):
    """(seconds, seconds to the first token, seconds between tokens)."""
    connection = http.client.HTTPConnection(URL, timeout=600)
    body = {"model": "x", "prompt": prompt, "max_tokens": GENERATED, "temperature": 0, "ignore_eos": True, "stream": stream,
            "cache_prompt": True}
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if not stream:
        answer = json.loads(response.read())
        assert answer["usage"]["completion_tokens"] == GENERATED, answer
        connection.close()
        return time.perf_counter() - began, 0, 0
    times = []
    while line := response.readline():
        if line.startswith(b"data: {"):
            times.append(time.perf_counter() - began)
    connection.close()
    steps = [b - a for a, b in zip(times, times[1:]) if b - a > 1e-4]
    return times[-1], times[0], statistics.median(steps)


def main():
    r = random.Random(5)
    prompts = [[2] + [r.randrange(300, 3500) for _ in range(PROMPT - 1)] for _ in range(REQUESTS)]
    ask(prompts[-1][:8])
    numbers = iter(range(REQUESTS))
    lock = threading.Lock()

    def client():
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                return
            ask(prompts[i])
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    began = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    seconds = time.perf_counter() - began
    print(f"{CLIENTS} clients, {REQUESTS} requests of {PROMPT} + {GENERATED} tokens: {seconds:.1f} s, "
          f"{REQUESTS * GENERATED / seconds:.1f} generated tokens/s, {REQUESTS * (PROMPT + GENERATED) / seconds:.1f} in all")
    fresh = [2] + [r.randrange(300, 3500) for _ in range(PROMPT - 1)]
    for what in ["a new prompt", "the same again"]:
        seconds, first, step = ask(fresh, stream=True)
        print(f"{what}: first token after {first * 1000:.1f} ms, then one each {step * 1000:.1f} ms ({first / step:.2f} steps)")


main()
