"""The standard streams: notes that cannot be written, output that is lost, input that cannot be read."""

import pathlib
import signal
import subprocess
import time
import unittest

from programs import BIN, GEMMA, LIMIT, SOURCE, ProgramTest, environment, run

NANO = str(SOURCE / "tests/golden/models/nano-gemma3.F32.gguf")
DEMO_SET = str(SOURCE / "examples/squad/demo_set.json")


def through_shell(redirection, program, *arguments, stdin=b"", cwd=None):
    """The finished process of a program whose standard streams the shell redirects."""
    env = environment(OMP_THREAD_LIMIT="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                      OMPI_MCA_btl_vader_single_copy_mechanism="none")
    return subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", str(BIN / program), *arguments], input=stdin,
                          capture_output=True, env=env, check=False, timeout=LIMIT, cwd=cwd)


class Notes(ProgramTest):
    def test_a_note_that_cannot_be_written_ends_nothing(self):
        text = self.write("text.txt", "In 1931 the bridge was opened. " * 60)
        calls = [("gemma-squad", ["run", "--model", "a=" + GEMMA, "--squad", DEMO_SET, "--out", "{out}", "-n", "2", "--max-tokens", "3",
                                  "-t", "1", "--judge", "none"]),
                 ("gemma-squad", ["run", "--model", "a=" + GEMMA, "--squad", DEMO_SET, "--out", "{out}", "-n", "2", "--max-tokens", "3",
                                  "-t", "1", "--judge", "none", "--preset", "article", "--draft", "lookup", "--batch", "2"]),
                 ("gemma-quantize", [GEMMA, "{out}", "Q4_0"]),
                 ("gemma-imatrix", ["-m", GEMMA, "-f", text, "-o", "{out}", "-c", "64", "--windows", "1"]),
                 ("gemma-perplexity", ["-m", GEMMA, "-f", text, "-c", "64", "--windows", "1"]),
                 ("gemma-logits", ["-m", GEMMA, "--tokens", "2,3", "--out", "{out}"]),
                 ("gemma-chat", ["-m", GEMMA, "-p", "hello", "-n", "2", "--temp", "0"]),
                 ("gemma-bench", ["-m", GEMMA, "-p", "2", "-n", "0", "-r", "1", "--no-warmup"])]
        if (BIN / "gemma-pipeline").exists():
            calls.append(("gemma-pipeline", ["-m", GEMMA, "--tokens", "2,3", "--out", "{out}", "--stats", "-t", "1"]))
        for i, (program, arguments) in enumerate(calls):
            for k, redirection in enumerate(["2>/dev/null", "2>/dev/full", "2>&-"]):
                out = str(self.folder / f"{i}.{k}")
                done = through_shell(redirection, program, *[a.replace("{out}", out) for a in arguments])
                self.assertEqual(done.returncode, 0, f"{program} {arguments} {redirection}")
                if "{out}" in arguments:
                    self.assertTrue(pathlib.Path(out).exists(), program)


class Output(ProgramTest):
    CALLS = [("hello", [GEMMA, "hello"]), ("hello", ["--help"]), ("c_chat", [GEMMA, "hello"]), ("c_chat", ["--help"]),
             ("c_conversation", [GEMMA, "hello"]), ("c_conversation", ["--help"]), ("kernels-bench", ["--help"]),
             ("kernels-bench", ["--version"]), ("kernels-bench", ["--benchmark_list_tests"])]

    def test_output_that_is_lost_is_an_error(self):
        for program, arguments in self.CALLS:
            for redirection in [">/dev/full", ">&-"]:
                done = through_shell(redirection, program, *arguments)
                self.assertEqual(done.returncode, 1, f"{program} {arguments} {redirection}")
                if arguments != ["--help"]:
                    self.assertRegex(done.stderr, rb"\A[a-z_-]+: cannot write[^\n]*\n\Z", f"{program} {redirection}")

    def test_help(self):
        for program in ["hello", "c_chat", "c_conversation"]:
            self.assertIn("usage: " + program, self.succeeds(program, "--help"))


class Input(ProgramTest):
    def test_input_that_cannot_be_read_is_an_error(self):
        for program, flags in [("gemma-embed", []), ("gemma-tokenize", []), ("gemma-chat", []), ("gemma-chat", ["--prompt-file", "-"])]:
            for redirection, why in [(f"<{self.folder}", "Is a directory"), ("<&-", "Bad file descriptor")]:
                done = through_shell(redirection, program, "-m", GEMMA, *flags)
                self.assertEqual((done.returncode, done.stdout), (1, b""), f"{program} {redirection}")
                self.assertEqual(done.stderr.decode(), f"{program}: standard input: cannot be read: {why}\n")

    def test_the_status_after_wrong_lines_is_told(self):
        lines = '{"text": "a"}\nno JSON\n{"text": "b"}\n'
        for program, expected in [("gemma-tokenize", 0), ("gemma-embed", 1)]:
            status, out, _ = run(program, "-m", GEMMA, stdin=lines)
            self.assertEqual((status, out.count("\n"), out.count('{"error"')), (expected, 3, 1), program)
        self.assertIn("the exit status stays 0", " ".join(self.succeeds("gemma-tokenize", "--help").split()))
        self.assertIn("Exit status 1 if any line", " ".join(self.succeeds("gemma-embed", "--help").split()))


class Signals(ProgramTest):
    def test_the_status_is_that_of_the_signal(self):
        text = self.write("text.txt", "In 1931 the bridge was opened. " * 20000)
        out = str(self.folder / "out")
        slow = ["--isa", "scalar", "-t", "1"]
        calls = [("gemma-logits", ["-m", GEMMA, "--tokens", ",".join(["2"] * 2000), "--out", out, *slow]),
                 ("gemma-perplexity", ["-m", GEMMA, "-f", text, *slow]), ("gemma-imatrix", ["-m", GEMMA, "-f", text, "-o", out, *slow]),
                 ("gemma-squad", ["run", "--model", "a=" + GEMMA, "--squad", DEMO_SET, "--out", out, "-n", "0", "--judge", "none", *slow]),
                 ("gemma-chat", ["-m", GEMMA, "-p", "hello", "--temp", "3", "-n", "-1", *slow])]
        for program, arguments in calls:
            for number in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
                with subprocess.Popen([str(BIN / program), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      env=environment()) as p:
                    deadline = time.monotonic() + LIMIT
                    while self.handles(p.pid, number) is False and time.monotonic() < deadline:
                        time.sleep(0.005)
                    p.send_signal(number)
                    _, err = p.communicate(timeout=LIMIT)
                self.assertEqual(p.returncode, 128 + number, f"{program}: {err}")

    @staticmethod
    def handles(pid, number):
        """Whether the process has a handler for the signal; None: it has ended."""
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return None
        caught = [line for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(int(caught[0].split()[1], 16) >> (number - 1) & 1) if caught else None


if __name__ == "__main__":
    unittest.main()
