#!/usr/bin/env python3
"""Compares greedy answers of two engines: compare.py OURS THEIRS, JSON lines as written by tests/real/real_model.cpp.

The prompts' ids must be equal, and the answers up to the first token where the two best tokens of THEIRS are within
0.25 nat (there either may be chosen). Prints a line for each prompt that differs and a summary; status 1 if one is
wrong.
"""
import json
import sys

NEAR = 0.25  # nat


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    ours, theirs = lines(sys.argv[1]), lines(sys.argv[2])
    wrong = 0 if len(ours) == len(theirs) else 1
    equal = near = 0
    for number, (a, b) in enumerate(zip(ours, theirs), 1):
        if a["prompt"] != b["prompt"]:
            print(f"prompt {number}: other ids: {a['prompt']}, not {b['prompt']}")
            wrong += 1
            continue
        length = min(len(a["ids"]), len(b["ids"]))
        first = next((i for i in range(length) if a["ids"][i] != b["ids"][i]), None)
        if first is None and len(a["ids"]) == len(b["ids"]):
            equal += 1
            continue
        first = length if first is None else first
        margins = b["margins"][: first + 1]
        if min(margins, default=0) < NEAR:
            near += 1
            continue
        print(f"prompt {number}: token {first} differs, margins up to there {margins}")
        print(f"  ours   {a['text']!r}\n  theirs {b['text']!r}")
        wrong += 1
    print(f"greedy answers: {equal} of {len(theirs)} equal, {near} until the two best were near, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
