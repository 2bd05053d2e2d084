"""Byte-level BPE with Llama 3's pre-tokeniser: the tokenizer of llama-demo.

Ids are in this order: the 256 bytes, the merges in the order of learning, the special tokens.
"""
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TYPE_NORMAL, TYPE_CONTROL = 1, 3  # tokenizer.ggml.token_type
NO_MERGE = 1 << 30


def char_class(category):
    """The content of [...] in a regular expression for a Unicode category, which `re` cannot name."""
    ranges, start, last = [], None, None
    for c in range(sys.maxunicode + 1):
        if unicodedata.category(chr(c))[0] == category:
            if start is None:
                start = c
            last = c
        elif start is not None:
            ranges.append((start, last))
            start = None
    return "".join(f"\\U{a:08x}-\\U{b:08x}" if b > a else f"\\U{a:08x}" for a, b in ranges)


def word_pattern():
    """The pattern by which Llama 3 splits text: contractions, letters, up to three digits, punctuation,
    newlines, spaces."""
    letter, number = char_class("L"), char_class("N")
    return re.compile(
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n{letter}{number}]?[{letter}]+|[{number}]{{1,3}}"
        rf"| ?[^\s{letter}{number}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def byte_characters():
    """The map from bytes to the printable characters that represent them in a vocabulary (GPT-2's)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def merge_pair(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and symbols[i] == pair[0] and symbols[i + 1] == pair[1]:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def learn_merges(words, n_merges):
    """The merges, by repeatedly merging the most frequent pair; among equally frequent pairs, the greatest.
    words: {word as a tuple of symbols: count}."""
    sequences, counts = [list(w) for w in words], list(words.values())
    pairs, where = Counter(), defaultdict(set)

    def count(i, sign):
        for pair in zip(sequences[i], sequences[i][1:]):
            pairs[pair] += sign * counts[i]
            if sign > 0:
                where[pair].add(i)
            else:
                where[pair].discard(i)

    for i in range(len(sequences)):
        count(i, +1)
    merges = []
    while len(merges) < n_merges:
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(best)
        for i in list(where[best]):
            count(i, -1)
            sequences[i] = merge_pair(sequences[i], best)
            count(i, +1)
        pairs.pop(best, None)
    return merges


class BpeTokenizer:
    SUFFIX = ".json"

    def __init__(self, config, path):
        with open(path + self.SUFFIX, encoding="utf-8") as f:
            stored = json.load(f)
        self.vocab, self.merges = stored["vocab"], [tuple(m) for m in stored["merges"]]
        self.ids = {v: i for i, v in enumerate(self.vocab)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.bos, self.eos, self.start_header, self.end_header, self.end_of_turn = (
            self.ids[s] for s in SPECIAL
        )
        self.pad = self.eos
        self.char_of = byte_characters()
        self.byte_of = {c: b for b, c in self.char_of.items()}
        self.words = word_pattern()
        self.cache = {}

    @classmethod
    def train(cls, config, path, lines):
        pattern, char_of = word_pattern(), byte_characters()
        words = Counter(word for line in lines for word in pattern.findall(line))
        words = {tuple(char_of[b] for b in word.encode()): n for word, n in words.items()}
        merges = learn_merges(words, config.vocab_size - 256 - len(SPECIAL))
        vocab = [char_of[b] for b in range(256)] + [a + b for a, b in merges] + SPECIAL
        with open(path + cls.SUFFIX, "w", encoding="utf-8") as f:
            json.dump(dict(vocab=vocab, merges=merges), f)

    def encode(self, text):
        out = []
        for word in self.words.findall(text):
            ids = self.cache.get(word)
            if ids is None:
                ids = self.cache[word] = self._encode_word(word)
            out += ids
        return out

    def _encode_word(self, word):
        symbols = [self.char_of[b] for b in word.encode()]
        while len(symbols) > 1:
            rank, pair = min((self.rank.get(p, NO_MERGE), p) for p in zip(symbols, symbols[1:]))
            if rank == NO_MERGE:
                break
            symbols = merge_pair(symbols, pair)
        return [self.ids[s] for s in symbols]

    def decode(self, ids):
        pieces = [self.vocab[int(i)] for i in ids]
        text = b"".join(bytes(self.byte_of[c] for c in piece) for piece in pieces if piece not in SPECIAL)
        return text.decode("utf-8", "replace")

    def metadata(self):
        """The tokenizer.ggml pairs of a GGUF file: (key, type, value)."""
        p = "tokenizer.ggml."
        return [
            (p + "model", "str", "gpt2"),
            (p + "pre", "str", "llama-bpe"),
            (p + "tokens", "arr:str", self.vocab),
            (
                p + "token_type",
                "arr:i32",
                [TYPE_CONTROL if v in SPECIAL else TYPE_NORMAL for v in self.vocab],
            ),
            (p + "merges", "arr:str", [a + " " + b for a, b in self.merges]),
            (p + "bos_token_id", "u32", self.bos),
            (p + "eos_token_id", "u32", self.eos),
            (p + "eot_token_id", "u32", self.end_of_turn),
            (p + "add_bos_token", "bool", True),
        ]
