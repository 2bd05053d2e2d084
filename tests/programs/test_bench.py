"""gemma-bench: llama-bench's flags and fields."""

import json
import statistics
import unittest

from programs import GEMMA, ProgramTest


class Bench(ProgramTest):
    def test_json(self):
        rows = json.loads(self.succeeds("gemma-bench", "-m", GEMMA, "-p", "16,8", "-n", "4", "-t", "1,2", "-r", "2", "-o",
                                        "json"))
        self.assertEqual([(r["n_threads"], r["n_prompt"], r["n_gen"]) for r in rows],
                         [(t, p, n) for t in (1, 2) for p, n in ((16, 0), (8, 0), (0, 4))])
        for row in rows:
            self.assertEqual(row["model_filename"], GEMMA)
            self.assertEqual(len(row["samples_ts"]), 2)
            self.assertAlmostEqual(row["avg_ts"], statistics.mean(row["samples_ts"]), delta=1e-3 * row["avg_ts"])
            self.assertAlmostEqual(row["stddev_ts"], statistics.stdev(row["samples_ts"]), delta=1e-2 * row["avg_ts"])
            self.assertGreater(row["avg_ns"], 0)
            self.assertGreater(row["model_n_params"], 6e6)
            self.assertGreater(row["model_size"], 4e6)
            self.assertIn("stddev_ns", row)
            self.assertGreater(row["roofline_share"], 0)
            self.assertGreater(row["read_bytes_per_second"], 1e8)

    def test_table(self):
        out = self.succeeds("gemma-bench", "-m", GEMMA, "-p", "8", "-n", "2", "-d", "16", "-r", "1")
        self.assertRegex(out, r"(?m)^\| pp8 @ d16 \|")
        self.assertRegex(out, r"(?m)^\| tg2 @ d16 \|")
        self.assertIn("Q4_K", out)

    def test_help_of_the_kernels(self):
        self.assertIn("--threads=N", self.succeeds("kernels-bench", "--help"))

    def test_bad_flags(self):
        for flags in [["-p", "x"], ["-n", "-1"], ["-r", "0"], ["-o", "xml"], ["-b", "0"]]:
            self.refuses("gemma-bench", "-m", GEMMA, *flags, says="--")


if __name__ == "__main__":
    unittest.main()
