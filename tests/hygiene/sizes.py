#!/usr/bin/env python3
"""Sizes of files and functions: a file has at most 400 lines, a function of the library or a program at most 60.

    sizes.py CHECKOUT

Functions are found by clang-format's layout: a line that ends in an opening brace, and the closing brace at the same
indentation. Exceptions are listed below, with reasons; an entry that is no longer needed fails the test too.
"""

import re
import sys
from pathlib import Path

from checkout import files, lines_of, report

MOST_LINES_OF_FILE = 400
MOST_LINES_OF_FUNCTION = 60

# FILE: why it may be longer
LONG_FILES = {
    "gemma/c_api.h": "the C interface in one file, most of it documentation",
    "tests/golden/reference.py": "the reference in one file, which runs alone",
    "tests/golden/synth_gguf.py": "a tool in one file, which runs alone",
    "tests/api/c_api_test.cpp": "one test file for each header",
    "tests/api/plan_test.cpp": "one test file for each header",
    "tests/gemma/config_test.cpp": "a table of what is refused, key by key",
    "tests/gemma/draft_test.cpp": "one test file for each header",
    "tests/gemma/model_errors_test.cpp": "a table of what is refused, tensor by tensor",
    "tests/gguf/malformed_test.cpp": "a table of malformed files",
    "tests/programs/test_convert.py": "the program from end to end, with the checkpoints that it reads",
    "tests/squad/program_test.cpp": "the program from end to end",
    "tests/squad/run_test.cpp": "one test file for each header",
}
# FILE: FUNCTION: why it may be longer
LONG_FUNCTIONS = {
    "kernels/arch/built_features.hpp: built_features": "one line for each flag of a compiler",
}

BLOCK = re.compile(r"^\s*(inline namespace|namespace|class|struct|union|enum|extern \"C\"|concept)\b")


def functions(lines):
    """(name, first line, number of lines) of each function; nested functions are not listed separately."""
    opened = []
    for n, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        if text.endswith("{") and not text.startswith(("//", "#", "}")) and indent <= 4:
            first = n  # the first line of the statement: parameters and initialisers are indented further
            while first > 0 and (len(lines[first]) - len(lines[first].lstrip()) > indent or lines[first].strip()[:1] in (":", ")")):
                first -= 1
            head = " ".join(x.strip() for x in lines[first : n + 1])
            head = re.sub(r"^template <.*?> (?=\w)", "", head)
            name = re.search(r"(operator\S+|~?\w+)\(", head)
            is_function = name and not BLOCK.match(head) and "=" not in head[: name.start()]
            opened.append((indent, first, name.group(1) if is_function else None))
        elif text.startswith("}") and opened and opened[-1][0] == indent:
            _, first, name = opened.pop()
            if name and not any(outer for _, _, outer in opened):
                yield name, first + 1, n - first + 1


def main():
    root = Path(sys.argv[1])
    wrong, long_files, long_functions = [], set(), set()
    n_functions = 0
    for name in files(root):
        suffix = Path(name).suffix
        if suffix not in (".hpp", ".inl", ".cpp", ".h", ".py", ".sh", ".cmake") and not name.endswith("CMakeLists.txt"):
            continue
        lines = lines_of(root, name)
        if len(lines) > MOST_LINES_OF_FILE:
            long_files.add(name)
            if name not in LONG_FILES:
                wrong.append(f"{name}: {len(lines)} lines, more than {MOST_LINES_OF_FILE}")
        if name.startswith("tests/") or suffix not in (".hpp", ".inl", ".cpp", ".h"):
            continue
        for function, at, n in functions(lines):
            n_functions += 1
            if n <= MOST_LINES_OF_FUNCTION:
                continue
            long_functions.add(f"{name}: {function}")
            if f"{name}: {function}" not in LONG_FUNCTIONS:
                wrong.append(f"{name}:{at}: {function}() has {n} lines, more than {MOST_LINES_OF_FUNCTION}")
    idle = [*(set(LONG_FILES) - long_files), *(set(LONG_FUNCTIONS) - long_functions)]
    wrong += [f"tests/hygiene/sizes.py: {x}: is excused and need not be" for x in idle]
    if n_functions < 1000:
        wrong.append(f"only {n_functions} functions were found")
    return report(wrong, f"sizes: ok ({n_functions} functions)")


if __name__ == "__main__":
    sys.exit(main())
