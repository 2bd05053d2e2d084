"""Fill-in questions: a span of a sentence is the answer, and the words around it form a rough question."""
from .spans import STOP_WORDS, candidate_spans

KIND_WEIGHT = {"date": 3.0, "number": 2.5, "name": 3.0, "chunk": 1.0}
AUXILIARIES = ["did", "was", "is", "does", "were", "has", "are", "do"]
MARKS = ".,;:()\"“”"


def _question_word(kind, word_before, many_words, rng):
    if kind == "date":
        return rng.choice(["when", "when", "in what year", "what year", "on what date"])
    if kind == "number":
        return rng.choice(["how many", "how many", "how much", "what number", "what"])
    if kind == "chunk":
        return rng.choice(["what", "what", "what", "what kind of", "what type of", "how", "which"])
    if word_before in ("in", "at", "from", "to", "near"):
        return rng.choice(["where", "in what place", "what", "who"])
    if many_words:
        return rng.choice(["who", "who", "what", "which", "whose name"])
    return rng.choice(["who", "what", "what", "which"])


def _thin(words, share, rng):
    """Drops words with probability `share`; from 0.3 on, words other than stop words with half of it."""

    def chance(word):
        return share if word.lower() in STOP_WORDS or share < 0.3 else share / 2

    return [w for w in words if rng.random() >= chance(w)]


def _inflect(word, rng):
    """The word, sometimes without its ending, so that the model learns to match stems as well."""
    word = word.strip(MARKS)
    if rng.random() >= 0.12:
        return word
    if word.endswith("s") and len(word) > 4:
        return word[:-1]
    return word[:-2] if word.endswith("ed") and len(word) > 5 else word


def _arrange(wh, left, right, style, rng):
    """The words of the question in one of four orders, chosen by `style`, uniform in [0, 1)."""
    if style < 0.35:
        return left + [wh] + right
    if style < 0.7:
        auxiliary = [rng.choice(AUXILIARIES)] if rng.random() < 0.6 and left else []
        return [wh] + auxiliary + left + right
    if style < 0.85:
        return [wh] + right + left
    words = [w for w in left + right if w.lower() not in STOP_WORDS] or left + right
    if rng.random() < 0.5:
        rng.shuffle(words)
    return [wh, rng.choice(AUXILIARIES)] + words


def cloze(sentence, rng):
    """A fill-in question from one sentence: (question, answer, start of the answer), or None."""
    candidates = candidate_spans(sentence)
    if not candidates:
        return None
    span = rng.choices(candidates, [KIND_WEIGHT[c.kind] for c in candidates])[0]
    answer = sentence[span.start : span.end]
    left = sentence[: span.start].split()
    right = [w for w in sentence[span.end :].split() if any(ch.isalnum() for ch in w)]
    word_before = left[-1].lower() if left else ""
    wh = _question_word(span.kind, word_before, " " in answer, rng)
    if wh.startswith(("in ", "on ", "when", "where")) and word_before in ("in", "on", "at", "from"):
        left = left[:-1]
    style = rng.random()
    n_left, n_right = rng.randint(2, 9), rng.randint(0, 7)
    if len(left) < 3:
        n_right += 4
    left, right = left[-n_left:], right[:n_right]
    if len(left) + len(right) < 2:
        return None
    share = rng.choice([0.0, 0.1, 0.3])
    left, right = _thin(left, share, rng), _thin(right, share, rng)
    left, right = [_inflect(w, rng) for w in left], [_inflect(w, rng) for w in right]
    question = " ".join(w for w in _arrange(wh, left, right, style, rng) if w)
    if len(question.split()) < 3:
        return None
    return question[0].upper() + question[1:] + rng.choice(["?", "?", "?", ""]), answer, span.start
