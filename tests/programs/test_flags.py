"""Promises of all programs about flags, files and output."""

import json
import os
import pathlib
import re
import subprocess
import unittest

from programs import BIN, GEMMA, ProgramTest, environment, run

# programs with -m, and flags for a short run
WITH_MODEL = {
    "gemma-chat": ["-p", "hello", "-n", "2", "--temp", "0"],
    "gemma-logits": ["--tokens", "2,3", "--out", "/dev/null"],
    "gemma-tokenize": [],
    "gemma-embed": [],
    "gemma-server": ["--port", "0"],
    "gemma-bench": ["-p", "2", "-n", "0", "-r", "1", "--no-warmup"],
}
RUNS_MODEL = [p for p in WITH_MODEL if p != "gemma-tokenize"]
PROGRAMS = [*WITH_MODEL, "gguf-info"]


def with_model(program, path):
    return ["-m", path, *WITH_MODEL[program]] if program in WITH_MODEL else [path]


class Flags(ProgramTest):
    def test_help_names_every_flag_and_fits_the_screen(self):
        for program in PROGRAMS:
            out = self.succeeds(program, "--help")
            self.assertIn("Usage: " + program, out)
            self.assertIn("--version", out)
            for line in out.splitlines():
                self.assertLessEqual(len(line), 100, f"{program}: {line}")
                self.assertEqual(line, line.rstrip())
                flag = line.split("  ")[1] if line.startswith("  -") else ""
                self.assertNotIn(":", flag.replace("FILE[:SCALE]", ""))  # CLI11's TYPE:CHECK
            self.assertEqual(self.succeeds(program, "-h"), out)

    def test_version(self):
        for program in PROGRAMS:
            self.assertRegex(self.succeeds(program, "--version"), rf"\A{program} \d+\.\d+\.\d+\n\Z")

    def test_an_unknown_flag_is_named_whatever_else_is_missing(self):
        for program in PROGRAMS:
            self.refuses(program, "--bad", says=["--bad", "--help"])
            self.refuses(program, "--bad=1", says="--bad=1")
            self.refuses(program, *with_model(program, GEMMA), "--bad", says="--bad")
            self.refuses(program, *with_model(program, GEMMA), "stray", says="stray")

    def test_what_is_missing_is_named(self):
        for program in WITH_MODEL:
            self.refuses(program, says="--model is required")
            self.refuses(program, "-m", says="--model needs a FILE")
        self.refuses("gemma-chat", "-m", GEMMA, "-t", says="--threads needs an N")
        self.refuses("gguf-info", says="FILE")
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens", "1", says="--out is required")

    def test_numbers_out_of_range(self):
        for program in ["gemma-chat", "gemma-logits"]:
            for flag, value in [("-t", "0"), ("-t", "-1"), ("-t", "two"), ("-t", "5000"), ("-t", ""),
                                ("-c", "0"), ("-c", "1e3"), ("-c", "99999999999999999999"), ("--kv", "f64")]:
                self.refuses(program, *with_model(program, GEMMA), flag, value, says=flag.lstrip("-")[0])

    def test_whole_numbers(self):
        for value in ["abc", "0", "4097", "1.5", "+2", "0x2", "010", "-1", " 2"]:
            self.refuses("gemma-chat", *with_model("gemma-chat", GEMMA), "-t", value,
                         says=f"--threads: {value} is not a whole number from 1 to 4096")
        self.refuses("gemma-chat", *with_model("gemma-chat", GEMMA), "-t", "", says="--threads: an empty value is not a whole number")
        for value in ["010", "-1", "x", "99999999999999999999", ""]:
            self.refuses("gemma-chat", *with_model("gemma-chat", GEMMA), "--seed", value, says="is not a whole number of 64 bits")

    def test_real_numbers(self):
        bad = ["nan", "inf", "-inf", "1e400", "", "x", "0x1p2", "-1", "1,5"]
        for flag, says, more in [("--temp", "from 0 to 1000000", []), ("--top-p", "above 0 and at most 1", ["0", "1.01"]),
                                 ("--min-p", "from 0 to 1", ["1.01"]), ("--repeat-penalty", "above 0", ["0"])]:
            for value in bad + more:
                self.refuses("gemma-chat", "-m", GEMMA, "-p", "hello", "-n", "2", flag, value,
                             says=[f"{flag}: {value or 'an empty value'} is not a number ", says])
        for flags in [["--temp", "0"], ["--temp", "1e-3", "--top-p", "1", "--min-p", "0", "--repeat-penalty", "1"]]:
            self.succeeds("gemma-chat", "-m", GEMMA, "-p", "hello", "-n", "2", "--seed", "1", *flags)

    def test_names_of_files_that_are_empty(self):
        for program in PROGRAMS:
            self.refuses(program, *with_model(program, ""), says="the file's name is empty")
        for program, arguments, flag in [("gemma-logits", ["-m", GEMMA, "--tokens", "1"], "--out"),
                                         ("gemma-logits", ["-m", GEMMA, "--out", "x"], "--tokens-file"),
                                         ("gemma-imatrix", ["-m", GEMMA, "-f", GEMMA], "--out"),
                                         ("gemma-perplexity", ["-m", GEMMA, "-f", GEMMA], "--save-logits"),
                                         ("gemma-chat", ["-m", GEMMA], "--prompt-file"), ("gemma-chat", ["-m", GEMMA, "-p", "x"], "--draft"),
                                         ("gemma-squad", ["score", "--squad", GEMMA], "--predictions")]:
            self.refuses(program, *arguments, flag, "", says=f"{flag}: the file's name is empty")
        self.refuses("gemma-quantize", GEMMA, "", "Q8_0", says="OUT: the file's name is empty")
        self.refuses("gemma-convert", "", "x", says="FOLDER: the file's name is empty")

    def test_flags_that_would_be_ignored(self):
        programs = ["gemma-chat"] + (["gemma-pipeline"] if (BIN / "gemma-pipeline").exists() else [])
        for program in programs:
            for flag, value in [("--system", "Be brief."), ("--chat-template", "llama3")]:
                self.refuses(program, "-m", GEMMA, "-p", "x", "--raw", flag, value, says=["--raw", flag])

    def test_one_list_of_chat_templates(self):
        err = self.refuses("gemma-chat", "-m", GEMMA, "-p", "x", "--chat-template", "foo", says="foo is not a chat template")
        names = re.search(r"known are ([a-z0-9, -]+)", err).group(1).split(", ")
        self.assertGreater(len(names), 9)
        for program, *command in [["gemma-chat"], ["gemma-tokenize"], ["gemma-server"], ["gemma-squad", "run"]]:
            shown = " ".join(self.succeeds(program, *command, "--help").split())
            for name in names:
                self.assertRegex(shown, rf"one of [a-z0-9, -]*\b{name}\b", program)

    def test_sizes_that_are_none(self):
        for program in RUNS_MODEL:
            for size in ["0", "-1", "", "4XB", "GB", "1.5GB", "4 GB", "4GBB", "4iB", "99999999999999999999", "19000000000GB"]:
                self.refuses(program, *with_model(program, GEMMA), "--max-memory=" + size, says=["--max-memory", size])

    def test_memory_is_kept_within_its_limit_or_refused(self):
        size = os.path.getsize(GEMMA)
        for program in RUNS_MODEL:
            if program != "gemma-server":  # the server runs until it is stopped
                enough = self.succeeds(program, *with_model(program, GEMMA), "--max-memory", "300MB")
            if program not in ("gemma-bench", "gemma-server"):
                self.assertEqual(enough, self.succeeds(program, *with_model(program, GEMMA)))
            self.refuses(program, *with_model(program, GEMMA), "--max-memory", str(size), says="not even one token fits")
        # the largest context that fits is reported, and it does fit
        asked = ["gemma-chat", *with_model("gemma-chat", GEMMA), "-t", "1", "--max-memory", "12MB"]
        err = self.refuses(*asked, "-c", "1000000", says="1000000 tokens takes")
        largest = int(re.search(r"the largest that fits is (\d+)$", err).group(1))
        self.succeeds(*asked, "-c", str(largest))
        self.refuses(*asked, "-c", str(largest + 1), says=f"the largest that fits is {largest}")
        answer = json.loads(self.succeeds(*asked, "--json"))
        self.assertLessEqual(answer["context"], largest)
        out = str(self.folder / "l")
        self.refuses("gemma-logits", "-m", GEMMA, "--tokens", ",".join(["2"] * 500), "--out", out, "-t", "1", "--chunk", "500",
                     "--max-memory", "12MB", says="the largest that fits is ")
        self.assertFalse(os.path.exists(out))
        self.refuses("gemma-bench", "-m", GEMMA, "-p", "2,100000", "-n", "0", "-r", "1", "--max-memory", "20MB",
                     says="the largest that fits is ")
        # the memory for measuring the machine counts too
        self.refuses("gemma-bench", *with_model("gemma-bench", GEMMA), "--max-memory", "200MB", says="more than the limit of 200000000")

    def test_a_flag_given_twice(self):
        for program in RUNS_MODEL:
            if program != "gemma-server":  # the server accepts several models
                self.refuses(program, *with_model(program, GEMMA), "-m", GEMMA, says="--model is given twice")
        self.refuses("gemma-chat", "-m", GEMMA, "-m", GEMMA, "-m", GEMMA, "-p", "x", says="--model is given 3 times")

    def test_a_value_outside_a_list(self):
        self.refuses("gemma-chat", *with_model("gemma-chat", GEMMA), "--kv", "q4", says="--kv: q4 is not one of f32, f16, q8 (--help")
        self.refuses("gemma-bench", *with_model("gemma-bench", GEMMA), "-o", "a not in {b}",
                     says="--output: a not in {b} is not one of md, json (--help")

    def test_more_threads_than_cores(self):
        out = self.succeeds("gemma-chat", *with_model("gemma-chat", GEMMA))
        self.assertEqual(self.succeeds("gemma-chat", *with_model("gemma-chat", GEMMA), "-t", "64"), out)

    def test_instruction_sets(self):
        for program in RUNS_MODEL:
            self.refuses(program, *with_model(program, GEMMA), "--isa", "sse9", says=["sse9", "scalar"])
            self.refuses(program, *with_model(program, GEMMA), env=environment(GEMMA_ISA="mmx"), says=["mmx", "scalar"])
        self.succeeds("gemma-chat", *with_model("gemma-chat", GEMMA), "--isa", "scalar")
        # the flag has precedence over the variable
        self.succeeds("gemma-chat", *with_model("gemma-chat", GEMMA), "--isa", "scalar", env=environment(GEMMA_ISA="mmx"))


class Files(ProgramTest):
    def refused_by_all(self, path, says):
        for program in PROGRAMS:
            self.refuses(program, *with_model(program, path), says=[os.path.basename(path), says])
        status, out, err = run("hello", path, "hello")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertIn(says, err)

    def test_no_file(self):
        self.refused_by_all(str(self.folder / "none.gguf"), "No such file")

    def test_a_folder(self):
        self.refused_by_all(str(self.folder), "")

    def test_an_empty_file(self):
        self.refused_by_all(self.write("empty.gguf", b""), "empty")

    def test_a_text_file(self):
        self.refused_by_all(self.write("notes.gguf", "This is no model.\n" * 100), "not a GGUF file")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_a_file_that_may_not_be_read(self):
        path = self.write("secret.gguf", b"GGUF")
        os.chmod(path, 0)
        self.refused_by_all(path, "Permission denied")

    def test_a_vocabulary_without_a_model(self):
        whole = pathlib.Path(GEMMA).read_bytes()
        path = self.write("vocab.gguf", whole[:8] + bytes(8) + whole[16:])  # the number of tensors
        for program in RUNS_MODEL:
            self.refuses(program, *with_model(program, path), says="vocab.gguf: there are no tensors in the file")
        self.assertEqual(self.succeeds("gemma-tokenize", "-m", path, stdin='{"text": "hello"}\n'),
                         self.succeeds("gemma-tokenize", "-m", GEMMA, stdin='{"text": "hello"}\n'))
        self.succeeds("gguf-info", path)

    def test_a_truncated_model(self):
        whole = pathlib.Path(GEMMA).read_bytes()
        for size in [4, 23, 1000, len(whole) // 2, len(whole) - 1]:
            self.refused_by_all(self.write("cut.gguf", whole[:size]), "")

    def test_a_name_that_would_steer_the_terminal(self):
        for program in PROGRAMS:
            err = self.refuses(program, *with_model(program, "a\n\x1b[2Jb"), says="a\\n\\x1b[2Jb")
            self.assertNotIn("\x1b", err)


class Output(ProgramTest):
    CALLS = [
        ("gguf-info", [GEMMA]),
        ("gguf-info", ["--json", GEMMA]),
        ("gemma-chat", ["-m", GEMMA, "-p", "hello", "-n", "2"]),
        ("gemma-chat", ["-m", GEMMA, "-p", "hello", "-n", "2", "--json"]),
        ("gemma-chat", ["-m", GEMMA]),
        ("gemma-tokenize", ["-m", GEMMA]),
        ("gemma-embed", ["-m", GEMMA]),
        ("gemma-bench", ["-m", GEMMA, "-p", "2", "-n", "0", "-r", "1", "--no-warmup"]),
        ("gemma-bench", ["-m", GEMMA, "-p", "2", "-n", "0", "-r", "1", "--no-warmup", "-o", "json"]),
        ("gemma-chat", ["--help"]),
        ("gemma-chat", ["--version"]),
    ]

    def test_a_full_disk(self):
        for program, arguments in self.CALLS:
            with open("/dev/full", "wb") as full:
                status, _, err = run(program, *arguments, stdin='{"text": "hello"}\n', stdout=full)
            self.assertEqual(status, 1, f"{program} {arguments}")
            self.assertRegex(err, rf"\A{program}: cannot write[^\n]+No space left[^\n]*\n\Z")

    def test_closed_standard_output(self):
        for program, arguments in self.CALLS:
            done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", str(BIN / program), *arguments],
                                  input=b'{"text": "hello"}\n', stderr=subprocess.PIPE, env=environment(),
                                  check=False, timeout=60)
            self.assertEqual(done.returncode, 1, f"{program} {arguments}")
            self.assertRegex(done.stderr.decode(), rf"\A{program}: cannot write[^\n]+\n\Z")

    def test_a_reader_that_leaves(self):
        line = f"{BIN}/gguf-info --json {GEMMA} | head -c 10; {BIN}/gemma-chat -m {GEMMA} -p hi -n 50 --temp 0 | true"
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=environment(), check=False, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(len(done.stdout), 10)


if __name__ == "__main__":
    unittest.main()
