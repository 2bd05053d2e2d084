"""No program replaces a file that it reads: by its name, by a link, or as a part of a split model."""

import os
import pathlib
import shutil
import unittest

from programs import BIN, GEMMA, SOURCE, ProgramTest, run

NANO = SOURCE / "tests/golden/models/nano-gemma3.F32.gguf"
TEXT = "In 1931 the bridge over the river Orne was opened. " * 60


class Inputs(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = self.write("m.gguf", NANO.read_bytes())
        self.text = self.write("text.txt", TEXT)
        self.ids = self.write("ids.txt", "2,3")

    def kept(self, path, program, *arguments):
        """The program refuses, and the file is as it was."""
        before = pathlib.Path(path).read_bytes()
        self.refuses(program, *arguments, says="would replace")
        self.assertTrue(pathlib.Path(path).read_bytes() == before, path)

    def test_the_model(self):
        for program, arguments in [("gemma-imatrix", ["-m", self.model, "-f", self.text, "-c", "64", "--windows", "1", "-o"]),
                                   ("gemma-perplexity", ["-m", self.model, "-f", self.text, "-c", "64", "--windows", "1", "--save-logits"]),
                                   ("gemma-logits", ["-m", self.model, "--tokens", "1", "--out"])]:
            self.kept(self.model, program, *arguments, self.model)
        self.kept(self.model, "gemma-quantize", self.model, self.model, "Q4_0")
        self.succeeds("gemma-quantize", self.model, self.model, "Q4_0", "--dry-run")
        if (BIN / "gemma-pipeline").exists():
            self.kept(self.model, "gemma-pipeline", "-m", self.model, "--tokens", "1", "--out", self.model, "-t", "1")

    def test_other_inputs(self):
        self.kept(self.text, "gemma-imatrix", "-m", self.model, "-f", self.text, "-c", "64", "-o", self.text)
        self.kept(self.text, "gemma-perplexity", "-m", self.model, "-f", self.text, "-c", "64", "--save-logits", self.text)
        self.kept(self.ids, "gemma-logits", "-m", self.model, "--tokens-file", self.ids, "--out", self.ids)
        for adapter in [self.text, self.text + ":0.5"]:
            self.kept(self.text, "gemma-logits", "-m", self.model, "--tokens", "1", "--lora", adapter, "--out", self.text)
            self.kept(self.text, "gemma-quantize", self.model, self.text, "Q8_0", "--lora", adapter)
        measured = str(self.folder / "i.gguf")
        measure = ["gemma-imatrix", "-m", self.model, "-f", self.text, "-c", "64", "--windows", "1"]
        self.succeeds(*measure, "-o", measured)
        self.kept(measured, *measure, "--in", measured, "-o", measured)
        self.kept(measured, "gemma-quantize", self.model, measured, "Q8_0", "--imatrix", measured)
        self.succeeds(*measure, "-o", measured)  # what was written before may be replaced

    def test_links(self):
        for link, make in [("s.gguf", os.symlink), ("h.gguf", os.link)]:
            other = str(self.folder / link)
            make(self.model, other)
            self.kept(self.model, "gemma-quantize", self.model, other, "Q4_0")
            self.kept(self.model, "gemma-logits", "-m", other, "--tokens", "1", "--out", self.model)
        folder = self.folder / "folder"
        os.symlink(self.folder, folder)
        self.kept(self.model, "gemma-quantize", self.model, str(folder / "m.gguf"), "Q4_0")

    def test_parts_of_a_split_model(self):
        parts = [self.write(f"split-{i:05}-of-00003.gguf", b"part") for i in (1, 2, 3)]
        for given in (0, 2):
            self.kept(parts[1], "gemma-logits", "-m", parts[given], "--tokens", "1", "--out", parts[1])
        self.kept(parts[2], "gemma-quantize", parts[0], parts[2], "Q8_0")

    def test_a_checkpoint(self):
        for name in ["model.safetensors", "config.json", "tokenizer.json"]:
            path = self.write(name, "{}")
            self.kept(path, "gemma-convert", str(self.folder), path)

    def test_a_conversation_is_not_saved_over_its_model(self):
        path = self.write("demo.gguf", pathlib.Path(GEMMA).read_bytes())
        for command in ["/save", "/save-session"]:
            status, _, err = run("gemma-chat", "-m", path, stdin=f"{command} {path}\n")
            self.assertEqual(status, 1)
            self.assertIn("would replace", err)
        self.assertTrue(pathlib.Path(path).read_bytes() == pathlib.Path(GEMMA).read_bytes())

    def test_devices_are_never_replaced(self):
        self.succeeds("gemma-logits", "-m", self.model, "--tokens-file", self.ids, "--out", "/dev/null")
        copy = str(self.folder / "copy.gguf")
        shutil.copy(self.model, copy)
        self.succeeds("gemma-quantize", self.model, copy, "Q8_0")


if __name__ == "__main__":
    unittest.main()
