"""Replaces names and numbers, consistently in context, questions and answers, so that a model must read the
context instead of recalling facts."""
import re

from .spans import MONTHS, STOP_WORDS

NAME = re.compile(r"\b[A-ZÀ-Þ][a-zß-ÿ]{2,}\b")
DIGITS = re.compile(r"\d+")
NOT_NAMES = set(MONTHS) | {w.capitalize() for w in STOP_WORDS}
SYLLABLES = """ba be bo bra bri ca co cor da de dor el en fa fen fi ga gar gro ha hal hu in ja jo ka kel
kin la len li lo ma mar mi mon na nel no ol or pa per pi ra ren ri ro sa sel si so sta ta ten ti tor ul va
ven vi wa wil xa ya yor za zen""".split()
SHARE = 0.8  # share of the names, and of the numbers, that are replaced


def names_in(text):
    """The capitalised words of a text that may be replaced."""
    return {w for w in NAME.findall(text) if w not in NOT_NAMES}


def invented_name(rng):
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3))).capitalize()


def _other_number(digits, rng):
    if len(digits) == 4 and digits[0] in "12":  # a year
        return str(rng.randint(1100, 2019))
    return str(rng.randint(1, 9)) + "".join(rng.choice("0123456789") for _ in digits[1:])


def substitution(text, known_names, rng):
    """Draws names and numbers of `text`; returns a function that replaces them in any text."""
    names, numbers = {}, {}
    for name in sorted(names_in(text)):
        if rng.random() < SHARE:
            names[name] = invented_name(rng) if rng.random() < 0.35 else rng.choice(known_names)
    for digits in sorted(set(DIGITS.findall(text))):
        if rng.random() < SHARE:
            numbers[digits] = _other_number(digits, rng)

    def replace(t):
        t = NAME.sub(lambda m: names.get(m.group(), m.group()), t)
        return DIGITS.sub(lambda m: numbers.get(m.group(), m.group()), t)

    return replace
