"""gemma-imatrix: its files reduce the weighted error of gemma-quantize; sums of parts are equal; refusals."""

import os
import unittest

from programs import GEMMA, MISTRAL, SOURCE, ProgramTest, run
from test_convert import Gguf, floats

TEXT = " ".join(f"In {1900 + i} the river Orne was {i} metres wide, and Anna Keller crossed it by boat." for i in range(60))
MIXTURE = str(SOURCE / "tests/golden/models/nano-gemma4-m.F32.gguf")


class Imatrix(ProgramTest):
    def setUp(self):
        super().setUp()
        self.text = self.write("text.txt", TEXT)
        self.out = str(self.folder / "i.gguf")

    def measure(self, *flags, model=GEMMA, out=None):
        self.succeeds("gemma-imatrix", "-m", model, "-f", self.text, "-o", out or self.out, "-c", "64", *flags)
        return Gguf(out or self.out)

    def test_every_matrix_of_the_layers_is_measured(self):
        file = self.measure("--windows", "3")
        self.assertEqual([file.meta[k] for k in ["general.type", "imatrix.chunk_count", "imatrix.chunk_size"]], ["imatrix", 3, 64])
        self.assertEqual(file.meta["imatrix.datasets"], [self.text])
        status, plan, _ = run("gemma-quantize", GEMMA, "x", "Q8_0", "--dry-run")
        self.assertEqual(status, 0)
        matrices = {line.split()[0] for line in plan.splitlines() if line.startswith("blk.") and " x " in line}
        self.assertEqual({n[:-8] for n in file.tensors if n.endswith(".in_sum2")}, matrices)
        for name in matrices:
            self.assertEqual(floats(file.tensors[name + ".counts"][1])[0], 3 * 64)
            self.assertTrue(any(x > 0 for x in floats(file.tensors[name + ".in_sum2"][1])), name)
        # matrices with the same input have the same sums
        q, k = (file.tensors[f"blk.0.attn_{x}.weight.in_sum2"][1] for x in "qk")
        self.assertEqual(q, k)

    def test_threads_make_no_bit_of_difference(self):
        one, three = (self.measure("--windows", "2", "-t", t, model=MISTRAL) for t in "13")
        self.assertTrue(one.tensors == three.tensors)

    def test_earlier_files_add_up(self):
        other = str(self.folder / "other.gguf")
        once = self.measure("--windows", "2", out=other)
        twice = self.measure("--windows", "2", "--in", other)
        self.assertEqual(twice.meta["imatrix.chunk_count"], 4)
        name = "blk.1.ffn_down.weight.in_sum2"
        for a, b in zip(floats(once.tensors[name][1]), floats(twice.tensors[name][1])):
            self.assertAlmostEqual(b, 2 * a, delta=1e-5 * b)

    def test_each_expert_has_its_own(self):
        file = self.measure("--windows", "2", model=MIXTURE)
        shape, counts = file.tensors["blk.0.ffn_down_exps.weight.counts"]
        self.assertGreater(shape[0], 1)
        sums = floats(file.tensors["blk.0.ffn_down_exps.weight.in_sum2"][1])
        self.assertEqual(len(sums) % shape[0], 0)
        width = len(sums) // shape[0]
        self.assertEqual(sum(floats(counts)) % (2 * 64), 0)  # each token uses the same number of experts
        for e, n in enumerate(floats(counts)):
            self.assertEqual(n > 0, any(x > 0 for x in sums[e * width:(e + 1) * width]))

    def test_quantising_takes_it(self):
        self.measure("--windows", "4")
        status, out, _ = run("gemma-quantize", GEMMA, str(self.folder / "q"), "Q3_K_M", "--imatrix", self.out)
        self.assertEqual(status, 0)
        self.assertRegex(out, r"blk\.0\.attn_q\.weight .* error [\d.]+%, weighted [\d.]+%")

    def test_refusals(self):
        for arguments, says in [(["-o", self.out], ["--file", "--in"]), (["-f", self.text], "--out is required"),
                                (["-f", "none", "-o", self.out], "none: cannot be read"),
                                (["-f", self.write("s", "short"), "-o", self.out], "in windows of 512"),
                                (["-f", self.text, "-o", "/dev/full"], "not a regular file"),
                                (["-f", self.text, "-o", self.out, "--in", GEMMA], "not an importance matrix"),
                                (["-f", self.text, "-o", "/nonexistent/x", "-c", "64"], "cannot create"),
                                (["-f", self.text, "-o", self.out, "--bad"], "--bad")]:
            self.refuses("gemma-imatrix", "-m", GEMMA, *arguments, says=says)
        self.assertFalse(os.path.exists(self.out))
        self.measure("--windows", "1", model=MIXTURE)
        self.refuses("gemma-imatrix", "-m", GEMMA, "--in", self.out, "-o", str(self.folder / "x"), says="another model")

    def test_help_and_version(self):
        text = self.succeeds("gemma-imatrix", "--help")
        self.assertIn("Usage: gemma-imatrix", text)
        self.assertTrue(all(len(line) <= 100 for line in text.splitlines()))
        self.assertRegex(self.succeeds("gemma-imatrix", "--version"), r"\Agemma-imatrix \d+\.\d+\.\d+\n\Z")


if __name__ == "__main__":
    unittest.main()
