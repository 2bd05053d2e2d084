"""The article's experiment, as in its notebook: compares answers and speed of three models on SQuAD's questions.

    python article.py --model llama=LLAMA.gguf --model mistral=MISTRAL.gguf --model gemma=GEMMA.gguf \\
        --squad train-v1.1.json -n 60 --seed 1 --out DIR

The notebook's generator is unchanged except for the import of LlamaCpp. Words per second, ranks, Dunn's test by
scikit-posthocs and the bar charts by seaborn are the notebook's as well. Its judge was GPT-3.5; here answers are ranked
by their token F1 against the reference answers, or by the verdicts of gemma-squad's judge (--verdicts
verdicts-JUDGE.jsonl of a run on the same questions).

With the same file, -n and --seed, questions and seeds are those of gemma-squad, so answers, words and ranks equal those
of `gemma-squad run --preset article`; words per second are measured again.

Needs: pip install "gemma_cpp[article]".
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import string
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

TEMPLATE = """
            Use the following pieces of context to answer the question at the end. 
            {context}
            Question: {question}
            Answer:
        """

_U64 = 2**64 - 1


class Question(NamedTuple):
    id: str
    context: str
    question: str
    answers: List[str]


# ---- questions and seeds, as gemma-squad chooses them ----


class SplitMix64:
    """The generator of Steele et al. 2014, whose numbers are the same on every platform."""

    def __init__(self, seed: int) -> None:
        self.state = seed & _U64

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & _U64
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        rejected = 2**64 % n
        while (word := self.next()) < rejected:
            pass
        return word % n


def sampling_seed(run_seed: int, question_id: str) -> int:
    """The seed of one answer, which does not depend on the other questions."""
    hashed = 0xCBF29CE484222325  # FNV-1a
    for byte in question_id.encode():
        hashed = ((hashed ^ byte) * 0x100000001B3) & _U64
    return SplitMix64(run_seed ^ hashed).next()


def read_squad(path: str) -> List[Question]:
    """All questions of a SQuAD file, in the order of the file."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    return [Question(qa["id"], paragraph["context"], qa["question"], [a["text"] for a in qa["answers"]])
            for article in data for paragraph in article["paragraphs"] for qa in paragraph["qas"]]


def select(questions: List[Question], n: int, seed: int) -> List[Question]:
    """The first n questions of a seeded shuffle (0: all), grouped by passage."""
    order = list(range(len(questions)))
    draw = SplitMix64(seed)
    for i in range(len(order), 1, -1):
        j = draw.below(i)
        order[i - 1], order[j] = order[j], order[i - 1]
    groups: Dict[str, List[Question]] = {}
    for i in order[:n] if n else order:
        groups.setdefault(questions[i].context, []).append(questions[i])
    return [question for group in groups.values() for question in group]


# ---- the notebook's generator ----


class LlamaCppGenerator:
    """Asks one model, by a prompt template and LlamaCpp of LangChain."""

    def __init__(self, model_path: str, temperature: float = 0.7, max_tokens: int = 2000, n_ctx: int = 1024,
                 n_threads: Optional[int] = None) -> None:
        from langchain_core.prompts import PromptTemplate

        from gemma_cpp.langchain import LlamaCpp  # was: from langchain_community.llms import LlamaCpp

        self.llm = LlamaCpp(model_path=model_path, temperature=temperature, max_tokens=max_tokens, n_ctx=n_ctx,
                            n_threads=n_threads, verbose=False)
        self.prompt = PromptTemplate(template=TEMPLATE, input_variables=["context", "question"])

    def prompt_of(self, context: str, question: str) -> str:
        return self.prompt.format(context=context, question=question)

    def answer(self, context: str, question: str, seed: int) -> Tuple[str, float]:
        """The answer, and the seconds of the whole call, including the prompt."""
        chain = self.prompt | self.llm.bind(seed=seed)
        begin = time.perf_counter()
        text = chain.invoke({"context": context, "question": question})
        return str(text), time.perf_counter() - begin


def word_count(text: str) -> int:
    """The number of words by the notebook's definition, which ignores digits."""
    return len(re.sub("[^a-zA-Z']+", " ", text).split())


# ---- ranks ----


def normalised(text: str) -> List[str]:
    """The words of a text, normalised as by SQuAD's official metric: lower case, no punctuation, no articles."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(prediction: str, truths: List[str]) -> float:
    """The largest token F1 against any of the reference answers."""
    best = 0.0
    for truth in truths:
        a, b = normalised(prediction), normalised(truth)
        same = sum((collections.Counter(a) & collections.Counter(b)).values())
        if not a or not b:
            best = max(best, float(a == b))
        elif same:
            precision, recall = same / len(a), same / len(b)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def ranks_of(scores: List[float]) -> List[float]:
    """The rank of each score: 1 for the best; equal scores share the mean of their ranks."""
    rounded = [round(s, 9) for s in scores]
    return [1 + sum(o > s for o in rounded) + (sum(o == s for o in rounded) - 1) / 2 for s in rounded]


def read_verdicts(path: str, questions: List[Question], names: List[str]) -> Dict[str, List[float]]:
    """The ranks of each question from gemma-squad's verdicts-JUDGE.jsonl: the mean over the orders in which the answers
    were shown."""
    found: Dict[str, Dict[str, Dict[str, float]]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "ranks" in record and record.get("id"):
            found.setdefault(record["id"], {})[json.dumps(record.get("order"))] = record["ranks"]
    wanted = {q.id for q in questions}
    out = {id: [sum(ranks[name] for ranks in orders.values()) / len(orders) for name in names]
           for id, orders in found.items() if id in wanted}
    if not out:
        sys.exit(f"article.py: {path} ranks none of the questions")
    return out


# ---- the experiment, the test, the charts ----


def ask_all(models: List[Tuple[str, str]], questions: List[Question], arguments: argparse.Namespace) -> List[Dict[str, Any]]:
    rows = []
    for name, path in models:
        generator = LlamaCppGenerator(path, n_threads=arguments.threads)
        for i, q in enumerate(questions, 1):
            text, seconds = generator.answer(q.context, q.question, sampling_seed(arguments.seed, q.id))
            words = word_count(text)
            rows.append({"id": q.id, "model": name, "answer": text, "seconds": seconds, "words": words,
                         "words_per_second": words / seconds, "f1": f1(text, q.answers),
                         "prompt": generator.prompt_of(q.context, q.question)})
            print(f"\r{name}: {i}/{len(questions)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        generator.llm.client.close()
    return rows


def dunn(ranks: Any) -> Any:
    """The p values of all pairs of models by Dunn's test with Holm's correction."""
    import scikit_posthocs

    p = scikit_posthocs.posthoc_dunn(ranks, val_col="rank", group_col="model", p_adjust="holm", sort=False)
    return p.fillna(1.0)  # if all ranks are tied, the statistic is 0 / 0, and nothing differs


def draw(table: Any, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn

    measures = {"words_per_second": "Words per second", "words": "Words per answer", "rank": "Rank (1 is the best)"}
    figure, axes = plt.subplots(1, len(measures), figsize=(4 * len(measures), 4))
    for axis, (column, title) in zip(axes, measures.items()):
        seaborn.barplot(data=table, x="model", y=column, errorbar=("ci", 95), n_boot=1000, seed=1, ax=axis)
        axis.set(title=title, xlabel="", ylabel="")
    figure.tight_layout()
    figure.savefig(out / "bars.png", dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--squad", required=True, metavar="FILE")
    parser.add_argument("-n", type=int, default=60, help="questions; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-t", "--threads", type=int)
    parser.add_argument("--verdicts", metavar="FILE", help="ranks of gemma-squad's judge in place of F1's")
    parser.add_argument("--out", required=True, metavar="DIR")
    arguments = parser.parse_args()
    import pandas

    models = [(name, path) for name, _, path in (m.partition("=") for m in arguments.model)]
    questions = select(read_squad(arguments.squad), arguments.n, arguments.seed)
    rows = ask_all(models, questions, arguments)
    by_question: Dict[str, List[Dict[str, Any]]] = {}
    for row in rows:
        by_question.setdefault(row["id"], []).append(row)
    if arguments.verdicts:
        ranks = read_verdicts(arguments.verdicts, questions, [name for name, _ in models])
    else:
        ranks = {id: ranks_of([row["f1"] for row in group]) for id, group in by_question.items()}
    for id, group in by_question.items():
        for row, rank in zip(group, ranks.get(id, [float("nan")] * len(group))):
            row["rank"] = rank

    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    table = pandas.DataFrame(rows)
    means = table.groupby("model", sort=False)[["words_per_second", "words", "rank"]].mean()
    p = dunn(table.dropna(subset=["rank"])[["model", "rank"]])
    (out / "summary.json").write_text(json.dumps({
        "means": means.to_dict("index"), "dunn": {a: {b: float(p.loc[a, b]) for b in p.columns} for a in p.index}},
        indent=1) + "\n", encoding="utf-8")
    draw(table, out)
    print(means.round(3).to_string())
    print("\nDunn's test of the ranks, p by Holm:")
    print(p.round(4).to_string())


if __name__ == "__main__":
    main()
