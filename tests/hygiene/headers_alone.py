#!/usr/bin/env python3
"""Each header compiles alone: it includes all that it needs.

  headers_alone.py ROOT JOBS COMPILER FLAGS...    the headers of ROOT, with JOBS compilers at once

A header that another one includes is proven by the other's unit if it stands first there: whatever was read
before the other's own text, the other includes itself. So the headers are put into as few chains as possible, in
which each includes the one before it, directly or through others, and each chain is compiled as one unit.
"""
import concurrent.futures
import pathlib
import subprocess
import sys

from checkout import included

PARTS = ("gguf", "kernels", "tokenizer", "gemma")


def includes(root, headers):
    """For each header, those of the headers that it includes, directly or not. What comes along in header-only
    programs, at a header's end, headers_link_twice compiles."""
    direct = {}
    for header in headers:
        direct[header] = {name for _, name in included(root, header)}
        if missing := direct[header] - set(headers):
            sys.exit(f"{header} includes {', '.join(sorted(missing))}, which is no header of the library")
    reached = {}

    def reach(header):
        if header not in reached:
            reached[header] = None
            reached[header] = direct[header].union(*map(reach, direct[header]))
        if reached[header] is None:
            sys.exit(f"{header} includes itself, through others")
        return reached[header]

    for header in headers:
        reach(header)
    return reached


def chains(reached):
    """The least number of chains that hold every header once: a maximum matching of each with its successor."""
    before = {}  # header -> the one before it in its chain

    def give_successor(header, tried):
        for other in sorted(reached):
            if header in reached[other] and other not in tried:
                tried.add(other)
                if other not in before or give_successor(before[other], tried):
                    before[other] = header
                    return True
        return False

    for header in sorted(reached):
        give_successor(header, set())
    after = {header: other for other, header in before.items()}
    result = []
    for header in sorted(reached):
        if header not in before:
            chain = [header]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            result.append(chain)
    return result


def main(root, jobs, *command):
    root = pathlib.Path(root).resolve()
    headers = [str(h.relative_to(root)) for part in PARTS for h in sorted((root / part).rglob("*.hpp"))
               if h.parent != root / "kernels/arch"]  # those want the flags of their units
    units = chains(includes(root, headers))
    if sorted(h for unit in units for h in unit) != sorted(headers):
        sys.exit("the chains do not hold each header once")

    def compile_unit(unit):
        text = "".join(f'#include "{header}"\n' for header in unit)
        return subprocess.run([*command, f"-I{root}", "-fsyntax-only", "-x", "c++", "-"], input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for unit, done in zip(units, pool.map(compile_unit, units)):
            if done.returncode != 0:
                failed += 1
                print(f"{' < '.join(unit)}:\n{done.stdout}")
    print(f"{len(headers)} headers in {len(units)} units, {failed} of them fail")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
