#!/usr/bin/env python3
"""Checks rules of docs/style.md that no compiler checks, line by line and file by file.

    structure.py CHECKOUT

Each rule about lines has an example line that breaks it; a rule that does not find its example is an error too.
"""

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from checkout import FOLDERS, SOURCES, files, included, lines_of, report

LIBRARY = "gguf kernels tokenizer gemma"
BUILD_FILES = (".cmake", "CMakeLists.txt", "CMakePresets.json")


class Rule(NamedTuple):
    what: str
    folders: str  # applies to files whose names begin with one of these
    pattern: str  # no line may match this outside of comments
    broken: str  # a line that matches it
    endings: tuple = SOURCES
    but: str = "$^"  # names of files that may match it


def no_includes(of):
    return rf'#include "(\.\./)*({of})/'


RULES = [
    # ---- dependencies ----
    Rule("gguf is the ground floor", "gguf", no_includes("kernels|tokenizer|gemma|examples|bench|tests"),
         '#include "../kernels/registry.hpp"'),
    Rule("kernels know gguf only", "kernels", no_includes("tokenizer|gemma|examples|bench|tests"),
         '#include "../gemma/model.hpp"'),
    Rule("the tokenizer knows gguf only", "tokenizer", no_includes("kernels|gemma|examples|bench|tests"),
         '#include "../../gemma/model.hpp"'),
    Rule("the engine knows nothing above it", "gemma", no_includes("examples|bench|tests"),
         '#include "../examples/program.hpp"'),
    Rule("benches of kernels know no programs and no tests", "bench", no_includes("examples|tests"),
         '#include "examples/program.hpp"'),
    Rule("programs know no benches of kernels and no tests", "examples", no_includes("bench|tests"),
         '#include "bench/kernels_bench.hpp"'),
    Rule("library files include each other by relative paths, which no folder of a user can shadow", LIBRARY,
         r'#include ["<](gguf|kernels|tokenizer|gemma)/', '#include "gemma/model.hpp"'),
    Rule("the system, threads and clocks belong in the files of definitions, which no user of gemma::gemma reads",
         "gguf tokenizer gemma",
         r"#include <((fcntl|sched|unistd|omp|sys/[a-z]+)\.h|chrono|fstream|thread)>", "#include <sys/mman.h>", (".hpp",)),
    Rule("third parties' headers stay out of ours", LIBRARY,
         r"#include <(?!(sys|asm)/|(std\w+|fcntl|unistd|sched|omp|windows|io|cpuid|\w*intrin|arm_neon|xsimd/xsimd)\.h)[\w/]*[./]",
         "#include <nlohmann/json.hpp>", but=r"tokenizer/(spm|pretokenize)\.cpp"),
    Rule("xsimd is for kernels", "gguf tokenizer gemma", "#include <xsimd/", "#include <xsimd/xsimd.hpp>"),
    Rule("<iostream> and <regex> stay out of the library", LIBRARY, "#include <(iostream|regex)>", "#include <regex>"),
    Rule("std::function stays out of what runs for each token", "kernels gemma/decoder",
         r"#include <functional>|std::function<", "std::function<void()> step;"),
    Rule("headers say no using namespace", f"{LIBRARY} examples tests", r"^\s*using namespace (?!\S*literals)",
         "using namespace gemma;", (".hpp", ".inl", ".h")),
    # ---- errors ----
    Rule("the library must not end its host", LIBRARY, r"\b(abort|exit|terminate|(?<!static_)assert) *\(", "std::exit(1);"),
    Rule("the library must not print or read the environment", LIBRARY,
         r"std::(cout|cerr|clog)\b|\b(f?printf|puts|fputs|getenv) *\(", 'printf("%d", n);'),
    Rule("the library throws gemma::Error", LIBRARY, r"\bthrow +(?!(gemma::)?Error\(|TableFull\(\)|or_out_of_memory\()[\w:]+",
         'throw std::runtime_error("no");'),
    # ---- kernels, families, names ----
    Rule("ISA conditionals belong in kernels/arch", f"{LIBRARY} examples bench", "# *if.*__(AVX|SSE|ARM_NEON|FMA)",
         "#ifdef __AVX2__", but="kernels/arch/"),
    Rule("no flags that change results", "CMakeLists.txt CMakePresets.json cmake bench examples kernels",
         "march=native|ffast-math", "target_compile_options(gemma PRIVATE -march=native)", BUILD_FILES),
    Rule("flags of instruction sets sit on the units of kernels/arch alone", "CMakeLists.txt cmake bench examples tests gguf tokenizer gemma",
         r"[ \"(]-m(avx|fma|f16c|sse|arch=)", "target_compile_options(gemma PRIVATE -mavx2)", BUILD_FILES,
         but=r"cmake/isa\.cmake"),
    Rule("which family a model is of is asked in gemma/families alone", LIBRARY,
         r"\barchitecture *[!=]=|[!=]= *[\w.]*\barchitecture\b", 'if (config.architecture == "gemma") {',
         but=r"gemma/families/|gguf/file_kind\.hpp"),  # the latter recognises files that are not models
    Rule("names of GGUF keys and tensors stand where docs/style.md says", "kernels gemma examples bench",
         r'^(?!#include)[^/]*"[^"]*(general\.[a-z]|tokenizer\.(ggml|chat)|blk\.|\.weight"|\.bias"|token_embd|output_norm|split\.[a-z])',
         'file.get<int>("general.alignment");',
         but=r"gemma/families/|gemma/(weights|quantiz|importance|adapter|model)[a-z_]*\.|examples/convert/"),
    Rule("one word for a thing: n_tokens, n_layers, d_model, d_ff, n_heads, n_kv_heads, head_dim, vocab_size, max_seq_len",
         f"{LIBRARY} bench examples",
         r"\b(num_(tokens|layers|heads|kv_heads)|n_(layer|embd|ff|head|head_kv|kv_head|vocab)|(hidden|head|intermediate)_size|dim_head|(max_)?seq(uence)?_length)_?\b",
         "const std::size_t n_layer = 2;", but="examples/convert/"),
    Rule("no paths of one machine", f"{LIBRARY} examples bench tests cmake", r"(^|[^\w$/}.*])/(work|home|Users)/\w",
         'std::ifstream in("/' 'home/me/model.gguf");', SOURCES + BUILD_FILES + (".py", ".sh")),
    Rule("finish it or leave it out", f"{LIBRARY} examples bench tests cmake", r"\b(TO" r"DO|FIX" r"ME)\b",
         "int n;  // TO" "DO", SOURCES + BUILD_FILES + (".py", ".sh")),
]


def broken_lines(root, names):
    for rule in RULES:
        pattern = re.compile(rule.pattern)
        if not pattern.search(code_of(rule, rule.broken)):
            yield f"tests/hygiene/structure.py: '{rule.what}' does not find its own broken line"
        prefixes = tuple(f if "." in f or f == "CMakeLists.txt" else f + "/" for f in rule.folders.split())
        asked = [n for n in names if n.startswith(prefixes) and n.endswith(rule.endings) and not re.match(rule.but, n)]
        if not asked:
            yield f"tests/hygiene/structure.py: '{rule.what}' finds no files"
        for name in asked:
            for at, line in enumerate(lines_of(root, name), 1):
                if pattern.search(code_of(rule, line)):
                    yield f"{name}:{at}: {rule.what}: {line.strip()}"


def code_of(rule, line):
    """The part of a line that a rule examines: without comments and, for rules about words, without strings."""
    if "finish it" in rule.what:
        return line
    line = re.sub(r"^\s*(//|\*|#(?!\s*(include|if|el|define))).*", "", line)
    if "one word" in rule.what:
        line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        line = re.sub(r"//.*", "", line)
    return line


def broken_files(root, names):
    for name in names:
        path = PurePosixPath(name)
        if len(path.parts) > 1 and path.parts[0] not in FOLDERS:
            yield f"{name}: there is no folder {path.parts[0]}/ in this house"
        if path.parts[0] == "bench" and path.name not in ("CMakeLists.txt", "kernels_bench.cpp"):
            yield f"{name}: bench/ is kernels-bench alone; what measures models is a program, in examples/bench"
        if re.fullmatch(r"(.*_)?(misc|common|utils?|helpers?)(_[a-z]+)?", path.stem, re.I):
            yield f"{name}: a name that says nothing"
        if path.suffix in SOURCES and re.search("[^a-z0-9_]", path.stem):
            yield f"{name}: files are named in snake_case"
        if path.suffix in (".o", ".a", ".so", ".pyc", ".orig", ".rej"):
            yield f"{name}: build output"
        if path.suffix in SOURCES and not opens_with_purpose(path, lines_of(root, name)):
            yield f"{name}:1: a file opens with what it is for"
    for name in names:  # a unit that is in no list is not built
        if name.endswith(".cpp") and name.startswith(("gguf/", "kernels/", "tokenizer/", "gemma/", "examples/", "bench/")):
            folders = [*map(str, PurePosixPath(name).parents)]
            lists = [n for n in names if n.startswith("cmake/") or n.endswith(BUILD_FILES) and str(PurePosixPath(n).parent) in folders]
            stem = PurePosixPath(name).stem
            if not any(re.search(rf"\b{stem}\.cpp\b|gemma_isa_unit\({stem}\b", (root / n).read_text(encoding="utf-8")) for n in lists):
                yield f"{name}: no CMakeLists.txt builds it"


def opens_with_purpose(path, lines):
    """Whether a file begins with a comment, or a unit includes the header of the same name, which has one."""
    if lines and re.match(r"//|/\*\*", lines[0]):
        return True
    own = path.stem.removesuffix("_test")
    includes = [line for line in lines if line.startswith("#include")]
    return path.suffix == ".cpp" and re.match(rf'#include "([\w/]*/)?{own}\.hpp"', "".join(includes[:1])) is not None


def circles(root, names):
    """.inl files that include a header which includes their own .hpp: in a header-only program that includes that
    header first, the definitions precede the declarations that they need."""
    reached = {}

    def reach(header):
        if header not in reached:
            reached[header] = set()
            for _, other in included(root, header) if header in names else ():
                reached[header] |= {other} | reach(other)
        return reached[header]

    for header in sorted(names):
        if not re.match(rf"({'|'.join(LIBRARY.split())})/.*\.hpp$", header):
            continue
        end = (root / header).read_text(encoding="utf-8").partition("#if defined(GEMMA_HEADER_ONLY)")[2]
        for file in re.findall(r'^#include "([^"]+\.inl)"', end, re.M):
            name = os.path.normpath(PurePosixPath(header).parent / file)
            yield from (f"{name}:{at}: ends {header} and includes {other}, which includes that header"
                        for at, other in included(root, name) if other != header and header in reach(other))


def unmarked(root, names):
    """Functions in .inl files that are not inline: two units of a header-only program could not be linked."""
    marked = re.compile(r"(GEMMA_INLINE|inline|template|constexpr|consteval|static_assert|struct|class|enum|using|namespace|concept|requires)\b")
    for name in names:
        if not name.endswith(".inl"):
            continue
        before = ""
        for at, line in enumerate(lines_of(root, name), 1):
            begins = not before.startswith(("template", "requires")) and not before.endswith((",", "(", ">"))
            if begins and re.match(r"[A-Za-z_:][^=;]*\(", line) and not marked.match(line):
                yield f"{name}:{at}: a definition without GEMMA_INLINE: {line}"
            before = line


def unread_goldens(root, names):
    """Golden models that no test names, and kinds of golden files that no test reads."""
    text = "".join((root / n).read_text(encoding="utf-8") for n in names
                   if n.startswith("tests/") and not n.startswith("tests/golden/") and n.endswith((".cpp", ".hpp", ".py", ".sh", ".txt")))
    for name in names:
        if name.startswith("tests/golden/models/"):
            model, _, kind = PurePosixPath(name).name.partition(".")
            kind = kind.removeprefix("F32.").removeprefix("Q4_K_M.")
            if model not in text or f".{kind}" not in text:
                yield f"{name}: a golden that nothing reads"


def main():
    root = Path(sys.argv[1])
    names = files(root)
    wrong = [*broken_lines(root, names), *broken_files(root, names), *circles(root, set(names)), *unmarked(root, names),
             *unread_goldens(root, names)]
    return report(wrong, f"structure: ok ({len(RULES)} rules about lines, {len(names)} files)")


if __name__ == "__main__":
    sys.exit(main())
