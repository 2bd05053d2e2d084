"""The files of a checkout, and views of their text (without comments, without literals), for the tests of this folder."""

import functools
import os
import re
import subprocess
from pathlib import Path

FOLDERS = ("gguf", "kernels", "tokenizer", "gemma", "examples", "bench", "tests", "docs", "cmake", ".ci", ".github")
SOURCES = (".hpp", ".inl", ".cpp", ".h", ".c")
BUILD_FILES = (".cmake", "CMakeLists.txt", "CMakePresets.json")

# comments and literals of C++; a ' after a hexadecimal digit is a digit separator
TOKEN = re.compile(r"""//(?:[^\n\\]|\\.)*|/\*.*?\*/|R"([^()\s]*)\(.*?\)\1"|"(?:[^"\\\n]|\\.)*"|(?<![0-9A-Fa-f])'(?:[^'\\\n]|\\.)*'""", re.S)


def files(root):
    """The names of the existing files that git tracks or would add; without git, of all files in the folders above."""
    git = ["git", "-C", str(root), "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(git, capture_output=True)  # safe.directory: also if another user owns the checkout
    if listed.returncode == 0 and listed.stdout:
        return sorted({name for name in os.fsdecode(listed.stdout).split("\0") if name and (root / name).is_file()})
    made = {"__pycache__", "build", "dist", "target"}
    inside = [path.relative_to(root) for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    return [str(path) for path in [*(Path(p.name) for p in root.glob("*") if p.is_file()), *inside] if not made & {*path.parts}]


@functools.lru_cache(maxsize=None)
def text_of(root, name):
    return (root / name).read_text(encoding="utf-8")


def lines_of(root, name):
    return text_of(root, name).splitlines()


def blank(found):
    """Spaces in place of a match; line numbers stay the same."""
    return re.sub(r"[^\n]", " ", found[0])


def without_comments(text, name=".cpp"):
    if not name.endswith(SOURCES):
        return re.sub(r"(?m)(?:^|(?<=\s))#.*", blank, text)
    return TOKEN.sub(lambda found: blank(found) if found[0][0] == "/" else found[0], text)


def bare(text):
    """C++ without comments and without the contents of literals."""
    return TOKEN.sub(lambda found: blank(found) if found[0][0] == "/" else '"' + blank(found)[2:] + '"', text)


def literals(text):
    """Only the literals of C++, without the names in #include lines."""
    text = re.sub(r"(?m)^\s*#\s*include.*", blank, without_comments(text))
    kept, at = [], 0
    for found in TOKEN.finditer(text):
        kept += [re.sub(r"[^\n]", " ", text[at : found.start()]), found[0]]
        at = found.end()
    return "".join(kept)


def line_at(text, place):
    return text.count("\n", 0, place) + 1


HEADER_ONLY = re.compile(r"(?ms)^#[ \t]*if(?:def|[ \t]+defined)\b[^\n]*\bGEMMA_HEADER_ONLY\b.*?^#[ \t]*endif\b")


def own_part(text):
    """A header without the block at its end that includes the definitions for header-only use."""
    return HEADER_ONLY.sub(blank, text)


def included(root, name):
    """(line, name) of each header that a file of the library includes in quotes, except the definitions for header-only use."""
    text = without_comments(own_part(text_of(root, name)))
    for found in re.finditer(r'(?m)^\s*#\s*include\s*"([^"]+\.hpp)"', text):
        yield line_at(text, found.start(1)), os.path.normpath(os.path.join(os.path.dirname(name), found[1]))


def reached(root, names, header, seen):
    """The header itself and all headers that it includes, directly or indirectly."""
    if header in names and header not in seen:
        seen.add(header)
        for _, other in included(root, header):
            reached(root, names, other, seen)
    return seen


def report(wrong, good):
    """Prints the errors, or the message `good` if there are none; returns the exit status."""
    print("\n".join(wrong) or good)
    return 1 if wrong else 0
