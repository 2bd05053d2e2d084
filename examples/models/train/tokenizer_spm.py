"""SentencePiece BPE with byte fallback: the tokenizer of gemma-demo and mistral-demo.

If a model requires the dummy prefix, the caller adds it to the text (prompts.py).
"""
import re

import sentencepiece as spm

TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_BYTE = 1, 2, 3, 6  # tokenizer.ggml.token_type
CACHED_LENGTH, CACHED_PARTS = 80, 200000

SPECIAL_IDS = {
    "gemma": dict(
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        control_symbols=["<start_of_turn>", "<end_of_turn>"],
    ),
    "mistral": dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1),
}


class SpmTokenizer:
    SUFFIX = ".model"

    def __init__(self, config, path):
        self.config = config
        self.sp = spm.SentencePieceProcessor(model_file=path + self.SUFFIX)
        special = SPECIAL_IDS[config.name]
        self.bos, self.eos, self.unknown = special["bos_id"], special["eos_id"], special["unk_id"]
        self.pad = 0
        if config.name == "gemma":
            self.start_of_turn, self.end_of_turn = (
                self.sp.piece_to_id(p) for p in special["control_symbols"]
            )
        else:
            self.end_of_turn = self.eos
        self.cache = {}

    @classmethod
    def train(cls, config, path, lines):
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=path,
            model_type="bpe",
            vocab_size=config.vocab_size,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            character_coverage=0.9995,
            num_threads=1,
            max_sentence_length=100000,
            minloglevel=2,
            **SPECIAL_IDS[config.name]
        )

    def encode(self, text):
        out = []
        for part in re.split(r"(?<=\n)", text):  # pieces do not cross newlines
            if part:
                out += self._encode_part(part)
        return out

    def _encode_part(self, part):
        ids = self.cache.get(part)
        if ids is None:
            ids = self.sp.encode(part)
            if len(part) < CACHED_LENGTH and len(self.cache) < CACHED_PARTS:
                self.cache[part] = ids
        return ids

    def decode(self, ids):
        return b"".join(self._piece_bytes(int(i)) for i in ids).decode("utf-8", "replace")

    def _piece_bytes(self, i):
        if self.sp.is_control(i):
            return b""
        piece = self.sp.id_to_piece(i)
        if self.sp.is_byte(i):  # "<0x41>"
            return bytes([int(piece[3:5], 16)])
        return piece.replace("\u2581", " ").encode()

    def _piece_type(self, i):
        if self.sp.is_byte(i):
            return TYPE_BYTE
        if self.sp.is_control(i):
            return TYPE_CONTROL
        return TYPE_UNKNOWN if self.sp.is_unknown(i) else TYPE_NORMAL

    def metadata(self):
        """The tokenizer.ggml pairs of a GGUF file: (key, type, value)."""
        p = "tokenizer.ggml."
        ids = range(self.sp.get_piece_size())
        pairs = [
            (p + "model", "str", "llama"),
            (p + "pre", "str", "default"),
            (p + "tokens", "arr:str", [self.sp.id_to_piece(i) for i in ids]),
            (p + "scores", "arr:f32", [self.sp.get_score(i) for i in ids]),
            (p + "token_type", "arr:i32", [self._piece_type(i) for i in ids]),
            (p + "bos_token_id", "u32", self.bos),
            (p + "eos_token_id", "u32", self.eos),
            (p + "add_bos_token", "bool", True),
            (p + "add_eos_token", "bool", False),
            (p + "add_space_prefix", "bool", self.config.name == "mistral"),
            (p + "unknown_token_id", "u32", self.unknown),
        ]
        if self.config.name == "gemma":
            pairs += [
                (p + "padding_token_id", "u32", self.pad),
                (p + "eot_token_id", "u32", self.end_of_turn),
            ]
        return pairs
