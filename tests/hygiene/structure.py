#!/usr/bin/env python3
"""Checks rules of docs/style.md that no compiler checks: text of files, their names, and functions.

    structure.py CHECKOUT

Each rule has examples that break it; a rule that does not find its examples is an error too. includes.py checks who includes
whom, builds.py what is built, run and read, sizes.py sizes.
"""

import functools
import re
import sys
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from checkout import BUILD_FILES, FOLDERS, SOURCES, bare, files, line_at, lines_of, literals, own_part, report, text_of, without_comments
from scopes import items, plain_head

LIBRARY = "gguf kernels tokenizer gemma"
TEXTS = SOURCES + BUILD_FILES + (".py", ".sh", ".md", ".rs", ".js", ".html", ".css")
# allowed endings of file names; in the library, only SOURCES. No rule would examine files with other endings.
ENDINGS = TEXTS + (".in", ".map", ".txt", ".json", ".jsonl", ".gguf", ".npz", ".blocks", ".f32", ".bin", ".dict", ".toml", ".lock",
                   ".typed", ".yaml", ".yml", ".sbatch", "LICENSE", "Doxyfile", ".gitignore", ".clang-tidy", ".clang-format", ".ci/run")
VIEWS = {  # the part of a text that a rule examines
    "text": lambda text, name: text,
    "code": without_comments,
    "bare": lambda text, name: bare(text),  # without literals too
    "literals": lambda text, name: literals(text),
}


class Rule(NamedTuple):
    what: str
    folders: str  # applies to files whose names begin with one of these
    pattern: str  # no file may match this; it may match across lines
    broken: tuple  # texts that match it
    view: str = "bare"
    endings: tuple = SOURCES
    but: str = "$^"  # names of files that may match it


RULES = [
    Rule("std::function stays out of what runs for each token", "kernels gemma/decoder", r"std::function\s*<",
         ("std::function<void()> step;",)),
    Rule("headers say no using namespace", f"{LIBRARY} examples tests", r"(?m)^\s*using namespace (?!\S*literals)",
         ("using namespace gemma;",), endings=(".hpp", ".inl", ".h")),
    # ---- errors ----
    Rule("the library must not end its host", LIBRARY,
         r"(?<![\w.>])(abort|exit|_exit|_Exit|quick_exit|terminate|assert|__builtin_trap|__builtin_abort|(?:std)?::raise)\s*\(",
         ("std::exit(1);", "  _exit (1);", "__builtin_trap();", "std::raise(SIGABRT);", "assert(n > 0);", "int* p\n    * exit(1);")),
    Rule("the library must not print or read the environment", LIBRARY,
         r"std::(cout|cerr|clog|print|println)\b|\b(stdout|stderr|environ)\b"
         r"|\b(v?f?printf|f?puts|f?putc|putchar|perror|(secure_)?getenv)\s*\(",
         ('printf("%d", n);', 'fwrite(s, 1, n, stderr);', 'std::println("x");', "char** e = environ;", 'secure_getenv("X")')),
    Rule("the library throws gemma::Error, by refuse()", LIBRARY, r"\bthrow\b(?!\s*(;|TableFull\(\)))",
         ('throw std::runtime_error("no");', 'throw(std::runtime_error("no"));', 'throw\n      std::bad_alloc();', "throw error;",
          "throw Error(ErrorCode::kIo, message);"), but=r"gguf/error\.hpp"),
    Rule("std::sto... throws other exceptions than gemma::Error", LIBRARY, r"\bsto(i|l|ll|ul|ull|f|d|ld)\s*\(", ("int n = std::stoi(s);",)),
    Rule("the message of an error is one line", f"{LIBRARY} examples", r'\b(throw|refuse)\b[^;]*?"(?:[^"\\\n]|\\[^n])*\\n',
         ('throw Error(code,\n            file + ": no\\n");',), "code"),
    # ---- kernels, families, names ----
    Rule("ISA conditionals belong in kernels/arch", f"{LIBRARY} examples bench tests",
         r"\b__(AVX|SSE|ARM_NEON|ARM_FEATURE|FMA|F16C|BMI)\w*",
         ("#ifdef __AVX2__", "#elif defined(__F16C__)", "#if defined(X) || \\\n    defined(__ARM_FEATURE_DOTPROD)"), but="kernels/arch/"),
    Rule("code for one instruction set belongs in kernels/arch", f"{LIBRARY} examples bench tests",
         r"#\s*pragma\s+(GCC|clang)\s+(target|optimize|attribute)|__attribute__\s*\(\(\s*(target|optimize)|\bgnu::(target|optimize)",
         ('#pragma GCC target("avx2")', '__attribute__((target("avx2"))) void f();'), but=r"kernels/(arch/|machine_limits\.cpp)"),
    Rule("no flags that change results", "CMakeLists.txt CMakePresets.json cmake bench examples kernels tests gguf tokenizer gemma",
         r"m(arch|tune|cpu)=native|ffast-math|Ofast|funsafe-math|fassociative-math|ffinite-math",
         ("target_compile_options(gemma PRIVATE -march=native)", "-Ofast"), "code", BUILD_FILES),
    Rule("flags of instruction sets sit on the units of kernels/arch alone", "CMakeLists.txt CMakePresets.json cmake bench examples tests",
         r"[ \"(;]-m(avx|fma|f16c|sse|bmi|arch=|cpu=)", ("target_compile_options(gemma PRIVATE -mavx2)",), "code", BUILD_FILES,
         r"cmake/isa\.cmake"),
    Rule("which family a model is of is asked in gemma/families alone", LIBRARY, r"\barchitecture_?\b",
         ('if (config.architecture == "gemma") {', 'config.architecture.starts_with("llama")', "const auto& a = c.architecture;"),
         but=r"gemma/(families/|config\.hpp)|tokenizer/(vocab\.hpp|dialects/)|gguf/file_kind\.hpp"),  # the last recognises files that are not models
    Rule("names of GGUF keys and tensors stand where docs/style.md says", "kernels gemma examples bench",
         r"\bgeneral\.[a-z]|tokenizer\.(ggml|chat)|\bblk\.|\.(weight|bias)\b|\btoken_embd|\boutput_norm|\bsplit\.[a-z]"
         r"|\battn_(q|k|v|qkv|output)\b|\bffn_(gate|up|down)\b|\brope_freqs|\battention\.[a-z]|\bblock_count\b|\b(embedding|context|feed_forward)_length\b",
         ('file.get<int>("general.alignment");', 'f("//", "attn_q");', 'view("rope_freqs");'), "literals",
         but=r"gemma/families/|gemma/(config|weights|quantiz|importance|adapter|model)[a-z_]*\.|examples/convert/"),
    Rule("one word for a thing: n_tokens, n_layers, d_model, d_ff, n_heads, n_kv_heads, head_dim, vocab_size, max_seq_len",
         f"{LIBRARY} bench examples tests",
         r"(?i)\b(num_?(tokens?|layers?|heads?|kv_?heads?)|n_?(layer|embd|embed|ff|head|head_?kv|kv_?head|vocab)"
         r"|(?-i:nLayers|nTokens|nHeads)|(token|layer|head)_?count|(hidden|embed|embedding|intermediate)_?(size|dim)|head_?size|dim_?head"
         r"|(max_?)?seq(uence)?_?length|seq_len|context_?length|model_dim|vocabsize)_?\b",
         ("const std::size_t n_layer = 2;", "int nLayers;", "num_layer", "layer_count", "token_count", "hidden_dim_", "n_embed",
          "context_length"),
         but="examples/convert/"),
    Rule("no paths of one machine", f"{LIBRARY} examples bench tests cmake", r"(?m)(^|[^\w$/}.*])/(work|home|Users)/\w",
         ('std::ifstream in("/' 'home/me/model.gguf");',), "code", SOURCES + BUILD_FILES + (".py", ".sh")),
    Rule("finish it or leave it out", f"{LIBRARY} examples bench tests cmake docs CMakeLists.txt README.md",
         r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|(?i:\bto" r"do:)",
         ("int n;  // TO" "DO", "# to" "do: more", "/* XX" "X */"), "text", TEXTS, r"docs/style\.md"),
]


@functools.lru_cache(maxsize=None)
def view_of(root, name, view):
    return VIEWS[view](text_of(root, name), name)


def broken_lines(root, names):
    for rule in RULES:
        pattern = re.compile(rule.pattern)
        for broken in rule.broken:
            if not pattern.search(VIEWS[rule.view](broken, rule.endings[0])):
                yield f"tests/hygiene/structure.py: '{rule.what}' does not find its own broken line {broken}"
        prefixes = tuple(f if "." in f else f + "/" for f in rule.folders.split())
        asked = [n for n in names if n.startswith(prefixes) and n.endswith(rule.endings) and not re.match(rule.but, n)]
        if not asked:
            yield f"tests/hygiene/structure.py: '{rule.what}' finds no files"
        for name in asked:
            for found in pattern.finditer(view_of(root, name, rule.view)):
                at = line_at(text_of(root, name), found.start() + len(found[0]) - len(found[0].lstrip()))
                yield f"{name}:{at}: {rule.what}: {lines_of(root, name)[at - 1].strip()}"


def faults_of_name(name):
    path = PurePosixPath(name)
    if len(path.parts) > 1 and path.parts[0] not in FOLDERS:
        yield f"there is no folder {path.parts[0]}/ in this house"
    if path.parts[0] == "bench" and path.name not in ("CMakeLists.txt", "kernels_bench.cpp"):
        yield "bench/ is kernels-bench alone; what measures models is a program, in examples/bench"
    if any(re.fullmatch(r"(.*[_-])?(misc|common|stuff|utils?|utilit(y|ies)|helpers?)([_.-].*)?", part, re.I) for part in path.parts):
        yield "a name that says nothing"
    if not name.endswith(SOURCES if path.parts[0] in LIBRARY.split() else ENDINGS):
        yield "this ending is not allowed here (tests/hygiene/structure.py lists the endings)"
    if path.suffix in SOURCES + (".rs", ".js") and re.search("[^a-z0-9_]", path.stem):
        yield "source files are named in snake_case"


BROKEN_NAMES = ("engine/model.hpp", "bench/models.cpp", "gemma/common/pack.hpp", "examples/chat/string_utils.cpp", "tests/api/helpers.hpp",
                "tests/stuff.py", "gemma/kv.tpp", "examples/chat/main.cc", "kernels/a.o", "gemma/kvCache.hpp", "examples/c/chat-loop.c")
BROKEN_OPENINGS = ("#pragma once\n", "// Copyright 2025 Somebody and others\n", "// clang-format off\nint n;\n",
                   "// SPDX-License-Identifier: MIT\n", "// x\n", "/* Copyright (c) of the authors */\n")


def broken_files(root, names):
    for name in names:
        yield from (f"{name}: {fault}" for fault in faults_of_name(name))
        if name.endswith(SOURCES) and not opens_with_purpose(PurePosixPath(name), text_of(root, name)):
            yield f"{name}:1: a file opens with what it is for"
    found = [name for name in BROKEN_NAMES if not [*faults_of_name(name)]]
    found += [text for text in BROKEN_OPENINGS if opens_with_purpose(PurePosixPath("a.hpp"), text)]
    yield from (f"tests/hygiene/structure.py: no rule finds {x!r}" for x in found)


def opens_with_purpose(path, text):
    """Whether a file begins with a comment of at least three words, or a unit includes the header of the same name, which does."""
    if comment := re.match(r"(?:[ \t]*//.*\n)+|/\*.*?\*/", text, re.S if text.startswith("/*") else 0):
        words = re.sub(r"(?im)^\W*(copyright|spdx-license|clang-format).*", "", comment[0])
        return len(re.findall(r"\w+", words)) >= 3
    own = path.stem.removesuffix("_test")
    includes = [line for line in text.splitlines() if line.startswith("#include")]
    return path.suffix == ".cpp" and re.match(rf'#include "([\w/]*/)?{own}\.hpp"', "".join(includes[:1])) is not None


def unmarked(text):
    """(line, head) of definitions in an .inl file that are not inline: two units of a header-only program could not be linked."""
    known = re.compile(r"\b(GEMMA_INLINE|inline|template|constexpr|consteval|static_assert|using|namespace|concept|struct|class|enum|"
                       r"extern)\b")
    for item in items(bare(text)):
        if all(re.search(r"\bnamespace\b", scope) for scope in item.scopes) and not known.search(item.head.split("(")[0]):
            yield item.first, item.head.split("\n")[0]


def may_throw(text):
    """(line, head) of functions that are neither noexcept nor constexpr."""
    for item in items(bare(text)):
        if item.has_body and not re.search(r"\b(noexcept|constexpr|consteval)\b", plain_head(item.head)):
            yield item.first, item.head.split("\n")[0]


# rule, names of files, what finds the functions that break it, texts that break it
RULES_OF_FUNCTIONS = [
    ("without GEMMA_INLINE, two units of a header-only program cannot be linked", r".*\.inl", unmarked,
     ("[[nodiscard]] int f() {\n}\n", "namespace gemma {\nbool operator==(A a, A b) { return true; }\n}", "int counter = 0;\n",
      "A::A() : b{1} {}")),
    ("kernels are noexcept", r"kernels/(arch|generic|encode)/(?!unroll).*\.hpp", may_throw,
     ("inline void f(int n) {\n}\n", "template <class V>\nstruct A {\n  static void f() {}\n};")),
]


def broken_functions(root, names):
    for what, which, find, broken in RULES_OF_FUNCTIONS:
        yield from (f"tests/hygiene/structure.py: '{what}' does not find {text}" for text in broken if not [*find(text)])
        for name in names:
            if re.fullmatch(which, name):
                yield from (f"{name}:{at}: {what}: {line}" for at, line in find(own_part(text_of(root, name))))


def faults_of_codes(lowest, engine, c_header, below):
    """Faults of the codes of errors in the texts of gguf/error.hpp, gemma/engine_error_code.hpp, gemma/c_api.h and of the units
    below the engine."""
    code = r'\b(k\w+)\{(\d+), "(\w+)"\}'
    for name, *_ in re.findall(code, lowest):
        if not re.search(rf"\bErrorCode::{name}\b", below):
            yield f"gguf/error.hpp: nothing below the engine throws {name}; it belongs in gemma/engine_error_code.hpp"
    ours = [(number, name) for _, number, name in re.findall(code, lowest + engine)]
    in_c = [(number, name.lower()) for name, number in re.findall(r"\bGEMMA_ERROR_(\w+) = (\d+)", c_header)]
    for number, name in {*ours} ^ {*in_c} - {("99", "internal")}:
        yield f"gemma/c_api.h: C and C++ differ in the code {number}, {name}"
    if len({n for n, _ in ours}) < len(ours) or not ours:
        yield "gguf/error.hpp: two codes have one number, or none is found"


BROKEN_CODES = (('kIo{1, "io"}', "", "GEMMA_ERROR_IO = 1", "ErrorCode::kIoError"), ('kIo{1, "io"}', "", "", "ErrorCode::kIo"),
                ('kIo{1, "io"}', 'kFull{1, "io"}', "GEMMA_ERROR_IO = 1", "ErrorCode::kIo"), ("", "", "", ""))


def broken_codes(root, names):
    below = "".join(bare(text_of(root, n)) for n in names if n.startswith(("gguf/", "tokenizer/", "kernels/")) and n != "gguf/error.hpp")
    yield from faults_of_codes(*(text_of(root, n) for n in ("gguf/error.hpp", "gemma/engine_error_code.hpp", "gemma/c_api.h")), below)
    yield from (f"tests/hygiene/structure.py: no fault is found in {texts}" for texts in BROKEN_CODES if not [*faults_of_codes(*texts)])


def main():
    root = Path(sys.argv[1])
    names = files(root)
    wrong = [*broken_lines(root, names), *broken_files(root, names), *broken_functions(root, names), *broken_codes(root, names)]
    return report(wrong, f"structure: ok ({len(RULES) + len(RULES_OF_FUNCTIONS)} rules about text, {len(names)} files)")


if __name__ == "__main__":
    sys.exit(main())
