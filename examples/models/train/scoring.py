"""Exact match and F1 with SQuAD's official normalisation, and two baselines without a language model."""
import random
import re
import string
from collections import Counter

import numpy as np

from .spans import candidate_spans
from .squad import sentences


def normalise(text):
    text = "".join(ch for ch in text.lower() if ch not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(predicted, gold):
    p, g = normalise(predicted).split(), normalise(gold).split()
    common = sum((Counter(p) & Counter(g)).values())
    return 2 * common / (len(p) + len(g)) if common else 0.0


def score(predictions, golds):
    """(mean exact match, mean F1) in percent; for each question the best over its gold answers."""
    exact = [max(float(normalise(p) == normalise(g)) for g in gs) for p, gs in zip(predictions, golds)]
    f1s = [max(f1(p, g) for g in gs) for p, gs in zip(predictions, golds)]
    return 100 * float(np.mean(exact)), 100 * float(np.mean(f1s))


def _random_span(context, rng):
    words = context.split()
    n = rng.choice([1, 1, 2, 2, 3, 4])
    start = rng.randrange(max(1, len(words) - n))
    return " ".join(words[start : start + n]).strip(".,;:()\"")


def _span_of_asked_kind(context, question, rng):
    question = question.lower()
    asked = (
        "date"
        if "when" in question or "year" in question
        else "number"
        if "how many" in question or "how much" in question
        else "name"
        if "who" in question or "where" in question
        else None
    )
    spans = []
    for start, end in sentences(context):
        sentence = context[start:end]
        spans += [(sentence[s.start : s.end], s.kind) for s in candidate_spans(sentence)]
    texts = (
        [t for t, kind in spans if kind == asked]
        or [t for t, kind in spans if kind in ("name", "chunk")]
        or [t for t, _ in spans]
        or [""]
    )
    return rng.choice(texts)


def baselines(questions, which, seed=7):
    """{name: predictions}: a random span, and a random span of the kind that the question word asks for."""
    rng = random.Random(seed)
    pairs = [
        (_random_span(q.contexts[which], rng), _span_of_asked_kind(q.contexts[which], q.question, rng))
        for q in questions
    ]
    any_span, asked_kind = zip(*pairs)
    return {"random span": any_span, "random span of the asked kind": asked_kind}
