"""gemma-pipeline: several ranks give the same bits as one process; if a rank is lost, all end in time."""

import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

from programs import BIN, GEMMA, LIMIT, MISTRAL, SOURCE, ProgramTest, environment

GOLDEN = SOURCE / "tests/golden/models"
MPIRUN = shutil.which("mpirun")
SEQUENCES = [",".join(str(2 + (7 * i * i + 3 * s * i) % 90) for i in range(n)) for s, n in enumerate([23, 9, 40, 14])]
# numbers of ranks for the smallest golden model of each family; layers that share keys and values are not separated
FAMILIES = {"nano-gemma-mha.F32": 2, "nano-gemma-mqa.F32": 2, "nano-gemma2.F32": 4, "nano-gemma3.F32": 4, "nano-gemma3n.F32": 3,
            "nano-gemma4-d.F32": 4, "nano-gemma4-e.F32": 2, "nano-gemma4-m.F32": 4, "nano-llama3.F32": 2, "nano-mistral.F32": 2}


def mpi_environment():
    return environment(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_THREAD_LIMIT="1",
                       OMPI_MCA_btl_vader_single_copy_mechanism="none",  # containers forbid the other
                       # one machine: no search for networks, no daemon for one rank, no second of grace for what must end
                       OMPI_MCA_pml="ob1", OMPI_MCA_btl="self,vader", OMPI_MCA_ess_singleton_isolated="1",
                       OMPI_MCA_odls_base_sigkill_timeout="0")


def command(ranks, *arguments):
    """The command line for a number of ranks; one rank also runs without mpirun."""
    start = [] if ranks == 1 else [MPIRUN, "-q", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    return start + [str(BIN / "gemma-pipeline"), "-t", "1", *map(str, arguments)]


@unittest.skipIf(MPIRUN is None, "needs mpirun (Debian: openmpi-bin), which is not on this machine")
class Pipeline(ProgramTest):
    def ranks(self, n, *arguments):
        done = subprocess.run(command(n, *arguments), capture_output=True, env=mpi_environment(), timeout=LIMIT, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def logits(self, ranks, model, *flags, sequences=SEQUENCES):
        out = self.folder / "ranks.f32"
        tokens = [part for ids in sequences for part in ("--tokens", ids)]
        status, text, err = self.ranks(ranks, "-m", model, "--out", out, *tokens, *flags)
        self.assertEqual((status, text, err), (0, "", ""), f"{ranks} ranks of {model} {flags}")
        return out.read_bytes()

    def expected(self, model):
        """The logits of all sequences, each computed alone in one process."""
        out = self.folder / "one.f32"
        data = b""
        for ids in SEQUENCES:
            self.succeeds("gemma-logits", "-m", str(model), "--tokens", ids, "--out", str(out))
            data += out.read_bytes()
        return data

    def test_a_batch_of_every_family(self):
        for name, most in FAMILIES.items():
            model = GOLDEN / f"{name}.gguf"
            self.assertTrue(self.logits(most, model, "--chunk", "6") == self.expected(model), name)

    def test_prefill_and_decode_by_any_number_of_ranks(self):
        model = GOLDEN / "nano-gemma3.F32.gguf"
        expected = self.expected(model)
        for ranks, flags in [(1, ["--chunk", "1"]), (2, ["--chunk", "1"]), (3, ["--split", "prefill"]), (4, ["--chunk", "1"])]:
            self.assertTrue(self.logits(ranks, model, *flags) == expected, (ranks, flags))

    def test_answers_are_those_of_gemma_chat(self):
        prompts = ["Who are you?", "Tell me about rivers.", "What is the capital of France?"]
        flags = ["-m", GEMMA, "-n", "12", "--seed", "7", "--temp", "1"]
        expected = [self.run_chat(*flags, "-p", p) for p in prompts]
        status, out, err = self.ranks(2, *flags, *[part for p in prompts for part in ("-p", p)], "--chunk", "9")
        self.assertEqual((status, out, err), (0, "".join(expected), ""))
        self.assertEqual(self.ranks(3, *flags, "-p", prompts[1]), (0, expected[1], ""))

    def run_chat(self, *arguments):
        done = subprocess.run([str(BIN / "gemma-chat"), *arguments], capture_output=True, env=environment(OMP_THREAD_LIMIT="1"),
                              timeout=LIMIT, check=True)
        return done.stdout.decode()

    def test_what_cannot_be_done_is_one_line(self):
        shared = GOLDEN / "nano-gemma4-e.F32.gguf"
        out = self.folder / "out"
        for ranks, arguments, says in [
                (2, ["-m", self.folder / "none.gguf", "-p", "x"], "cannot open"),
                (1, ["-m", GEMMA, "--unknown"], "--unknown"),
                (1, ["-m", GEMMA, "-p", "x", "--tokens", "1"], "either --tokens"),
                (1, ["-m", GEMMA, "-p", "x", "--split", "1,2,3"], "3 shares for 1 ranks"),
                (1, ["-m", GEMMA, "-p", "x", "--split", "1,b"], "neither prefill nor decode nor numbers of layers"),
                (1, ["-m", GEMMA, "-p", "x", "--split", "1,,5"], "neither prefill"),
                (2, ["-m", GEMMA, "-p", "x", "--max-memory", "1MB"], "more than the limit"),
                (1, ["-m", GEMMA, "--tokens", "1,4096", "--out", out], "4096 is not in the vocabulary"),
                (1, ["-m", GEMMA, "-p", "x", "--timeout", "nan"], "--timeout: nan is not a number from 0 to 1000000"),
                (1, ["-m", GOLDEN / "nano-embedding.F32.gguf", "--tokens", "1", "--out", out], "produces text embeddings, not logits"),
                (1, ["-m", GEMMA, "--tokens", "1", "--out", "/nonexistent/out"], "/nonexistent/out"),
                (4, ["-m", shared, "--tokens", "1", "--out", out], "reads the keys and values of layer")]:
            status, text, err = self.ranks(ranks, *arguments)
            self.assertEqual((status, text), (1, ""), (arguments, err))
            self.assertRegex(err, r"\Agemma-pipeline: [^\n]*\n\Z")
            self.assertIn(says, err)
            self.assertFalse(out.exists())

    def disturb(self, which, number):
        """Sends a signal to a rank during its work; returns (status, seconds until all ended, standard error)."""
        job = subprocess.Popen(command(3, "-m", MISTRAL, "-p", "Once", "--raw", "-n", "100000", "-c", "100000", "--temp", "1",
                                       "--timeout", "2"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=mpi_environment())
        self.addCleanup(job.kill)
        job.stdout.read(1)
        children = pathlib.Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        self.assertEqual(len(children), 3)
        os.kill(int(children[which]), number)
        begin = time.monotonic()
        _, err = job.communicate(timeout=LIMIT)
        return job.returncode, time.monotonic() - begin, err.decode()

    def test_a_rank_that_is_gone_ends_all(self):
        for which, number in [(0, signal.SIGSTOP), (2, signal.SIGSTOP), (1, signal.SIGKILL)]:
            status, seconds, err = self.disturb(which, number)
            self.assertNotEqual(status, 0)
            self.assertLess(seconds, 20)  # 1 s on an idle machine
            if number == signal.SIGSTOP:
                self.assertIn(f"rank {which} has given no sign of life", err)
                self.assertEqual(err.count("gemma-pipeline:"), 1, err)


if __name__ == "__main__":
    unittest.main()
