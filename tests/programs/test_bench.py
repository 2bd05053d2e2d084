"""gemma-bench: llama-bench's flags and fields, and llama-batched-bench's."""

import json
import re
import statistics
import unittest

from programs import GEMMA, SOURCE, ProgramTest, run


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

    def test_what_was_used_is_said(self):
        for flags, size in [([], 512), (["-b", "24"], 24), (["--ubatch-size", "8"], 8)]:
            row, = json.loads(self.succeeds("gemma-bench", "-m", GEMMA, "-p", "16", "-n", "0", "-r", "1", *flags, "-o", "json"))
            self.assertEqual((row["n_batch"], row["n_ubatch"]), (size, size))

    def test_keys_and_values_in_8_bits(self):
        flags = ["-m", GEMMA, "-p", "0", "-n", "2", "-d", "100", "-r", "1", "-o", "json"]
        (f16,), (q8,) = (json.loads(self.succeeds("gemma-bench", *flags, "--kv", kind)) for kind in ["f16", "q8"])
        self.assertEqual((f16["type_k"], q8["type_k"], q8["type_v"]), ("f16", "q8", "q8"))
        self.assertEqual(q8["kv_bytes"] * 64, f16["kv_bytes"] * 34)
        self.succeeds("gemma-bench", "-m", GEMMA, "-npp", "8", "-ntg", "2", "-npl", "2", "-t", "1", "--kv", "q8")
        self.refuses("gemma-bench", "-m", GEMMA, "--kv", "q4", says="--kv")

    def test_many_sequences(self):
        rows = json.loads(self.succeeds("gemma-bench", "-m", GEMMA, "-npp", "7,16", "-ntg", "2,3", "-npl", "1,4", "-t", "1,2",
                                        "-b", "24", "-o", "json"))
        self.assertEqual([(r["n_threads"], r["pp"], r["tg"], r["pl"]) for r in rows],
                         [(t, p, g, n) for t in (1, 2) for p in (7, 16) for g in (2, 3) for n in (1, 4)])
        for row in rows:
            pp, tg, pl = row["pp"], row["tg"], row["pl"]
            self.assertEqual(row["n_kv"], pl * (pp + tg))
            self.assertEqual((row["n_batch"], row["is_pp_shared"]), (24, 0))
            self.assertGreater(min(row["t_pp"], row["t_tg"]), 0)
            for speed, tokens, time in [("speed_pp", pl * pp, "t_pp"), ("speed_tg", pl * tg, "t_tg"), ("speed", row["n_kv"], "t")]:
                self.assertAlmostEqual(row[speed], tokens / row[time], delta=1e-3 * row[speed])
            self.assertAlmostEqual(row["t"], row["t_pp"] + row["t_tg"], delta=1e-6)

    def test_many_sequences_by_other_spellings(self):
        for flags in [["-npp=8", "-ntg=0", "-npl=3"], ["--npp", "8", "--ntg", "0", "--npl", "3"], ["-npp", "8", "-ntg=0", "--npl=3"]]:
            row, = json.loads(self.succeeds("gemma-bench", "-m", GEMMA, *flags, "-b", "2", "-r", "2", "-o", "json"))
            self.assertEqual([row[f] for f in ("pp", "tg", "pl", "n_kv", "speed_tg")], [8, 0, 3, 24, 0])
            self.assertEqual(row["n_batch"], 3)  # a step computes a token of each sequence

    def test_table_of_many_sequences(self):
        out = self.succeeds("gemma-bench", "-m", GEMMA, "-npp", "8", "-ntg", "2", "-npl", "2", "-t", "1")
        self.assertRegex(out, r"(?m)^\| PP \| TG \| B \| N_KV \| threads \| T_PP s \| S_PP t/s \| T_TG s \| S_TG t/s \| T s \| S t/s \|$")
        self.assertRegex(out, r"(?m)^\| 8 \| 2 \| 2 \| 20 \| 1 \| \d")
        self.assertIn("Q4_K", out)

    def test_bad_flags_of_many_sequences(self):
        together = ["-npp", "8", "-ntg", "2", "-npl", "2"]
        for flags in [together[:2], together[2:4], together[4:], together[:4], [*together, "-p", "8"], [*together, "-n", "1"],
                      [*together, "-d", "1"], ["-npp", "x", *together[2:]], ["-npp", "0", *together[2:]],
                      [*together[:4], "-npl", "0"], [*together[:4], "-npl", "-1"]]:
            self.refuses("gemma-bench", "-m", GEMMA, *flags, says="--n")
        self.refuses("gemma-bench", "-m", GEMMA, "-npp", "100", "-ntg", "1", "-npl", "1,100000", "--max-memory", "20MB", says="")

    def test_many_sequences_with_one_prompt(self):
        for flag in ["-pps", "--pps"]:
            row, = json.loads(self.succeeds("gemma-bench", "-m", GEMMA, "-npp", "70", "-ntg", "2", "-npl", "3", flag, "-t", "1", "-o", "json"))
            self.assertEqual([row[f] for f in ("is_pp_shared", "n_kv", "n_kv_max")], [1, 70 + 3 * 2, 70 + 3 * 2])
            for speed, tokens, time in [("speed_pp", 70, "t_pp"), ("speed_tg", 6, "t_tg"), ("speed", 76, "t")]:
                self.assertAlmostEqual(row[speed], tokens / row[time], delta=1e-3 * row[speed])
        self.refuses("gemma-bench", "-m", GEMMA, "-pps", says="--n")

    def test_along_a_text(self):
        text = self.folder / "text.txt"
        words = " ".join(f"word{i} {i * 7}" for i in range(20))
        text.write_text(words + " and again: " + words)
        common = ["gemma-bench", "-m", GEMMA, "--text", str(text), "-n", "60", "-t", "1,2", "-r", "2", "-o", "json"]
        for draft in ["lookup", GEMMA]:
            rows = json.loads(self.succeeds(*common, "--draft", draft))
            self.assertEqual([(r["n_threads"], r["draft"]) for r in rows], [(t, d) for t in (1, 2) for d in ("off", draft)])
            for row in rows:
                self.assertEqual((row["n_gen"], len(row["samples_ts"])), (60, 2))
                self.assertAlmostEqual(row["tokens_per_step"], 59 / row["n_steps"], delta=1e-6)
            for off, on in zip(rows[::2], rows[1::2]):
                self.assertEqual((off["n_steps"], off["n_drafted"], off["n_accepted"], off["speedup"]), (59, 0, 0, 0))
                self.assertEqual(on["n_steps"] + on["n_accepted"], 59)
                self.assertGreater(on["speedup"], 0)
                self.assertLessEqual(on["n_accepted"], on["n_drafted"])
            if draft == "lookup":
                self.assertGreater(rows[1]["tokens_per_step"], 3)  # the whole continuation occurs in the prompt
        self.assertEqual(len(json.loads(self.succeeds(*common))), 2)
        self.assertRegex(self.succeeds(*common[:7], "-r", "1", "--draft", "lookup"), r"(?m)^\| text tg60 @ d\d+ \| lookup \|")
        for flags, says in [(["--draft", "lookup"], "--text"), (["--text", "/nonexistent"], "/nonexistent"), (["--text", str(text), "-n", "1"], "text"),
                            (["--text", str(text), "-n", "100000"], "text"), (["--text", str(text), "-d", "3"], "--text"),
                            (["--text", str(text), "--draft", "/nonexistent"], "/nonexistent")]:
            self.refuses("gemma-bench", "-m", GEMMA, *flags, says=says)

    def test_help_of_the_kernels(self):
        self.assertIn("--threads N", self.succeeds("kernels-bench", "--help"))
        self.assertRegex(self.succeeds("kernels-bench", "--version"), r"\Akernels-bench \d+\.\d+\.\d+\n\Z")

    def test_flags_of_the_kernels(self):
        listed = self.succeeds("kernels-bench", "--benchmark_list_tests")
        for flags in [["--threads", "2"], ["--threads=2"], ["-t", "2"], ["-t=2"]]:
            self.assertEqual(self.succeeds("kernels-bench", *flags, "--benchmark_list_tests"), listed)
        for flags, says in [(["--threads", "0"], "--threads: 0 is not a whole number from 1 to 1024"), (["--threads="], "--threads"),
                            (["-t", "two"], "two"), (["-t"], "-t needs a number"), (["--bad"], "--bad"), (["stray"], "stray")]:
            self.refuses("kernels-bench", *flags, says=says)
        status, out, err = run("kernels-bench", "--benchmark_filter=nothing")
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("nothing", err)

    def test_cases_of_the_kernels(self):
        types = re.findall(r"(?m)^  X\((\w+),", (SOURCE / "gguf/dtype.hpp").read_text())
        self.assertEqual(len(types), 28)
        # Google Benchmark takes seconds to list all of them
        cases = set(self.succeeds("kernels-bench", "--benchmark_list_tests", "--benchmark_filter=/n:2048/k:2048/").split())
        isa = next(c.split("/")[2] for c in cases if c.startswith("matmul/q4_k/"))
        for name in types:
            for m in (1, 2, 4, 5, 6, 8, 16, 24, 32, 128, 512):
                self.assertIn(f"matmul/{name.lower()}/{isa}/m:{m}/n:2048/k:2048/real_time", cases)

    def test_lists(self):
        for flags, says in [(["-t", "0"], "--threads: 0 is not a whole number from 1 to 4096"), (["-p", "1,,2"], "--n-prompt: an empty value"),
                            (["-p", "1,"], "--n-prompt: an empty value"), (["-p", ""], "--n-prompt: an empty value"),
                            (["-t", "1", "extra"], "there is no flag or argument extra"),
                            (["-p", "99999999999"], "--n-prompt: 99999999999 is not a whole number from 0 to 1073741824"),
                            (["-p", "0", "-n", "0"], "nothing to measure")]:
            self.refuses("gemma-bench", "-m", GEMMA, *flags, says=says)
        rows = json.loads(self.succeeds("gemma-bench", "-m", GEMMA, "-p", "4", "-p", "2,3", "-n", "0", "-t", "1", "-r", "1", "-o", "json"))
        self.assertEqual([r["n_prompt"] for r in rows], [4, 2, 3])
        empty = self.write("empty", "")
        self.refuses("gemma-bench", "-m", GEMMA, "--text", empty, says="--n-gen: 128 tokens cannot be generated along a text of 1 token:")

    def test_bad_flags(self):
        for flags in [["-p", "x"], ["-n", "-1"], ["-r", "0"], ["-o", "xml"], ["-b", "0"]]:
            self.refuses("gemma-bench", "-m", GEMMA, *flags, says="--")


if __name__ == "__main__":
    unittest.main()
