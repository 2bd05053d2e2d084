#!/usr/bin/env python3
"""Extracts the code of README.md and docs/, so that tests can compile and run it.

    blocks.py cpp OUT FILES...      one C++ unit of all ```cpp blocks, and one C unit for each ```c block, in OUT
    blocks.py files OUT FILES...    writes the blocks that are named files to OUT under these names
    blocks.py same FILES...         checks that the blocks that show a file are its end
    blocks.py run LANGUAGE FILES... runs each ```python block, or each ```bash block marked <!-- run -->

HTML comments on the lines directly before the fence of a block tell how it is used:

    <!-- file: NAMES -->      the content of the files of these names
    <!-- same: FILE -->       the end of this file of the repository
    <!-- run -->              (bash) is run; Python, C and C++ blocks are always run
    <!-- context: CODE -->    (cpp) code that precedes it in the reader's program
    <!-- scope: file -->      (cpp) declarations, not statements: compiled at file scope, not run
    <!-- compile -->          (cpp) compiled, not run
    <!-- needs: MODULE -->    (python) skipped, and counted, if Python cannot import the module
    <!-- skip: REASON -->     skipped, and counted

A block to which none of this applies is an error, except plain text (``` or ```text).

C++ blocks without main() become the body of a function. All blocks run in a folder with a model called model.gguf.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

COMMENT = re.compile(r"^\s*<!--\s*(file|same|run|context|scope|compile|needs|skip)\b:?\s*(.*?)\s*-->\s*$")


class Block:
    def __init__(self, path, line, language, marks):
        self.path, self.line, self.language, self.marks, self.lines = path, line, language, marks, []

    @property
    def place(self):
        return f"{self.path}:{self.line}"

    @property
    def text(self):
        return "".join(self.lines)


def blocks_of(path):
    found, marks, block = [], {}, None
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if block is not None:
            if line.strip() == "```":
                block = None
            else:
                block.lines.append(line)
        elif line.startswith("```"):
            language = line[3:].strip()
            block = Block(path, number + 1, language, marks)
            found.append(block)
            marks = {}
        elif match := COMMENT.match(line):
            marks[match[1]] = match[2]
        elif line.strip():
            marks = {}
    if block is not None:
        sys.exit(f"{block.place}: the block has no end")
    for b in found:
        needed = {"cpp": [], "c": [], "python": [], "": [], "text": [], "bash": ["run", "skip"], "cmake": ["file"]}
        if b.language not in needed:
            sys.exit(f"{b.place}: no test runs {b.language!r}")
        if needed[b.language] and not any(mark in b.marks for mark in needed[b.language]):
            sys.exit(f"{b.place}: a block of {b.language} needs the mark {' or '.join(needed[b.language])}")
    return found


def all_blocks(files, *languages):
    chosen = [b for f in files for b in blocks_of(f) if b.language in languages]
    return [b for b in chosen if not is_skipped(b)]


def is_skipped(block):
    why = block.marks.get("skip")
    if (module := block.marks.get("needs")) and importlib.util.find_spec(module) is None:
        why = f"there is no {module}"
    if why is not None:
        print(f"{block.place}: skipped: {why}", file=sys.stderr)
    return why is not None


def without_includes(block, includes):
    lines = []
    for line in block.lines:
        if line.startswith("#include"):
            includes.append(line)
            line = "\n"
        lines.append(line)
    return "".join(lines)


def write_if_changed(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def make_cpp(out, files):
    out.mkdir(parents=True, exist_ok=True)
    includes = [f"#include {h}\n" for h in ("<cstdio>", "<exception>", "<iostream>", '"gemma/gemma.hpp"')]
    body, calls, c_units = [], [], []
    for i, b in enumerate(all_blocks(files, "cpp")):
        text = without_includes(b, includes)
        if b.marks.get("scope") == "file":
            body.append(f'#line {b.line} "{b.path}"\n{text}\n')
            continue
        context = b.marks.get("context", "")
        if re.search(r"^int main\(", text, re.M):
            text = re.sub(r"^int main\(", "int run_main(", text, flags=re.M)
            text = re.sub(r"^}\n*\Z", "return 0; }\n", text, flags=re.M)  # main() may omit it
            takes = "run_main(argc, argv)" if re.search(r"run_main\(int", text) else "run_main()"
            body.append(f'namespace block_{i} {{\n#line {b.line} "{b.path}"\n{text}\n'
                        f"[[maybe_unused]] int run(int argc, char** argv) {{ (void)argc, (void)argv; return {takes}; }}\n}}\n")
        else:
            body.append(f"namespace block_{i} {{\n[[maybe_unused]] int run(int, char**) {{\n{context}\n"
                        f'#line {b.line} "{b.path}"\n{text}\nreturn 0;\n}}\n}}\n')
        if "compile" not in b.marks:
            calls.append((b.place, f"block_{i}::run"))
    for i, b in enumerate(all_blocks(files, "c")):
        name = f"docs_c_block_{i}"
        text = re.sub(r"^int main\(void\)", f"int {name}(void)", b.text, flags=re.M)
        text = re.sub(r"^int main\(", f"int {name}(", text, flags=re.M)
        if name not in text:
            sys.exit(f"{b.place}: a block of C must be a whole program")
        write_if_changed(out / f"{name}.c", f"int {name}(int argc, char** argv);\n#line {b.line} \"{b.path}\"\n{text}")
        body.append(f'extern "C" int {name}(int argc, char** argv);\n')
        calls.append((b.place, name))
        c_units.append(f"{name}.c")
    table = "".join(f'    {{"{place}", {function}}},\n' for place, function in calls)
    write_if_changed(out / "blocks.cpp", "// Made from the documentation by blocks.py.\n" + "".join(dict.fromkeys(includes))
                     + "".join(body) + f"""
int main(int argc, char** argv) {{
  const struct {{
    const char* place;
    int (*run)(int, char**);
  }} blocks[] = {{
{table}  }};
  int failed = 0;
  for (const auto& block : blocks) {{
    std::printf("\\n== %s\\n", block.place);
    std::fflush(stdout);
    try {{
      if (block.run(argc, argv) == 0) continue;
      std::printf("FAILED: did not return 0\\n");
    }} catch (const std::exception& e) {{
      std::printf("FAILED: %s\\n", e.what());
    }}
    ++failed;
  }}
  std::printf("\\n%zu blocks, %d failed\\n", std::size(blocks), failed);
  return failed == 0 ? 0 : 1;
}}
""")
    write_if_changed(out / "units.txt", "\n".join(["blocks.cpp"] + c_units) + "\n")


def write_files(out, files):
    for f in files:
        for b in blocks_of(f):
            for name in b.marks.get("file", "").split():
                target = out / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(b.text, encoding="utf-8")
                print(f"{b.place}: {name}")


def compare(files):
    root = Path(__file__).resolve().parents[2]
    shown = [b for f in files for b in blocks_of(f) if "same" in b.marks]
    different = [b for b in shown if not (root / b.marks["same"]).read_text(encoding="utf-8").endswith("\n" + b.text)]
    for b in different:
        print(f"{b.place}: is not the end of {b.marks['same']}")
    print(f"{len(shown)} blocks, {len(different)} differ")
    sys.exit(1 if different or not shown else 0)


def run(language, files):
    command = {"python": [sys.executable, "-"], "bash": ["bash", "-euo", "pipefail", "-s"]}[language]
    chosen = all_blocks(files, language)
    failed = 0
    for b in chosen:
        print(f"\n== {b.place}", flush=True)
        failed += subprocess.run(command, input=b.text.encode(), check=False).returncode != 0
    print(f"\n{len(chosen)} blocks, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)


def main():
    if sys.argv[1:2] == ["same"]:
        compare(sys.argv[2:])
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    what, where, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    if what == "cpp":
        make_cpp(Path(where), files)
    elif what == "files":
        write_files(Path(where), files)
    elif what == "run":
        run(where, files)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
