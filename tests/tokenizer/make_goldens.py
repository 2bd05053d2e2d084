#!/usr/bin/python3
"""Computes token ids by the plain rules, independently of the engine: goldens for the bundled models' vocabularies.

  make_goldens.py                     writes goldens/NAME.jsonl for the three demo models
  make_goldens.py --check VOCAB.gguf GOLDENS.jsonl ...
                                      compares these rules with goldens of other programs ({"text", "ids"} per line)

SentencePiece BPE: user-defined pieces first (longest match); then, of all neighbours whose concatenation is a piece,
the pair with the highest score is merged, leftmost on ties, until there is none; characters that are not pieces become
byte tokens. Byte-level BPE: Llama 3's pattern splits the text; a part that is a piece is one token; otherwise the pair
with the lowest rank is merged, leftmost first. Quadratic, for the sake of brevity. Needs python3-regex.
"""
import json
import pathlib
import struct
import sys

import regex

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent.parent / "examples" / "models"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581".encode()
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
LLAMA3 = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+")


def metadata(path):
    """The key-value pairs of a GGUF file."""
    data = pathlib.Path(path).read_bytes()
    at = 24

    def scalar(kind):
        nonlocal at
        if kind == 8:
            (size,) = struct.unpack_from("<Q", data, at)
            at += 8 + size
            return data[at - size : at]
        if kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            return [scalar(element) for _ in range(count)]
        form = "<" + SCALARS[kind]
        at += struct.calcsize(form)
        return struct.unpack_from(form, data, at - struct.calcsize(form))[0]

    (n_pairs,) = struct.unpack_from("<Q", data, 16)
    pairs = {}
    for _ in range(n_pairs):
        key = scalar(8).decode()
        pairs[key] = scalar(scalar(4))
    return pairs


class SentencePiece:
    def __init__(self, meta):
        tokens, self.scores = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.scores"]
        types = meta["tokenizer.ggml.token_type"]
        self.piece, self.byte, self.user = {}, {}, {}
        for i, (token, kind) in enumerate(zip(tokens, types)):
            if kind in (NORMAL, UNUSED):
                self.piece.setdefault(token, i)
            elif kind == BYTE:
                self.byte[int(token[3:5], 16)] = i
            elif kind == USER_DEFINED:
                self.user.setdefault(token.replace(b" ", SPACE), i)
        self.longest = max(map(len, self.user), default=0)
        gemma = meta["general.architecture"].startswith(b"gemma")
        self.prefix = meta.get("tokenizer.ggml.add_space_prefix", not gemma)

    def encode(self, text):
        data = (SPACE if self.prefix and text else b"") + text.encode().replace(b" ", SPACE)
        ids, plain, at = [], 0, 0
        while at < len(data):
            length = next((n for n in range(self.longest, 0, -1) if data[at : at + n] in self.user), 0)
            if length == 0:
                at += 1
                continue
            ids += self.merge(data[plain:at]) + [self.user[data[at : at + length]]]
            at = plain = at + length
        return ids + self.merge(data[plain:])

    def merge(self, data):
        parts = [c.encode() for c in data.decode()]
        while True:
            pairs = [(self.scores[self.piece[a + b]], -i) for i, (a, b) in enumerate(zip(parts, parts[1:]))
                     if a + b in self.piece]
            if not pairs:
                break
            i = -max(pairs)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [i for p in parts for i in ([self.piece[p]] if p in self.piece else [self.byte[b] for b in p])]


class ByteLevel:
    def __init__(self, meta):
        printable = [b for b in range(256) if 33 <= b <= 126 or (b >= 161 and b != 173)]
        rest = [b for b in range(256) if b not in printable]
        byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(rest)}

        def to_bytes(piece):
            return bytes(byte_of[c] for c in piece)

        self.piece = {}
        for i, (token, kind) in enumerate(zip(meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"])):
            if kind == NORMAL:
                self.piece.setdefault(to_bytes(token.decode()), i)
        self.rank = {}
        for rank, merge in enumerate(meta["tokenizer.ggml.merges"]):
            left, right = merge.decode().split(" ")
            self.rank.setdefault((to_bytes(left), to_bytes(right)), rank)

    def encode(self, text):
        return [i for part in LLAMA3.findall(text) for i in self.merge(part.encode())]

    def merge(self, data):
        if data in self.piece:
            return [self.piece[data]]
        parts = [bytes([b]) for b in data]
        while True:
            pairs = [(self.rank[pair], i) for i, pair in enumerate(zip(parts, parts[1:])) if pair in self.rank]
            if not pairs:
                return [self.piece[p] for p in parts]
            i = min(pairs)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]


def tokenizer_of(path):
    meta = metadata(path)
    return (SentencePiece if meta["tokenizer.ggml.model"] == b"llama" else ByteLevel)(meta)


TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n\n", "\t", " \n ", "\r\n", "a", " a", "a ", "Hello", "Hello, world!",
    "The Normans were the people who in the 10th and 11th centuries gave their name to Normandy.",
    "the quick brown fox jumps over the lazy dog", "THE QUICK BROWN FOX", "don't we'll I'D they've it's",
    "In 1889, $1,234,567.89 (about 12.5%) was paid.", "3.14159265358979", "1234567890" * 3, "a1b2c3", "x=y+z;",
    "def f(x):\n    return x ** 2  # square\n", "<bos><eos></s><s>[INST]", "<|begin_of_text|><|eot_id|>",
    "<start_of_turn>user\nHi<end_of_turn>", "naïve café Übersee façade", "日本語のテキスト", "한국어 문장", "русский текст",
    "العربية", "עברית", "ไทย", "हिन्दी", "😀😀 👩‍👩‍👧 🇫🇷", "a\u0301 e\u0308", "\u00a0nbsp\u00a0", "\u3000ideographic",
    "\u200bzero\u200dwidth", "tab\tand\0nul", "\x01\x7f", "…—–“quoted”", "ﬁ ligature", "𝒳 𝔸", "▁▁ ▁ literal", "\ufeffbom",
    "word " * 20, "abab" * 30, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "?!?!?!", "''''", "\"\"\"", "((()))", "e.g. i.e. U.S.A.",
    "https://example.org/a?b=c&d=%20e", "user@example.org", "C:\\path\\to", "#include <vector>", "line one\nline two\n\nline four",
    "    indented\n\t\ttwice", "trailing   \n   leading", "What did the Normans give their name to? Normandy", "Question: When? Answer: 1066",
]


def main():
    if sys.argv[1:2] == ["--check"]:
        tokenizer = tokenizer_of(sys.argv[2])
        for path in sys.argv[3:]:
            rows = [json.loads(line) for line in open(path, encoding="utf-8") if len(line) < 4000]
            different = [r["text"] for r in rows if tokenizer.encode(r["text"]) != r["ids"]]
            print(f"{path}: {len(rows)} texts, {len(different)} differ {different[:5]}")
        return
    for name in ("gemma", "llama", "mistral"):
        tokenizer = tokenizer_of(MODELS / f"{name}-demo.Q4_K_M.gguf")
        with open(HERE / "goldens" / f"{name}-demo.jsonl", "w", encoding="utf-8", newline="\n") as out:
            for text in TEXTS:
                out.write(json.dumps({"text": text, "ids": tokenizer.encode(text)}) + "\n")


if __name__ == "__main__":
    main()
