"""examples/demo.sh with the built programs; in this test it neither installs nor builds anything."""

import os
import shutil
import subprocess
import unittest

from programs import BIN, GEMMA, SOURCE, ProgramTest, environment


class Demo(ProgramTest):
    def setUp(self):
        super().setUp()
        for folder in ("examples", "build/demo", "bin", "models"):
            (self.folder / folder).mkdir(parents=True)
        shutil.copy(SOURCE / "examples/demo.sh", self.folder / "examples/demo.sh")
        self.command("examples/install.sh")
        self.command("bin/cmake")
        for path in ("examples/models", "examples/squad"):
            (self.folder / path).symlink_to(SOURCE / path)
        (self.folder / "build/demo/bin").symlink_to(BIN)

    def command(self, name):
        path = self.folder / name
        path.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        path.chmod(0o755)

    def demo(self, *arguments, directory=None):
        env = environment(PATH=f"{self.folder}/bin:{os.environ['PATH']}", OMP_THREAD_LIMIT="1")
        return subprocess.run([self.folder / "examples/demo.sh", *arguments], env=env, capture_output=True, text=True,
                              cwd=directory or self.folder, stdin=subprocess.DEVNULL, timeout=120, check=False)

    def test_with_a_model_it_asks_talks_and_evaluates(self):
        model = self.folder / "models/a=model of one's own.gguf"
        shutil.copy(GEMMA, model)
        done = self.demo("--model", model.name, directory=model.parent)  # relative to the folder from which it is called
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in ["Who designed the Maris Bridge?", "What river does the Maris Bridge cross?", "It talks:",
                     "> Name three rivers of Europe."]:
            self.assertIn(f"\n{line}\n", done.stdout)
        run = self.folder / "build/demo/report-a-model of one's own"
        self.assertTrue((run / "report.html").exists())
        self.assertEqual(len((run / "answers.jsonl").read_text(encoding="utf-8").splitlines()), 2 * 24)
        self.assertTrue(done.stdout.endswith(f"build/demo/bin/gemma-chat -m {model}\n"), done.stdout[-200:])

    def test_what_is_wrong_is_a_line(self):
        for arguments, says in [(["--model"], "--model needs a file"), (["--model", "no.gguf"], "no.gguf cannot be read"),
                                (["--model", str(self.folder)], "cannot be read"), (["model.gguf"], "is not understood")]:
            done = self.demo(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""), arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(says, done.stderr)


if __name__ == "__main__":
    unittest.main()
