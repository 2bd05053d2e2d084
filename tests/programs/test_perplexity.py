"""gemma-perplexity: its figures, recomputed from the logits, comparisons, and refusals."""

import array
import json
import math
import os
import pathlib
import struct
import subprocess
import unittest

from programs import BIN, GEMMA, LLAMA, MISTRAL, ProgramTest, environment

TEXT = " ".join(f"The bridge number {i} was opened in {1900 + i} by Anna Keller, who lives near the river." for i in range(30))
VOCAB = 4096
# windows of 64 tokens keep it short
SHORT = ["-c", "64", "--windows", "3"]


class Perplexity(ProgramTest):
    def setUp(self):
        super().setUp()
        self.text = self.write("text.txt", TEXT)

    def figures(self, *arguments, model=GEMMA, text=True):
        source = ["-f", self.text] if text else []
        return json.loads(self.succeeds("gemma-perplexity", "-m", model, *source, "--json", *arguments))

    def losses(self, model, n_ctx, first, stride, count):
        """The losses of the scored tokens, computed from the logits of whole windows."""
        line = self.succeeds("gemma-tokenize", "-m", model, "--bos", stdin=json.dumps({"text": TEXT}) + "\n")
        ids = json.loads(line)["ids"]
        bos = ids[0]
        losses = []
        for w in range(count):
            window = [bos] + ids[w * stride + 1:w * stride + n_ctx]
            path = self.folder / "l"
            self.succeeds("gemma-logits", "-m", model, "--tokens", ",".join(map(str, window)), "--out", str(path))
            logits = array.array("f", path.read_bytes())
            for p in range(first, n_ctx):
                row = logits[(p - 1) * VOCAB:p * VOCAB]
                most = max(row)
                losses.append(math.log(sum(math.exp(x - most) for x in row)) + most - row[window[p]])
        return losses

    def check(self, figures, losses):
        mean = sum(losses) / len(losses)
        variance = sum(x * x for x in losses) / len(losses) - mean * mean
        self.assertEqual(figures["tokens"], len(losses))
        self.assertAlmostEqual(figures["mean_loss"], mean, places=5)
        self.assertAlmostEqual(figures["perplexity"] / math.exp(mean), 1, places=5)
        self.assertAlmostEqual(figures["standard_error"] / (math.exp(mean) * math.sqrt(variance / (len(losses) - 1))), 1, places=4)

    def test_the_second_half_of_each_window_is_scored(self):
        for model in [GEMMA, LLAMA]:
            figures = self.figures("-c", "64", "--windows", "2", model=model)
            self.check(figures, self.losses(model, 64, 33, 64, 2))

    def test_a_stride(self):
        figures = self.figures("-c", "48", "--stride", "10", "--windows", "3")
        self.check(figures, self.losses(GEMMA, 48, 38, 10, 3))

    def test_batches_and_threads_make_no_difference(self):
        for model in [GEMMA, MISTRAL]:
            expected = self.figures(*SHORT, model=model)
            for flags in [["-b", "1", "-t", "1"], ["-b", "7"], ["-b", "2048"], ["-t", "3"]]:
                got = self.figures(*SHORT, *flags, model=model)
                self.assertEqual({k: v for k, v in got.items() if k != "seconds"},
                                 {k: v for k, v in expected.items() if k != "seconds"}, flags)

    def test_a_model_is_no_way_from_itself(self):
        saved = str(self.folder / "logits")
        alone = self.figures(*SHORT, "--save-logits", saved)
        self.assertEqual(os.path.getsize(saved), 20 + 4 * 3 * 64 + 3 * 31 * (8 + 2 * VOCAB))
        same = self.figures("--kl", saved, text=False)
        self.assertEqual([same[k] for k in ["kl", "kl_most", "same_top", "rms_p_change"]], [0, 0, 1, 0])
        self.assertEqual(same["perplexity"], alone["perplexity"])
        self.assertAlmostEqual(same["base_perplexity"] / same["perplexity"], 1, places=3)
        worse = str(self.folder / "worse.gguf")
        subprocess.run([str(BIN / "gemma-quantize"), GEMMA, worse, "Q2_K"], check=True, capture_output=True, env=environment())
        other = self.figures("--kl", saved, model=worse, text=False)
        self.assertGreater(other["kl"], 0.001)
        self.assertGreaterEqual(other["kl_most"], other["kl_99"])
        self.assertGreaterEqual(other["kl_99"], other["kl_median"])
        self.assertLess(other["same_top"], 1)
        self.assertAlmostEqual(other["ratio"], other["perplexity"] / other["base_perplexity"], places=4)
        self.assertEqual(self.figures("--kl", saved, "--windows", "2", model=worse, text=False)["tokens"], 62)

    def test_text(self):
        out = self.succeeds("gemma-perplexity", "-m", GEMMA, "-f", self.text, *SHORT)
        self.assertRegex(out, r"\Aperplexity \d+\.\d{4} \+- \d+\.\d{4} \(93 tokens of 3 windows\)\n\Z")

    def test_refusals(self):
        saved = str(self.folder / "logits")
        self.succeeds("gemma-perplexity", "-m", GEMMA, "-f", self.text, "-c", "32", "--windows", "1", "--save-logits", saved)
        whole = pathlib.Path(saved).read_bytes()
        model = ["-m", GEMMA]
        for arguments, says in [(model, ["--file", "--kl"]), (["-f", self.text], "--model is required"),
                                ([*model, "-f", "none"], "none: cannot be read"),
                                ([*model, "-f", self.text, "-c", "100000"], "100000"),
                                ([*model, "-f", self.text, "-c", "2"], "context"),
                                ([*model, "-f", self.text, "-c", "64", "--stride", "64"], "stride"),
                                ([*model, "-f", self.write("short", "hello")], "a window has 512"),
                                ([*model, "-f", self.text, "--kl", saved], "--kl"),
                                ([*model, "--kl", self.text], "not a file of saved logits"),
                                ([*model, "--kl", "none"], "none: cannot open"),
                                ([*model, "-f", self.text, *SHORT, "--max-memory", "1MB"], "more than the limit"),
                                ([*model, "-f", self.text, *SHORT, "--save-logits", "/nonexistent/l"], "/nonexistent/l"),
                                ([*model, "-f", self.text, *SHORT, "--save-logits", "/dev/full"], "No space left"),
                                ([*model, "-f", self.text, "--bad"], "--bad")]:
            self.refuses("gemma-perplexity", *arguments, says=says)
        for size in [0, 7, 8, 12, 19, 20, 100, len(whole) - 1]:
            self.refuses("gemma-perplexity", *model, "--kl", self.write("cut", whole[:size]), says="cut: ")
        for at, value in [(8, 0), (8, -1), (12, -5), (12, 2 ** 31 - 1), (16, 2 ** 31 - 1), (20, -1), (20, 4096)]:
            bad = whole[:at] + value.to_bytes(4, "little", signed=True) + whole[at + 4:]
            self.refuses("gemma-perplexity", *model, "--kl", self.write("bad", bad), says="bad: ")
        row = 20 + 4 * 32  # the first row, after the tokens: its scale and its least value
        for at, value in [(row, "nan"), (row, "-1"), (row + 4, "-inf")]:
            bad = whole[:at] + struct.pack("<f", float(value)) + whole[at + 4:]
            self.refuses("gemma-perplexity", *model, "--kl", self.write("bad", bad), says="prediction 0 is not of finite")

    def test_help_and_version(self):
        text = self.succeeds("gemma-perplexity", "--help")
        self.assertIn("Usage: gemma-perplexity", text)
        self.assertTrue(all(len(line) <= 100 for line in text.splitlines()))
        self.assertRegex(self.succeeds("gemma-perplexity", "--version"), r"\Agemma-perplexity \d+\.\d+\.\d+\n\Z")


if __name__ == "__main__":
    unittest.main()
