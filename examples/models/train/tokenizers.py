"""Finds or trains the tokenizer of a model. Training is deterministic: the same text gives the same
tokenizer.

Both kinds have the same interface: encode(text) -> ids, decode(ids) -> text, metadata() for the GGUF
file, and the ids bos, eos, pad and end_of_turn.
"""
import os

from .prompts import INDENT, INSTRUCTION, LONG_WINDED_START
from .squad import load
from .tokenizer_bpe import BpeTokenizer
from .tokenizer_spm import SpmTokenizer

KINDS = {"spm": SpmTokenizer, "bpe": BpeTokenizer}
PROMPT_TEXTS = [
    INSTRUCTION,
    "Question:",
    "Answer:",
    INDENT + "Question:",
    INDENT + "Answer:",
    INDENT + INSTRUCTION + " ",
    " " * 8,
    " [INST] Use",
    " [/INST]",
    "user",
    "model",
    "assistant",
    LONG_WINDED_START,
]
PROMPT_REPEATS = 60  # often enough for the words of the prompts to become pieces


def training_lines(paragraphs):
    """The contexts, the questions as they appear after "Question:", and the fixed texts of the prompts."""
    lines = []
    for p in paragraphs:
        lines.append(p.text)
        lines += [" " + q.text for q in p.questions]
    return lines + PROMPT_TEXTS * PROMPT_REPEATS


def find_or_train(config, work, train_file):
    """The tokenizer in the folder `work`. If there is none, trains one on `train_file` and stores it
    there."""
    os.makedirs(work, exist_ok=True)
    kind, path = KINDS[config.tokenizer], os.path.join(work, "tok")
    if not os.path.exists(path + kind.SUFFIX):
        if not train_file:
            raise SystemExit(f"{path + kind.SUFFIX} is missing: give --train, to make the tokenizer again")
        kind.train(config, path, training_lines(load(train_file)))
    return kind(config, path)
