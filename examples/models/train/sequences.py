"""Training sequences: one context and the questions on it, as token ids with the weight of each token.

Segment 0 is the context, 1 and up are the questions. A token sees its own segment and the context
(batches.py), and the positions of every question start right after the context.
"""
from dataclasses import dataclass

MAX_LENGTH, ROOM_FOR_QUESTIONS, MAX_ANSWER = 448, 80, 40  # tokens
# Weights of the prediction of a token. Text has a small weight, to learn the language; see batches.py.
CONTEXT_WEIGHT, QUESTION_WEIGHT, LEAD_IN_WEIGHT = 0.07, 0.04, 0.2
REAL_WEIGHT, MADE_WEIGHT, FIRST_TOKEN_FACTOR = 1.0, 0.8, 1.5  # the first token of an answer matters most
# (layout, in the chat template, upper bound of the uniform random number that selects it)
LAYOUTS = [("plain", False, 0.36), ("indented", False, 0.66), ("plain", True, 0.9), ("indented", True, 1.0)]


@dataclass
class Sequence:
    ids: list
    segments: list
    positions: list
    weights: list  # weight of predicting each token from the one before
    pointers: list  # (from, to): position before an answer's token, position of that token in the context

    def append(self, ids, segment, weights, first_position):
        self.ids += ids
        self.segments += [segment] * len(ids)
        self.positions += range(first_position, first_position + len(ids))
        self.weights += weights


class SequenceMaker:
    def __init__(self, curriculum, prompter, tokenizer):
        self.curriculum, self.prompter, self.tokenizer = curriculum, prompter, tokenizer

    def sequence(self, progress):
        while True:
            context, asked = self.curriculum.example(progress)
            if asked:
                draw = self.curriculum.rng.random()
                layout, chat = next((layout, chat) for layout, chat, below in LAYOUTS if draw < below)
                sequence = self._sequence(layout, chat, context, asked)
                if sequence:
                    return sequence

    def _sequence(self, layout, chat, context, asked):
        """A sequence; None if the context is too long or no question fits."""
        prefix = self.prompter.prefix(layout, chat, context)
        if len(prefix) > MAX_LENGTH - ROOM_FOR_QUESTIONS:
            return None
        sequence = Sequence([], [], [], [], [])
        sequence.append(prefix, 0, [0.0] + [CONTEXT_WEIGHT] * (len(prefix) - 1), 0)
        for segment, ask in enumerate(asked, 1):
            self._add_question(sequence, segment, layout, chat, prefix, ask)
        return sequence if len(sequence.ids) > len(prefix) else None

    def _add_question(self, sequence, segment, layout, chat, prefix, ask):
        suffix = self.prompter.suffix(layout, chat, ask.question)
        lead_in, answer = self.prompter.answer(chat, ask.answer)
        if len(sequence.ids) + len(suffix + lead_in + answer) > MAX_LENGTH or len(answer) > MAX_ANSWER:
            return
        body = self.prompter.answer_body(chat, answer)
        found = occurrences(body, prefix)
        if found:
            to = found[min(ask.occurrence, len(found) - 1)]
            start = len(sequence.ids) + len(suffix) + len(lead_in) - 1
            sequence.pointers += [(start + i, to + i) for i in range(len(body))]
        # the part of the suffix after the question is given, not learnt
        learnt = min(len(suffix), len(self.tokenizer.encode(" " + ask.question)) + 2)
        worth = REAL_WEIGHT if ask.real else MADE_WEIGHT
        weights = (
            [QUESTION_WEIGHT] * learnt
            + [0.0] * (len(suffix) - learnt)
            + [LEAD_IN_WEIGHT] * len(lead_in)
            + [worth * FIRST_TOKEN_FACTOR]
            + [worth] * (len(answer) - 1)
        )
        sequence.append(suffix + lead_in + answer, segment, weights, len(prefix))


def occurrences(part, ids):
    """The positions at which the list `part` occurs in the list `ids`."""
    return [
        i for i in range(len(ids) - len(part) + 1) if ids[i] == part[0] and ids[i : i + len(part)] == part
    ]
