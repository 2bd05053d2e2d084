"""SQuAD v1.1 files: paragraphs with their sentences and questions, and samples of a development set."""
import json
import random
import re
from dataclasses import dataclass
from typing import NamedTuple

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'“(]?[A-Z0-9])")
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|No|vs|Inc|Ltd|Co|c|ca|etc|approx|U\.S|[A-Z]))\.$")


def sentences(text):
    """[(start, end)] character ranges"""
    ranges, start = [], 0
    for m in SENTENCE_END.finditer(text):
        if not ABBREVIATION.search(text[start : m.start()]):
            ranges.append((start, m.start()))
            start = m.end()
    return ranges + [(start, len(text))]


class Question(NamedTuple):
    text: str
    answer: str
    start: int  # where the answer stands in the paragraph
    golds: list  # every accepted answer


class Paragraph:
    def __init__(self, text, questions):
        self.text, self.questions = text, questions
        self.sentences = sentences(text)

    def sentence_at(self, place):
        """the index of the sentence that holds a character; 0 for one between two sentences"""
        return next((i for i, (start, end) in enumerate(self.sentences) if start <= place < end), 0)


def load(path):
    """every paragraph of a SQuAD file, in order"""
    with open(path, encoding="utf-8") as f:
        articles = json.load(f)["data"]
    paragraphs = []
    for article in articles:
        for p in article["paragraphs"]:
            questions = [
                Question(
                    q["question"].strip(),
                    q["answers"][0]["text"],
                    q["answers"][0]["answer_start"],
                    sorted({a["text"] for a in q["answers"]}),
                )
                for q in p["qas"]
            ]
            paragraphs.append(Paragraph(p["context"], questions))
    return paragraphs


@dataclass
class DevQuestion:
    question: str
    golds: list
    contexts: dict  # "short": the answer's sentence and one on either side; "full": the paragraph


def dev_sample(path, n, seed=1234):
    """the first n of the shuffled questions of a file: the same ones for the same seed"""
    questions = [(p, q) for p in load(path) for q in p.questions]
    random.Random(seed).shuffle(questions)
    sample = []
    for p, q in questions[:n]:
        i = p.sentence_at(q.start)
        start = p.sentences[max(0, i - 1)][0]
        end = p.sentences[min(len(p.sentences) - 1, i + 1)][1]
        sample.append(DevQuestion(q.text, q.golds, {"short": p.text[start:end], "full": p.text}))
    return sample
