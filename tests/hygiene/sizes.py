#!/usr/bin/env python3
"""Sizes of files and functions: a file has at most 400 lines, a function of the library or a program at most 60.

    sizes.py CHECKOUT

Functions are found by their braces (scopes.py) and counted from the first line of their declaration to the closing brace;
functions of tests have no limit. In headers that gemma/gemma.hpp includes, directly or indirectly, and that have an .inl file, a
function that is neither a template nor constexpr has at most 12 lines. Exceptions are listed below, with reasons; an entry that
is no longer needed fails the test too.
"""

import re
import sys
from pathlib import Path

from checkout import SOURCES, bare, files, lines_of, own_part, reached, report, text_of
from scopes import function_name, items

MOST_LINES_OF_FILE = 400
MOST_LINES_OF_FUNCTION = 60
MOST_LINES_IN_FACE = 12
OF_FILES = SOURCES + (".py", ".sh", ".cmake", "CMakeLists.txt", ".rs", ".js", ".html", ".css")

# FILE: why it may be longer
LONG_FILES = {
    "gemma/c_api.h": "the C interface in one file, most of it documentation",
    "examples/server/page.html": "one file, which the server embeds",
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

# the header that users include
FACE = "gemma/gemma.hpp"

LAMBDA = re.compile(r"[=(,]\s*\[[^\[\]]*\]\s*(\(|\{|mutable|noexcept|->)")
IN_HEADER = re.compile(r"\b(template|constexpr|consteval)\b")
BROKEN = [  # functions that are too long, where %s stands for 60 lines
    "int f(int n) {  // of n\n%s}\n", "A::A(int n) : a_{n},\n    b_(n) {\n%s}\n", "namespace x {\nconst auto f = [](int n) {\n%s};\n}\n",
    "template <class T>\nstruct A {\n  int f() const noexcept {\n%s  }\n};\n", "int f()\n{\n%s}\n",
    'extern "C" {\nstruct a* f(void) {\n%s}\n}\n',
]


def functions(text):
    """(name, first line, number of lines, item) of each function; nested functions are not listed separately."""
    for item in items(bare(text)):
        if item.has_body or LAMBDA.search(item.head):
            yield function_name(item.head) or item.head.split("=")[0].split()[-1], item.first, item.last - item.first + 1, item


def long_in_face(root, names):
    """(file, name, line, number of lines) of functions that are too long for a header that users include."""
    for header in reached(root, names, FACE, set()):
        if header.replace(".hpp", ".inl") in names:
            for function, at, n, item in functions(own_part(text_of(root, header))):
                of_template = any("template" in scope for scope in item.scopes)
                if n > MOST_LINES_IN_FACE and item.has_body and not of_template and not IN_HEADER.search(item.head):
                    yield header, function, at, n


def main():
    root = Path(sys.argv[1])
    names = files(root)
    wrong, long_files, long_functions = [], set(), set()
    n_functions = 0
    for name in names:
        if not name.endswith(OF_FILES):
            continue
        n_lines = len(lines_of(root, name))
        if n_lines > MOST_LINES_OF_FILE:
            long_files.add(name)
            if name not in LONG_FILES:
                wrong.append(f"{name}: {n_lines} lines, more than {MOST_LINES_OF_FILE}")
        if name.startswith("tests/") or not name.endswith(SOURCES):
            continue
        for function, at, n, _ in functions(text_of(root, name)):
            n_functions += 1
            if n <= MOST_LINES_OF_FUNCTION:
                continue
            long_functions.add(f"{name}: {function}")
            if f"{name}: {function}" not in LONG_FUNCTIONS:
                wrong.append(f"{name}:{at}: {function}() has {n} lines, more than {MOST_LINES_OF_FUNCTION}")
    wrong += [f"{header}:{at}: {function}() has {n} lines, more than {MOST_LINES_IN_FACE}; define it in the .inl file"
              for header, function, at, n in long_in_face(root, set(names))]
    idle = [*(set(LONG_FILES) - long_files), *(set(LONG_FUNCTIONS) - long_functions)]
    wrong += [f"tests/hygiene/sizes.py: {x}: is excused and need not be" for x in idle]
    wrong += [f"tests/hygiene/sizes.py: does not find {text}" for text in BROKEN
              if not any(n > MOST_LINES_OF_FUNCTION for _, _, n, _ in functions(text % ("  g();\n" * MOST_LINES_OF_FUNCTION)))]
    return report(wrong, f"sizes: ok ({n_functions} functions)")


if __name__ == "__main__":
    sys.exit(main())
