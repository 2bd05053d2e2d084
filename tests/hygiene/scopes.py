"""Finds functions and other declarations at namespace and class scope of a C++ file, by its braces."""

import re
from typing import NamedTuple

from checkout import blank, line_at


class Item(NamedTuple):
    head: str  # a function without its body, or a declaration without its semicolon
    first: int  # line numbers
    last: int
    has_body: bool
    scopes: tuple  # the heads of the enclosing namespaces and classes


def plain_head(head):
    """A head without access specifiers, template parameters and arguments, and requires clauses."""
    head = re.sub(r"^\s*(?:(?:public|private|protected)\s*:\s*)+", "", head)
    before = None
    while head != before:
        before, head = head, re.sub(r"\boperator\s*[<>]|<[^<>]*>", lambda x: x[0] if x[0].startswith("op") else "", head)
    return " ".join(re.sub(r"\brequires\s*\([^()]*\)", "", head).split())


def is_scope(head):
    """Whether a head is that of a namespace or type, whose braces contain declarations."""
    head = plain_head(head)
    of_type = re.match(r"[^(=]*\b(namespace|class|struct|union|enum)\b", head)
    return bool(re.search(r'\bextern\s*"\s*"$', head) or of_type and not re.search(r"\)( const| noexcept| override)*$", head))


def items(text):
    """The items of a C++ file, given its text as checkout.bare() returns it."""
    try:
        return [*parsed(text)]
    except ValueError:  # several branches of an #if open a brace that is closed once: use the first
        return [*parsed(re.sub(r"(?ms)^[ \t]*#[ \t]*el(?:se|if)\b.*?(?=^[ \t]*#[ \t]*endif\b)", blank, text))]


def parsed(text):
    text = re.sub(r"(?m)^[ \t]*#(?:[^\n\\]|\\[\s\S])*", blank, text)
    opened = []  # (kind of brace, start of its head, its place)
    begin = parentheses = 0

    def item(end, last, has_body):
        start = begin + len(text[begin:end]) - len(text[begin:end].lstrip())
        around = tuple(plain_head(text[at:brace]) for kind, at, brace in opened if kind == "scope")
        return Item(text[start:end].rstrip(), line_at(text, start), line_at(text, last), has_body, around)

    for found in re.finditer(r"[(){};]", text):
        at, mark = found.start(), found[0]
        if mark == "{":
            inner = parentheses or opened and opened[-1][0] != "scope"
            kind = "inner" if inner else "scope" if is_scope(text[begin:at]) else "body"
            opened.append((kind, begin, at))
            begin = at + 1 if kind == "scope" else begin
        elif mark == "}":
            if not opened:
                raise ValueError(f"there is no opening brace for that in line {line_at(text, at)}")
            kind, _, brace = opened.pop()
            initialiser = re.match(r"\s*[,{;]", text[at + 1 : at + 400]) or not function_name(text[begin:brace])
            goes_on = kind == "inner" or kind == "body" and initialiser
            if kind == "body" and not goes_on:
                yield item(brace, at, True)
            begin = begin if goes_on else at + 1
        elif not opened or opened[-1][0] == "scope":
            parentheses += {"(": 1, ")": -1}.get(mark, 0)
            if mark == ";" and parentheses == 0:
                if text[begin:at].strip():
                    yield item(at, at, False)
                begin = at + 1
    if parentheses:
        raise ValueError("parentheses do not match")
    if opened:
        raise ValueError(f"there is no closing brace for that in line {line_at(text, opened[-1][2])}")


def function_name(head):
    found = re.search(r"(operator\s*(?:\(\)|[^\s(]+)|~?\w+)\s*\(", plain_head(head))
    return found[1] if found else ""
