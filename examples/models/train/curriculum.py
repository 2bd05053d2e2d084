"""The curriculum: which examples (a context with several questions) are drawn at which time.

`progress` runs from 0 to 1 over the training: drills and templated facts are gradually replaced by real
contexts, which grow from one sentence to the whole paragraph.
"""
import random
import re
from typing import NamedTuple

from .cloze import cloze
from .facts import facts
from .recall import recall
from .substitution import names_in, substitution

MAX_REAL, MAX_FACTS = 5, 5  # questions on one context
SUBSTITUTED = 0.8  # share of the contexts whose names and numbers are replaced


class Ask(NamedTuple):
    """A question of an example."""

    question: str
    answer: str
    real: bool = False  # a question of SQuAD, not a generated one
    occurrence: int = 0  # which of the answer's occurrences in the context is meant


class Curriculum:
    def __init__(self, paragraphs, seed):
        self.paragraphs, self.rng = paragraphs, random.Random(seed)
        self.words = sorted({w for p in paragraphs for w in re.findall(r"[A-Za-z]{4,}", p.text)})
        self.names = sorted({w for p in paragraphs for w in names_in(p.text)})

    def example(self, progress):
        """Draws an example: (context, [Ask])."""
        rng = self.rng
        if rng.random() < max(0.03, 0.5 * (1 - progress / 0.06)):
            text, asked = recall(rng, self.words)
            return text, [Ask(*a) for a in asked]
        if rng.random() < (0.35 if progress < 0.08 else 0.15 if progress < 0.3 else 0.05):
            text, asked = facts(rng, self.names, rng.randint(1, 2 + int(4 * min(1, progress * 6))))
            rng.shuffle(asked)
            return text, [Ask(*a) for a in asked[:MAX_FACTS]]
        text, asked = self._from_paragraph(progress)
        if rng.random() < SUBSTITUTED:
            replace = substitution(text, self.names, rng)
            text = replace(text)
            asked = [a._replace(question=replace(a.question), answer=replace(a.answer)) for a in asked]
        return text, asked

    def _from_paragraph(self, progress):
        """Some sentences of a paragraph, with the real questions on them and generated ones."""
        p = self.rng.choice(self.paragraphs)
        first, last = self._window(p, progress)
        start, end = p.sentences[first][0], p.sentences[last - 1][1]
        real = [
            Ask(q.text, q.answer, True, p.text.count(q.answer, start, q.start))
            for q in p.questions
            if start <= q.start and q.start + len(q.answer) <= end
        ]
        self.rng.shuffle(real)
        return p.text[start:end], real[:MAX_REAL] + self._fill_ins(p, first, last)

    def _window(self, p, progress):
        """A range [first, last) of sentences: mostly around a real answer, and longer with progress."""
        rng, n = self.rng, len(p.sentences)
        length = rng.randint(1, 1 + int(3 * min(1.0, progress / 0.25)))
        if progress > 0.35 and rng.random() < min(0.35, (progress - 0.35) * 1.2):
            length = n
        if rng.random() < 0.75 and p.questions:
            answer_at = p.sentence_at(rng.choice(p.questions).start)
            first = max(0, min(answer_at - rng.randint(0, length - 1), n - 1))
        else:
            first = rng.randint(0, max(0, n - length))
        return first, min(n, first + length)

    def _fill_ins(self, p, first, last):
        made, context_start = [], p.sentences[first][0]
        for _ in range(self.rng.randint(3, 6)):
            start, end = p.sentences[self.rng.randint(first, last - 1)]
            fill_in = cloze(p.text[start:end], self.rng)
            if fill_in and fill_in[1] not in [m.answer for m in made]:
                question, answer, at = fill_in
                made.append(Ask(question, answer, False, p.text.count(answer, context_start, start + at)))
        return made
