"""Spans of a sentence that a question could ask for: dates, numbers, names and noun chunks."""
import re
from typing import NamedTuple

STOP_WORDS = set(
    """a an the of in on at to for from by with and or but nor as is are was were be been being it its
this that these those he she they his her their them him i we you our your which who whom whose what when
where why how not no also into than then there such other some any all more most many much few each both
between during before after over under about against through while because if so can could may might must
shall should will would do does did has have had having however although only same own very just up out
off down again further once here s t one two three first second new later since until within without among
including became become used made known called often usually several like well even still""".split()
)
MONTHS = "January February March April May June July August September October November December".split()

_MONTH = "|".join(MONTHS)
DATE = re.compile(rf"\b(?:(?:{_MONTH}) (?:\d{{1,2}}, )?)?(?:1\d{{3}}|20\d\d)\b|\b(?:{_MONTH}) \d{{1,2}}\b")
NUMBER = re.compile(
    r"[$£€]?\d[\d,.]*\d%?|[$£€]?\d%?"
    r"|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|hundred)\b"
)
UNIT = re.compile(r" (?:million|billion|percent|thousand|years|people|miles|km)\b")
CAPITALISED = re.compile(r"[A-Z][\w'’\-]+(?:(?: of| the| and| de| for)*,? [A-Z][\w'’\-]+)*|[A-Z][\w'’\-]+")
WORD = re.compile(r"[^\s]+")
PUNCTUATION = ".,;:!?)\"”"


class Span(NamedTuple):
    start: int
    end: int
    kind: str  # "date", "number", "name" or "chunk"


def _overlaps(match, spans):
    return any(s.start < match.end() and match.start() < s.end for s in spans)


def _names(sentence, taken):
    """Runs of capitalised words, without a stop word at the beginning of the sentence and without a final
    's."""
    names = []
    for m in CAPITALISED.finditer(sentence):
        if m.group().lower() in STOP_WORDS or _overlaps(m, taken):
            continue
        start, end = m.span()
        first_word = m.group().split(" ")[0]
        if start == 0 and first_word.lower() in STOP_WORDS:
            start += len(first_word) + 1
        if sentence[start:end].endswith(("'s", "’s")):
            end -= 2
        if 2 < end - start < 60:
            names.append(Span(start, end, "name"))
    return names


def _chunks(sentence):
    """Runs of up to four lower-case words between stop words and punctuation."""
    words = [m.span() for m in WORD.finditer(sentence)]
    chunks, i = [], 0
    while i < len(words):
        j = i
        while j < len(words) and j - i < 4:
            word = sentence[slice(*words[j])]
            core = word.rstrip(PUNCTUATION)
            if not core or core.lower() in STOP_WORDS or not core[0].isalpha() or core[0].isupper():
                break
            j += 1
            if core != word:
                break
        if j > i:
            start = words[i][0]
            end = start + len(sentence[start : words[j - 1][1]].rstrip(PUNCTUATION))
            if end - start > 3:
                chunks.append(Span(start, end, "chunk"))
        i = max(j, i + 1)
    return chunks


def candidate_spans(sentence):
    """All spans. Dates, numbers and names do not overlap one another; a chunk contains none of them."""
    dates = [Span(m.start(), m.end(), "date") for m in DATE.finditer(sentence)]
    bare_numbers = [m for m in NUMBER.finditer(sentence) if not _overlaps(m, dates)]
    numbers = []
    for m in bare_numbers:
        unit = UNIT.match(sentence, m.end())
        numbers.append(Span(m.start(), unit.end() if unit else m.end(), "number"))
    taken = dates + [Span(m.start(), m.end(), "number") for m in bare_numbers]
    return dates + numbers + _names(sentence, taken) + _chunks(sentence)
