"""Statements of README.md and docs/ about programs, flags and files are true; the training package can be parsed.

Code in the documentation is compiled and run by tests/docs.
"""

import re
import unittest

from programs import BIN, GEMMA, SOURCE, ProgramTest

README = (SOURCE / "README.md").read_text()
CHAT = (SOURCE / "docs/chat.md").read_text()
ALL = README + "".join(path.read_text() for path in sorted((SOURCE / "docs").glob("*.md")))


class Readme(ProgramTest):
    def test_its_programs_exist(self):
        programs = set(re.findall(r"build/release/bin/([a-z-]+)", README)) | set(re.findall(r"(?m)^\| `([a-z-]+)` \|", README))
        programs -= {"avx2", "avxvnni", "avx512vnni", "neon", "neoni8mm", "scalar"}
        self.assertIn("gemma-chat", programs)
        for program in programs:
            self.assertTrue((BIN / program).exists(), program)

    def test_flags_of_its_commands_exist(self):
        lines = re.sub(r"\\\n *", "", ALL)
        commands = re.findall(r"(?m)^    .*?((?:gemma-|gguf-)[a-z]+) +((?:[a-z]+ )?)((?!\.)[^#\n]*)", lines)
        self.assertGreater(len(commands), 15)
        for program, command, arguments in commands:
            shown = self.succeeds(program, *([command.strip()] if program == "gemma-squad" else []), "--help")
            for flag in re.findall(r"(?:^| )(--?[a-z][a-z_-]*)", re.sub(r'"[^"]*"', '""', arguments)):
                self.assertRegex(shown, rf"(?m)(^|[ ,(]){re.escape(flag)}([ ,)\n]|$)", f"{program} {arguments}")

    def test_its_files_exist(self):
        for path in re.findall(r"(?<![\w/])((?:examples|tests|docs|cmake)/[\w./-]+\w|(?:gemma|kernels|tokenizer|gguf)/[\w/]+\.\w+)", ALL):
            if not re.search("NAME|qwen", path):  # files that the reader creates
                self.assertTrue((SOURCE / path).exists(), path)


class ChatPage(ProgramTest):
    def test_every_flag_is_there(self):
        for flag in re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+)", self.succeeds("gemma-chat", "--help")):
            if flag not in ("--help", "--version"):
                self.assertIn(f"`{flag}", CHAT)

    def test_every_command_is_there(self):
        for command in re.findall(r"(?m)^(/\w+)", self.succeeds("gemma-chat", "-m", GEMMA, stdin="/help\n")):
            self.assertIn(f"`{command}", CHAT)


class Training(ProgramTest):
    MODULES = sorted((SOURCE / "examples/models/train").glob("*.py"))

    def test_the_modules_compile(self):
        self.assertGreater(len(self.MODULES), 10)
        for path in self.MODULES:
            compile(path.read_text(), str(path), "exec")

    def test_they_can_be_read(self):
        for path in self.MODULES:
            lines = path.read_text().splitlines()
            self.assertLessEqual(len(lines), 200, path.name)
            for number, line in enumerate(lines, 1):
                self.assertLessEqual(len(line), 110, f"{path.name}:{number}")


if __name__ == "__main__":
    unittest.main()
