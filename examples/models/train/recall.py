"""Drills for copying: a list of random words, to be continued after the words that the question quotes."""
from .substitution import invented_name

N_QUESTIONS = 5


def recall(rng, vocabulary):
    """A random drill: (the words, [(question, answer)])."""
    n = rng.randint(8, 24)
    words = [invented_name(rng).lower() if rng.random() < 0.3 else rng.choice(vocabulary) for _ in range(n)]
    questions = []
    for _ in range(N_QUESTIONS):
        length = rng.randint(2, 5)
        start = rng.randint(1, n - length)
        quoted = words[max(0, start - rng.randint(1, 3)) : start]
        questions.append(
            ("What comes after " + " ".join(quoted) + "?", " ".join(words[start : start + length]))
        )
    return " ".join(words) + ".", questions
