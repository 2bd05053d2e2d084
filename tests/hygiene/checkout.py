"""The files of a checkout, for the tests of this folder."""

import os
import re
import subprocess
from pathlib import Path

FOLDERS = ("gguf", "kernels", "tokenizer", "gemma", "examples", "bench", "tests", "docs", "cmake", ".ci", ".github")
SOURCES = (".hpp", ".inl", ".cpp", ".h")


def files(root):
    """The names of the existing files that git tracks; without git, of all files in the folders above."""
    git = ["git", "-C", str(root), "-c", "safe.directory=*", "ls-files"]  # also if another user owns the checkout
    listed = subprocess.run(git, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.split("\n") if (root / name).is_file()]
    made = {"__pycache__", "build", "dist", "target"}
    inside = [path.relative_to(root) for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    return [str(path) for path in [*(Path(p.name) for p in root.glob("*") if p.is_file()), *inside] if not made & {*path.parts}]


def lines_of(root, name):
    """The lines of a text file."""
    return (root / name).read_text(encoding="utf-8").splitlines()


def included(root, name):
    """(line, name) of each header that a file includes in quotes, except the definitions at its end for header-only
    use."""
    for at, line in enumerate(lines_of(root, name), 1):
        if line == "#if defined(GEMMA_HEADER_ONLY)":
            return
        if found := re.match(r'#\s*include "([^"]+\.hpp)"', line):
            yield at, os.path.normpath(os.path.join(os.path.dirname(name), found[1]))


def report(wrong, good):
    """Prints the errors, or the message `good` if there are none; returns the exit status."""
    print("\n".join(wrong) or good)
    return 1 if wrong else 0
