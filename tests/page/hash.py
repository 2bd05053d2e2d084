"""Checks that the hashes in the page's Content-Security-Policy are those of its style and its script: with other hashes a
browser would apply neither, and with these it applies nothing else.
    hash.py [--update]"""

import base64
import hashlib
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "server" / "page.html"


def with_hashes(page):
    for tag in ["style", "script"]:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        if len(parts) != 1:
            sys.exit(f"{PAGE}: {len(parts)} <{tag}> elements; there should be one")
        digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
        page = re.sub(rf"{tag}-src 'sha256-[^']*'", f"{tag}-src 'sha256-{digest}'", page)
    return page


def main():
    page = PAGE.read_text(encoding="utf-8")
    right = with_hashes(page)
    if sys.argv[1:] == ["--update"]:
        PAGE.write_text(right, encoding="utf-8")
    elif page != right:
        sys.exit(f"{PAGE}: the hashes of its policy are not those of its style and script: run {sys.argv[0]} --update")
    for bad in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "unsafe-inline"]:
        if bad in page:
            sys.exit(f"{PAGE}: holds {bad}")
    if re.search(r"(src|href)=\"(https?:)?//", page):
        sys.exit(f"{PAGE}: loads something from the network")


main()
