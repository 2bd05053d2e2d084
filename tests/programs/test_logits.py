"""gemma-logits: the shape of its output, law 1 by bytes, and that a file is complete or does not exist."""

import array
import math
import os
import pathlib
import signal
import struct
import subprocess
import time
import unittest

from programs import BIN, GEMMA, LLAMA, MISTRAL, SOURCE, ProgramTest, environment, run

TOKENS = [2] + [(37 * i * i + 11 * i) % 4000 + 50 for i in range(1, 300)]
IDS = ",".join(map(str, TOKENS))
VOCAB = 4096
NANO = str(SOURCE / "tests/golden/models/nano-gemma-mqa.F32.gguf")


def adapter(factor):
    """A LoRA adapter of rank 1 for the queries of NANO's first layer, with all numbers equal."""
    text = lambda s: struct.pack("<Q", len(s)) + s
    pairs = [(b"general.type", b"adapter"), (b"general.architecture", b"gemma")]
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(pairs)) + b"".join(text(k) + struct.pack("<I", 8) + text(v) for k, v in pairs)
    name, width = b"blk.0.attn_q.weight.lora_", 64
    head += text(name + b"a") + struct.pack("<IQQIQ", 2, width, 1, 0, 0)
    head += text(name + b"b") + struct.pack("<IQQIQ", 2, 1, width, 0, 4 * width)
    return head + bytes(-len(head) % 32) + struct.pack("<f", factor) * (2 * width)


class Logits(ProgramTest):
    def logits(self, model, *flags, tokens=IDS):
        path = self.folder / "logits.f32"
        self.assertEqual(self.succeeds("gemma-logits", "-m", model, "--tokens", tokens, "--out", str(path), *flags), "")
        data = path.read_bytes()
        path.unlink()
        return data

    def test_shape(self):
        for model in [GEMMA, LLAMA, MISTRAL]:
            data = self.logits(model)
            self.assertEqual(len(data), 4 * VOCAB * len(TOKENS))
            self.assertTrue(all(math.isfinite(x) for x in array.array("f", data)))

    def test_adapters(self):
        ids = "2,5,9,11,300"
        plain = self.logits(NANO, tokens=ids)
        lora = self.write("lora.gguf", adapter(0.25))
        once = self.logits(NANO, "--lora", lora, tokens=ids)
        self.assertNotEqual(once, plain)
        self.assertEqual(self.logits(NANO, "--lora", lora + ":1.0", "-t", "2", "--chunk", "7", tokens=ids), once)
        self.assertEqual(self.logits(NANO, "--lora", lora + ":0", tokens=ids), plain)
        self.assertNotEqual(self.logits(NANO, "--lora", lora, "--lora", lora + ":-0.5", tokens=ids), once)
        for model, says in [(LLAMA, ["lora.gguf", "'gemma'", "'llama'"]), (GEMMA, ["lora.gguf", "blk.0.attn_q.weight", " x "])]:
            self.refuses("gemma-logits", "-m", model, "--tokens", "1", "--out", "/dev/null", "--lora", lora, says=says)
        self.refuses("gemma-logits", "-m", NANO, "--tokens", "1", "--out", "/dev/null", "--lora", NANO, says="not part of a LoRA adapter")

    def test_a_row_does_not_depend_on_what_follows(self):
        self.assertEqual(self.logits(GEMMA, tokens=",".join(map(str, TOKENS[:40]))), self.logits(GEMMA)[:40 * VOCAB * 4])

    def test_chunks_and_threads_make_no_bit_of_difference(self):
        for model in [GEMMA, MISTRAL]:  # mistral-demo has a window of 256, which these tokens exceed
            expected = self.logits(model)
            for flags in [["--chunk", "1", "-t", "1"], ["--chunk", "7"], ["--chunk", "512", "-t", "2"]]:
                self.assertTrue(self.logits(model, *flags) == expected, flags)

    def test_the_cache_in_float32(self):
        tokens = ",".join(str(2 + 37 * i % 300) for i in range(100))
        f32, f16 = (self.logits(NANO, "--kv", kind, tokens=tokens) for kind in ["f32", "f16"])
        self.assertTrue(self.logits(NANO, "--kv", "f32", "--chunk", "13", "-t", "1", tokens=tokens) == f32)
        self.assertFalse(f32 == f16)
        a, b = array.array("f", f32), array.array("f", f16)
        error = sum((x - y) ** 2 for x, y in zip(a, b)) / sum(x * x for x in a)
        self.assertLess(error, 1e-5)

    def test_the_cache_in_8_bits(self):
        tokens = ",".join(str(2 + 37 * i % 300) for i in range(100))
        f16, q8 = (self.logits(NANO, "--kv", kind, tokens=tokens) for kind in ["f16", "q8"])
        self.assertTrue(self.logits(NANO, "--kv", "q8", "--chunk", "13", "-t", "1", tokens=tokens) == q8)
        self.assertFalse(q8 == f16)
        a, b = array.array("f", f16), array.array("f", q8)
        error = sum((x - y) ** 2 for x, y in zip(a, b)) / sum(x * x for x in a)
        self.assertLess(error, 1e-3)

    def test_a_window(self):
        short = self.logits(MISTRAL, "--window", "16")
        files_own = self.logits(MISTRAL)
        self.assertTrue(short[:16 * VOCAB * 4] == files_own[:16 * VOCAB * 4])
        self.assertFalse(short == files_own)
        self.assertTrue(self.logits(MISTRAL, "--window", "256") == files_own)
        self.assertFalse(self.logits(MISTRAL, "--window", "0") == files_own)

    def test_tokens_from_a_file(self):
        path = self.write("ids.txt", "\n".join(IDS.split(",")) + "\n")
        out = self.folder / "l"
        self.succeeds("gemma-logits", "-m", GEMMA, "--tokens-file", path, "--out", str(out))
        self.assertTrue(out.read_bytes() == self.logits(GEMMA))

    def test_bad_tokens(self):
        out = str(self.folder / "l")
        for tokens, says in [("2,,3", "''"), ("2,x", "'x'"), ("2,3,", "comma"), ("4096", "4096"),
                             ("-1", "-1"), ("99999999999", "99999999999"), ("2 3;4", "'3;4'"), (",", "''")]:
            self.refuses("gemma-logits", "-m", GEMMA, "--tokens=" + tokens, "--out", out, says=says)
        self.refuses("gemma-logits", "-m", GEMMA, "--out", out, says=["--tokens", "--tokens-file"])
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens", "2", "--tokens-file", "x", "--out", out, says="--tokens-file")
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens-file", "no/ids", "--out", out, says="no/ids: cannot be read")
        self.assertFalse(os.path.exists(out))

    def test_more_tokens_than_the_context_holds(self):
        out = str(self.folder / "l")
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens", IDS, "-c", "100", "--out", out, says=["300", "100", "-c"])
        self.assertFalse(os.path.exists(out))

    def test_places_that_cannot_be_written(self):
        for path in ["/nonexistent/l", str(self.folder), ""]:
            self.refuses("gemma-logits", "-m", GEMMA, "--tokens", "2", "--out=" + path, says=path or "--out")
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens", "2", "--out", "/dev/full", says="No space left")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_failure_leaves_the_old_file_alone(self):
        path = self.write("l", "old")
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens", "2,5000", "--out", path, says="5000")
        self.assertEqual(pathlib.Path(path).read_text(), "old")
        self.assertEqual(os.listdir(self.folder), ["l"])

    def test_an_interrupt_leaves_nothing_behind(self):
        path = self.folder / "l"
        arguments = ["-m", GEMMA, "--tokens", ",".join(["2"] * 2000), "--isa", "scalar", "-t", "1", "--out", str(path)]
        with subprocess.Popen([str(BIN / "gemma-logits"), *arguments], stderr=subprocess.PIPE, env=environment()) as p:
            deadline = time.monotonic() + 30
            while not os.listdir(self.folder) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=60)
        self.assertEqual((p.returncode, err), (130, b"gemma-logits: stopped; nothing was written\n"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_limit_on_the_size_of_files(self):
        line = f"ulimit -f 100; exec {BIN}/gemma-logits -m {GEMMA} --tokens {IDS} --out {self.folder}/l"
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=environment(), check=False, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr, rb"\Agemma-logits: [^\n]*cannot write: File too large\n\Z")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_pipe(self):
        done = subprocess.run(["bash", "-c", f"{BIN}/gemma-logits -m {GEMMA} --tokens 2,3 --out /dev/stdout | wc -c"],
                              capture_output=True, env=environment(), check=True, timeout=60)
        self.assertEqual(done.stdout.strip(), str(2 * VOCAB * 4).encode())


class Hello(ProgramTest):
    def test_an_answer(self):
        out = self.succeeds("hello", GEMMA, "The bridge was opened in 1931. When was the bridge opened?")
        self.assertTrue(out.endswith("\n"))
        self.assertGreater(len(out.strip()), 0)

    def test_usage(self):
        for arguments in [[], [GEMMA], [GEMMA, "a", "b"]]:
            self.assertEqual(run("hello", *arguments), (1, "", 'usage: hello MODEL.gguf "a question"\n'))
        self.assertEqual(self.succeeds("hello", "--help"), 'usage: hello MODEL.gguf "a question"\n')


if __name__ == "__main__":
    unittest.main()
