#!/usr/bin/env python3
"""Checks which files include which: dependencies between folders, headers of the system and of third parties.

    includes.py CHECKOUT

Each include is resolved to the file that it names, however it is written. Examples that break the rules are in BROKEN.
"""

import os
import re
import sys
from pathlib import Path, PurePosixPath

from checkout import HEADER_ONLY, SOURCES, files, included, line_at, reached, report, text_of, without_comments

LIBRARY = {"gguf", "kernels", "tokenizer", "gemma"}
# FOLDER: the folders whose files its files may include
KNOWS = {
    "gguf": {"gguf"},
    "kernels": {"kernels", "gguf"},
    "tokenizer": {"tokenizer", "gguf"},
    "gemma": LIBRARY,
    "bench": LIBRARY | {"bench"},
    "examples": LIBRARY | {"examples"},
    "tests": LIBRARY | {"examples", "tests"},
}
# files that may include the library with <>, as users do
AS_USERS_WRITE = ("tests/install/strict_user.cpp", "examples/hello/", "examples/c/")
# rule, files, headers of the system or third parties that they may not include, exceptions
OUTSIDE = [
    ("the system, threads and clocks belong in the files of definitions, which no user of gemma::gemma reads",
     r"(gguf|tokenizer|gemma)/.*\.hpp", r"(fcntl|sched|unistd|omp|io|windows|sys/[a-z]+)\.h|chrono|fstream|future|thread", ""),
    ("third parties' headers stay out of ours", r"(gguf|kernels|tokenizer|gemma)/.*",
     r"(?!(sys|asm)/|(std\w+|fcntl|unistd|sched|omp|windows|io|cpuid|\w*intrin|arm_neon)\.h$|xsimd/xsimd\.hpp$)[\w/]*[./].*",
     r"tokenizer/(spm|pretokenize)\.cpp"),
    ("xsimd is for kernels", r".*", r"xsimd/.*", r"kernels/.*"),
    ("intrinsics are for kernels/arch", r".*", r"\w*intrin\.h|arm_neon\.h|arm_sve\.h", r"kernels/(arch/.*|machine_limits\.cpp)"),
    ("<iostream> and <regex> stay out of the library", r"(gguf|kernels|tokenizer|gemma)/.*", r"iostream|regex", ""),
    ("<functional> stays out of what runs for each token", r"(kernels|gemma/decoder)/.*", r"functional", ""),
]
# headers of the standard library that gemma/gemma.hpp includes indirectly: users compile them in each unit, so add none without
# a reason
PUBLIC = set("""algorithm array atomic bit concepts cstddef cstdint cstring exception functional initializer_list iterator limits memory new
             numeric optional span stdexcept string string_view type_traits utility vector""".split())


def includes(text):
    """(place, < or ", header) of each."""
    for found in re.finditer(r'(?m)^\s*#\s*include\s*([<"])([^">]+)[">]', without_comments(text)):
        yield found.start(1), found[1], found[2]


def faults(name, quote, header, names, public=frozenset()):
    folder = name.split("/")[0]
    beside = os.path.normpath(os.path.join(os.path.dirname(name), header))
    from_root = os.path.normpath(header)
    ours = beside if beside in names else from_root if from_root in names else None
    if ours is None and (quote == '"' or beside.startswith("..")):
        yield "is not a file of this repository; include headers of third parties with <>"
    elif ours is None:
        yield from (why for why, files_, headers, but in OUTSIDE
                    if re.fullmatch(files_, name) and re.fullmatch(headers, header) and not re.fullmatch(but, name))
        if name in public and header not in PUBLIC and "." not in header:
            yield "gemma/gemma.hpp includes this file, and PUBLIC in tests/hygiene/includes.py does not list the header"
    elif ours.split("/")[0] not in KNOWS[folder]:
        yield f"{folder}/ may not include {ours.split('/')[0]}/"
    elif folder in LIBRARY and (quote == "<" or ours != beside):
        yield "library files include each other by relative paths in quotes, which no folder of a user can shadow"
    elif folder not in LIBRARY and (quote == "<" or header != ours) and not name.startswith(AS_USERS_WRITE):
        yield "programs and tests include by the path from the root, in quotes"


BROKEN = [  # file, include
    ("gguf/file.hpp", '#include "./../kernels/encoder.hpp"'), ("gguf/file.hpp", '#  include "../gemma/model.hpp"'),
    ("kernels/arch/avx2.cpp", '#include "../../gemma/model.hpp"'), ("tokenizer/vocab.hpp", '#include "dialects/../../kernels/encoder.hpp"'),
    ("gemma/model.hpp", '#include "../examples/program.hpp"'), ("gemma/model.hpp", '#include "gemma/config.hpp"'),
    ("gemma/model.hpp", "#include <gemma/config.hpp>"), ("gemma/model.hpp", '#include "nlohmann/json.hpp"'),
    ("gemma/model.hpp", "#include <nlohmann/json.hpp>"), ("gemma/model.hpp", "#include <sys/mman.h>"),
    ("gemma/model.hpp", "#include <thread>"), ("gemma/model.hpp", "#include <mutex>"), ("gemma/model.inl", "#include <regex>"), ("gemma/model.inl", "#include <immintrin.h>"),
    ("kernels/registry.cpp", "#include <immintrin.h>"), ("gemma/decoder/run.hpp", "#include <functional>"),
    ("bench/kernels_bench.cpp", "#include <examples/program.hpp>"), ("bench/kernels_bench.cpp", '#include "tests/nmse.hpp"'),
    ("examples/program.cpp", "#include <tests/nmse.hpp>"), ("examples/chat/chat.cpp", '#include "../../tests/nmse.hpp"'),
    ("examples/chat/chat.cpp", '#include "terminal.hpp"'), ("tests/nmse.hpp", "#include <xsimd/xsimd.hpp>"),
]


def wrong_includes(root, names):
    public = reached(root, names, "gemma/gemma.hpp", set())
    for name in sorted(names):
        if name.endswith(SOURCES):
            text = text_of(root, name)
            yield from (f"{name}:{line_at(text, place)}: {header}: {fault}"
                        for place, quote, header in includes(text) for fault in faults(name, quote, header, names, public))
    for name, line in BROKEN:
        if not any([*faults(name, quote, header, names, public)] for _, quote, header in includes(line)):
            yield f"tests/hygiene/includes.py: no rule finds {line} in {name}"


def circles(root, names):
    """.inl files that include a header which includes their own .hpp: in a header-only program that includes that header first,
    the definitions precede the declarations that they need."""
    for header in sorted(names):
        if header.split("/")[0] not in LIBRARY or not header.endswith(".hpp"):
            continue
        end = without_comments("".join(HEADER_ONLY.findall(text_of(root, header))))
        for file in re.findall(r'(?m)^\s*#\s*include\s*"([^"]+\.inl)"', end):
            name = os.path.normpath(PurePosixPath(header).parent / file)
            yield from (f"{name}:{at}: ends {header} and includes {other}, which includes that header"
                        for at, other in included(root, name) if other != header and header in reached(root, names, other, set()))


def main():
    root = Path(sys.argv[1])
    names = frozenset(files(root))
    return report([*wrong_includes(root, names), *circles(root, names)], f"includes: ok ({len(names)} files)")


if __name__ == "__main__":
    sys.exit(main())
