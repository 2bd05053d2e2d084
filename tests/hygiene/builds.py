#!/usr/bin/env python3
"""Finds files that are not built, included, run, read or listed, units with wrong flags, and tests without a label.

    builds.py CHECKOUT [BUILD]    BUILD: a configured build folder, for flags and labels
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

from checkout import BUILD_FILES, SOURCES, files, report, text_of, without_comments

CODE = (".cpp", ".hpp", ".py", ".sh", ".js", "CMakeLists.txt")
# FOLDER: the file that reads all files in it, whatever their names
READ_WHOLE = {"tests/fuzz/corpus/": "tests/fuzz/replay_test.cpp"}


def code_of(root, name):
    return without_comments(text_of(root, name), name)


def lists_of(root, names, name):
    """(folder, text) of the build files that may name a file: in its folder and those above, in cmake/, and scripts of tests/."""
    folders = [*map(str, PurePosixPath(name).parents)]
    for other in names:
        folder = str(PurePosixPath(other).parent)
        if other.startswith("cmake/") or other.endswith(BUILD_FILES) and folder in folders:
            yield "." if other.startswith("cmake/") else folder, code_of(root, other)
        elif other.endswith(".sh") and other.startswith("tests/") and name.startswith("tests/"):
            yield ".", code_of(root, other)


def in_list(word):
    """A pattern for the word in a list of folders or names."""
    return rf"\b(?:add_subdirectory|foreach)\([^)]*\b{re.escape(word)}\b"


def is_listed(root, names, name):
    """Whether a build file names a unit, by its relative path or in a list of names."""
    path = PurePosixPath(name)
    for folder, text in lists_of(root, names, name):
        before = r"(?<![\w.-])" if folder == "." else r"(?:(?<![\w./-])|(?<=\}/))"
        if re.search(rf"{before}{re.escape(os.path.relpath(name, folder))}(?![\w.-])", text):
            return True
        if "}" + path.suffix in text and re.search(in_list(path.stem), text):
            return True
        if path.parent.name == "arch" and re.search(rf"\bgemma_isa_unit\({path.stem}\b", text):
            return True
    return False


def unbuilt(root, names):
    for name in names:
        path = PurePosixPath(name)
        texts = [text for _, text in lists_of(root, names, str(path.parent))]
        if name.endswith((".cpp", ".c")) and not is_listed(root, names, name):
            yield f"{name}: no CMakeLists.txt builds it"
        is_project = path.name == "CMakeLists.txt" and re.search(r"(?m)^project\(", code_of(root, name))
        if path.name == "CMakeLists.txt" and not is_project and not any(re.search(in_list(path.parent.name), t) for t in texts):
            yield f"{name}: no CMakeLists.txt above adds its folder"
        if re.fullmatch(r"tests/.*/test_\w+\.py", name):
            word = path.stem.removeprefix("test_")
            if not any(re.search(rf"{in_list(word)}|\b{path.stem}\b", text) for _, text in lists_of(root, names, name)):
                yield f"{name}: nothing runs it"


def unincluded(root, names):
    """Headers and .inl files that no file includes."""
    used = set()
    for name in names:
        if name.endswith(SOURCES):
            for header in re.findall(r'(?m)^\s*#\s*include\s*[<"]([^">]+)[">]', code_of(root, name)):
                used |= {os.path.normpath(header), os.path.normpath(os.path.join(os.path.dirname(name), header))}
    yield from (f"{name}: nothing includes it" for name in names if name.endswith((".hpp", ".inl", ".h")) and name not in used)


def unread(root, names):
    """Data files of tests whose name or kind no test mentions."""
    tests = "".join(code_of(root, n) for n in names if n.startswith("tests/") and n.endswith(CODE))
    tests += text_of(root, "gguf/dtype.hpp")  # tests read a file for each type
    for name in names:
        if name.startswith("tests/") and not name.endswith(CODE + (".md", ".inl", ".h")):
            stem, _, kind = PurePosixPath(name).name.partition(".")
            kind = kind.removeprefix("F32.").removeprefix("Q4_K_M.")
            whole = any(name.startswith(folder) and reader in names for folder, reader in READ_WHOLE.items())
            if not whole and (stem not in tests or f".{kind}" not in tests):
                yield f"{name}: a golden that nothing reads"


def unlisted(root, names):
    """Pages that README.md does not list, and files that tables in docs/architecture.md name but that do not exist."""
    for name in names:
        if re.fullmatch(r"docs/\w+\.md", name) and f"({name})" not in text_of(root, "README.md"):
            yield f"{name}: README.md does not list it"
    for row in re.findall(r"(?m)^\|.*", text_of(root, "docs/architecture.md")):
        for file in re.findall(r"`([\w./]+\.(?:hpp|inl|cpp|h|py|rs|sh))`", row):
            if file not in names and not re.search(r"\b(NAME|FOLDER)\b|NAME_", file):
                yield f"{file}: docs/architecture.md names it, but it does not exist"


def wrong_flags(root, build):
    """Flags of instruction sets outside kernels/arch, and flags that change results."""
    of_arch = str((root / "kernels/arch").resolve()) + os.sep
    for entry in json.loads((Path(build) / "compile_commands.json").read_text(encoding="utf-8")):
        unit, command = entry["file"], entry.get("command") or " ".join(entry["arguments"])
        for flag in re.findall(r"(?<=\s)(-m\S+|-ffast-math|-Ofast|-funsafe-math-optimizations|-fassociative-math)", command):
            if not flag.startswith("-m") or "=native" in flag or not os.path.realpath(unit).startswith(of_arch):
                yield f"{unit}: is compiled with {flag}"


def unlabelled(build):
    """Tests without a label; tests/CMakeLists.txt gives them the name of their folder."""
    listed = subprocess.run(["ctest", "--test-dir", build, "-N", "-LE", "."], capture_output=True, text=True)
    yield from (f"{name}: this test has no label" for name in re.findall(r"(?m)^ *Test +#\d+: (\S+)", listed.stdout))


# a checkout in which the rules find each file with "lost" in its path, and no other
BROKEN = {
    "CMakeLists.txt": "project(a)\nadd_subdirectory(examples)\nadd_subdirectory(tests) # lost.cpp\n", "README.md": "[map](docs/architecture.md)",
    "docs/architecture.md": "| where | `examples/main.cpp`, `lost/c.cpp`, `NAME.hpp` |", "docs/lost.md": "",
    "gguf/dtype.hpp": "", "gguf/lost.inl": "", "gguf/lost.cpp": '#include "dtype.hpp"', "examples/lost.c": "", "examples/lost.hpp": "",
    "examples/CMakeLists.txt": "add_executable(a main.cpp) # and lost.c, and losty\n", "examples/main.cpp": "// lost.hpp",
    "examples/losty/CMakeLists.txt": "", "tests/api/CMakeLists.txt": "add_executable(api_test api_test.cpp)", "tests/api/api_test.cpp": "",
    "tests/CMakeLists.txt": "foreach(part api)\n# losty", "tests/api/test_lost.py": "", "tests/api/lost_test.cpp": "",
    "tests/real/lost.txt": "", "compile_commands.json": json.dumps([
        {"file": "lost/a.cpp", "command": "g++ -O2 -mavx2 -c a.cpp"}, {"file": "lost/b.cpp", "command": "g++ -O2 -ffast-math -c b.cpp"},
        {"file": "c.cpp", "command": "g++ -O2 -fopenmp -c c.cpp"}]),
}


def wrong_rules():
    """Files of BROKEN that the rules should find and do not, or the reverse."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in BROKEN.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        found = {line.split(":")[0] for line in broken(Path(folder), [*BROKEN], folder)}
        for name in [*BROKEN, "lost/a.cpp", "lost/b.cpp", "lost/c.cpp"]:
            if ("lost" in name) != (name in found):
                yield f"tests/hygiene/builds.py: the rules are wrong about {name} of BROKEN"


def broken(root, names, build):
    yield from unbuilt(root, names)
    yield from unincluded(root, names)
    yield from unread(root, names)
    yield from unlisted(root, names)
    if build:
        yield from wrong_flags(root, build)


def main():
    root = Path(sys.argv[1])
    names = files(root)
    build = sys.argv[2] if len(sys.argv) > 2 else None
    wrong = [*broken(root, names, build), *wrong_rules(), *(unlabelled(build) if build else ())]
    return report(wrong, f"builds: ok ({len(names)} files)")


if __name__ == "__main__":
    sys.exit(main())
