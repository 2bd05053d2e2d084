"""gemma-quantize: its files run; its output, its refusals, and that a file is complete or does not exist."""

import array
import os
import pathlib
import re
import signal
import struct
import subprocess
import time
import unittest

from programs import BIN, GEMMA, SOURCE, ProgramTest, environment, run

NANO = str(SOURCE / "tests/golden/models/nano-gemma3.F32.gguf")
TOKENS = (SOURCE / "tests/golden/models/tokens.txt").read_text().replace("\n", ",").strip(",")


def big_model(path, rows=4000):
    """Writes a GGUF file of one F32 matrix with rows of 1024 elements, all 0.5, so that the program can be
    interrupted."""
    name = b"blk.0.attn_q.weight"
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", len(name)) + name
    head += struct.pack("<IQQIQ", 2, 1024, rows, 0, 0)
    path.write_bytes(head + bytes(-len(head) % 32) + struct.pack("<f", 0.5) * 1024 * rows)
    return str(path)


class Quantize(ProgramTest):
    def logits(self, model):
        path = self.folder / "logits.f32"
        self.succeeds("gemma-logits", "-m", model, "--tokens", TOKENS, "--out", str(path))
        return array.array("f", path.read_bytes())

    def test_what_it_writes_runs(self):
        expected = self.logits(NANO)
        squares = sum(x * x for x in expected)
        out = str(self.folder / "q.gguf")
        for recipe, bound in [("F16", 1e-5), ("q8_0", 1e-3), ("Q6_K", 1e-3), ("Q4_K_M", 0.05)]:
            lines = self.succeeds("gemma-quantize", NANO, out, recipe).splitlines()
            self.assertRegex(lines[-1], r"q\.gguf: tensors of [\d.]+ MB, [\d.]+ bits a weight; from [\d.]+ MB, in [\d.]+ s$")
            self.assertTrue(any(re.search(r"^token_embd\.weight +F32 -> \w+ .* error \d+\.\d{3}%", x) for x in lines), lines)
            got = self.logits(out)
            error = sum((a - b) ** 2 for a, b in zip(expected, got)) / squares
            self.assertLess(error, bound, recipe)
        self.assertEqual(sorted(os.listdir(self.folder)), ["logits.f32", "q.gguf"])

    def test_over_an_old_file_by_a_link(self):
        path = self.write("m.gguf", pathlib.Path(NANO).read_bytes())
        link = self.folder / "link.gguf"
        os.symlink(path, link)
        self.succeeds("gemma-quantize", NANO, str(link), "Q8_0")
        self.assertTrue(link.is_symlink())
        self.assertLess(os.path.getsize(path), os.path.getsize(NANO))
        self.succeeds("gguf-info", path)

    def test_threads_make_no_bit_of_difference(self):
        files = []
        for threads in ["1", "3"]:
            out = self.folder / threads
            self.succeeds("gemma-quantize", NANO, str(out), "Q5_K_M", "-t", threads)
            files.append(out.read_bytes())
        self.assertTrue(files[0] == files[1])

    def test_types_by_name_and_the_plan(self):
        plan = self.succeeds("gemma-quantize", NANO, "none", "Q8_0", "--dry-run", "--tensor", "*attn_q*=f16",
                             "--tensor", "token_embd.weight=Q4_0")
        self.assertRegex(plan, r"blk\.0\.attn_q\.weight +F32 -> F16")
        self.assertRegex(plan, r"token_embd\.weight +F32 -> Q4_0")
        self.assertRegex(plan, r"blk\.0\.attn_k\.weight +F32 -> Q8_0")
        self.assertFalse(os.path.exists("none"))

    def test_a_file_that_is_quantised_already(self):
        out = str(self.folder / "q")
        status, _, err = run("gemma-quantize", GEMMA, out, "Q3_K_M")
        self.assertEqual(status, 0)
        self.assertRegex(err, r"\Agemma-quantize: note: [^\n]*quantised already[^\n]*\n\Z")

    def test_refusals(self):
        out = str(self.folder / "q")
        for arguments, says in [((NANO, out, "Q9"), ["Q9", "Q4_K_M"]), ((NANO, out), "TYPE"), ((NANO,), "OUT"), ((), "IN"),
                                ((NANO, out, "Q8_0", "--tensor", "x"), "NAME=TYPE"),
                                ((NANO, out, "Q8_0", "--tensor", "no.such=Q8_0"), "no.such"),
                                ((NANO, out, "Q8_0", "--tensor", "*=IQ1_S"), "IQ1_S"),
                                ((NANO, out, "Q8_0", "--tensor", "*attn_q*=Q4_K"), ["attn_q", "Q4_K"]),
                                ((NANO, out, "Q8_0", "--imatrix", NANO), "not an importance matrix"),
                                ((NANO, out, "Q8_0", "--imatrix", "none"), "none: cannot open"),
                                ((NANO, str(self.folder / "no/q"), "Q8_0"), "cannot create"),
                                ((NANO, "/dev/full", "Q8_0"), "not a regular file"),
                                ((NANO, str(self.folder), "Q8_0"), "not a regular file"),
                                ((NANO, out, "Q8_0", "--lora", NANO), "not part of a LoRA adapter"),
                                ((NANO, out, "Q8_0", "--lora", "none:2"), "none: cannot open"),
                                (("none.gguf", out, "Q8_0"), "none.gguf"), ((NANO, out, "Q8_0", "-t", "0"), "threads"),
                                ((NANO, out, "Q8_0", "stray"), "stray"), ((NANO, out, "Q8_0", "--bad"), "--bad")]:
            self.refuses("gemma-quantize", *arguments, says=says)
        self.assertEqual(os.listdir(self.folder), [])

    def test_help_and_version(self):
        text = self.succeeds("gemma-quantize", "--help")
        self.assertIn("Usage: gemma-quantize", text)
        self.assertTrue(all(len(line) <= 100 for line in text.splitlines()))
        self.assertRegex(self.succeeds("gemma-quantize", "--version"), r"\Agemma-quantize \d+\.\d+\.\d+\n\Z")

    def test_a_limit_on_the_size_of_files(self):
        big = big_model(self.folder / "big", 500)
        out = self.write("q", "old")
        line = f"ulimit -f 100; exec {BIN}/gemma-quantize {big} {out} Q8_0"
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=environment(), check=False, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rb"\Agemma-quantize: [^\n]*cannot write: File too large\n\Z")
        self.assertEqual(sorted(os.listdir(self.folder)), ["big", "q"])
        self.assertEqual(pathlib.Path(out).read_text(), "old")

    def interrupted(self, number):
        big, out = big_model(self.folder / "big"), self.write("q", "old")
        with subprocess.Popen([str(BIN / "gemma-quantize"), big, out, "Q2_K", "-t", "1"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, env=environment()) as p:
            deadline = time.monotonic() + 30
            while not os.path.exists(out + ".part") and time.monotonic() < deadline:
                time.sleep(0.002)
            p.send_signal(number)
            _, err = p.communicate(timeout=60)
        self.assertEqual(pathlib.Path(out).read_text(), "old")
        return p.returncode, err

    def test_an_interrupt_leaves_nothing_behind(self):
        self.assertEqual(self.interrupted(signal.SIGINT), (130, b"gemma-quantize: stopped; nothing was written\n"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["big", "q"])

    def test_a_kill_leaves_the_old_file(self):
        self.assertEqual(self.interrupted(signal.SIGKILL)[0], -signal.SIGKILL)
        # and files that it left behind do no harm
        self.succeeds("gemma-quantize", NANO, str(self.folder / "q"), "Q8_0")
        self.assertEqual(sorted(os.listdir(self.folder)), ["big", "q"])


if __name__ == "__main__":
    unittest.main()
