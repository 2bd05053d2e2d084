#!/usr/bin/env python3
"""Each header compiles alone, i.e. it includes everything that it needs.

  headers_alone.py ROOT JOBS COMPILER FLAGS...    the headers of ROOT, with JOBS compilers at once

If header B includes header A, a unit that includes first A and then B tests both: everything that is read before the
text of B is included by B anyway. Therefore the headers are divided into as few chains as possible, in which each
includes the preceding one, directly or indirectly, and each chain is compiled as one unit.

With clang, headers that most others include are read once: each of HUBS becomes a precompiled header, and headers that
include it are compiled after it, for the same reason. A unit that fails is compiled again without precompiled headers,
so that the test prints the messages that a user's compiler would.
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

from checkout import included

PARTS = ("gguf", "kernels", "tokenizer", "gemma")
HUBS = ("gguf/dtype.hpp", "gguf/file.hpp", "gemma/weights.hpp", "tokenizer/tokenizer_base.hpp", "gemma/model.hpp")


def includes(root, headers):
    """For each header, the headers that it includes directly or indirectly, without the definitions at its end for
    header-only use, which the test headers_link_twice compiles."""
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
    """The smallest set of chains that contains every header once, by a maximum matching of headers with successors."""
    before = {}  # header -> its predecessor in the chain

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


def cut(units, reached, hubs):
    """Divides the chains into pieces (hub or None, headers): a piece is compiled after the largest hub that its headers
    include. Each hub is a separate piece."""
    pieces = [(None, [hub]) for hub in hubs]
    for unit in units:
        last = ()
        for header in unit:
            if header in hubs:
                continue
            hub = max((h for h in hubs if h in reached[header]), key=lambda h: (len(reached[h]), h), default=None)
            if hub != last:
                pieces.append((hub, []))
            pieces[-1][1].append(header)
            last = hub
    return pieces


class Compiler:
    """Compiles pieces; precompiled hubs are stored in `folder`."""

    def __init__(self, root, command, folder):
        self.command = [*command, f"-I{root}", "-x"]
        self.folder = pathlib.Path(folder)

    def run(self, headers, *options):
        text = "".join(f'#include "{header}"\n' for header in headers)
        return subprocess.run([*self.command, *options, "-"], input=text, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)

    def precompiled(self, hub):
        return str(self.folder / hub.replace("/", "_")) + ".pch"

    def precompile(self, hub):
        return self.run([hub], "c++-header", "-fpch-instantiate-templates", "-o", self.precompiled(hub))

    def check(self, hub, headers):
        if hub and os.path.exists(self.precompiled(hub)):
            done = self.run(headers, "c++", "-fsyntax-only", "-include-pch", self.precompiled(hub))
            if done.returncode == 0:
                return done
        return self.run(headers, "c++", "-fsyntax-only")


def main(root, jobs, *command):
    root = pathlib.Path(root).resolve()
    headers = [str(h.relative_to(root)) for part in PARTS for h in sorted((root / part).rglob("*.hpp"))
               if h.parent != root / "kernels/arch"]  # those need the flags of their units
    reached = includes(root, headers)
    hubs = [hub for hub in HUBS if hub in headers] if "clang" in os.path.basename(command[0]) else []
    pieces = cut(chains(reached), reached, hubs)
    if sorted(h for _, piece in pieces for h in piece) != sorted(headers):
        sys.exit("the pieces do not hold each header once")

    failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        compiler = Compiler(root, command, folder)
        precompiled = {hub: pool.submit(compiler.precompile, hub) for hub in reversed(hubs)}

        def check(piece):
            hub, members = piece
            if members[0] in precompiled:
                return precompiled[members[0]].result()
            if hub:
                precompiled[hub].result()  # submitted before this piece
            return compiler.check(hub, members)

        for (_, piece), done in zip(pieces, pool.map(check, pieces)):
            if done.returncode != 0:
                failed += 1
                print(f"{' < '.join(piece)}:\n{done.stdout}")
    print(f"{len(headers)} headers in {len(pieces)} units, {failed} of them fail")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
