"""Scores a model's greedy answers on SQuAD questions: each prompt form, short contexts and whole
paragraphs."""
import json
import random
import re

import torch

from .checkpoint import load_checkpoint
from .configs import CONFIGS
from .decoding import answers
from .export import load_gguf
from .model import Model
from .prompts import LONG_WINDED_START, Prompter
from .scoring import baselines, score
from .squad import dev_sample
from .tokenizers import find_or_train

FORMS = [("plain", False), ("indented", False), ("plain", True)]  # (layout, in the chat template)
CONTEXTS = ("short", "full")


def load_trained(config, work):
    """The model with the averaged weights of the checkpoint in the folder `work`."""
    model = Model(config)
    model.load_state_dict(load_checkpoint(work)["average"])
    return model


def _without_lead_in(answer):
    return re.sub(f"^{LONG_WINDED_START} ", "", answer).rstrip(".")


def _print_samples(model_name, questions, predictions, n):
    """Prints n random answers that match exactly and n that are completely wrong."""
    scores = [score([p], [q.golds]) for q, p in zip(questions, predictions)]
    order = list(range(len(questions)))
    random.Random(3).shuffle(order)
    for title, rows in (
        ("right", [i for i in order if scores[i][0] == 100]),
        ("wrong", [i for i in order if scores[i][1] == 0]),
    ):
        print(f"-- {title}")
        for i in rows[:n]:
            print(
                f"Q: {questions[i].question}\n"
                f"   {model_name}: {predictions[i]!r}   gold: {questions[i].golds[0]!r}"
            )


def evaluate(args):
    config, device = CONFIGS[args.arch], "cuda" if torch.cuda.is_available() else "cpu"
    questions = dev_sample(args.dev, args.n)
    golds = [q.golds for q in questions]
    prompter = Prompter(config, find_or_train(config, args.work, args.train))
    model = (load_gguf(config, args.gguf) if args.gguf else load_trained(config, args.work)).to(device)
    model.compute_type = torch.bfloat16 if args.bf16 else torch.float32
    forms = FORMS[:1] if args.quick else FORMS
    results, first = {}, None
    for which in CONTEXTS:
        for name, predictions in baselines(questions, which).items():
            results[f"{which} / baseline: {name}"] = score(predictions, golds)
    for which in CONTEXTS:
        for layout, chat in forms:
            predictions = answers(model, prompter, questions, which, layout, chat, device)
            form = f"{which} / {layout}" + (" in chat template" if chat else "")
            results[form] = score(predictions, golds)
            if chat and config.long_winded_chat:
                results[f"{form}, without '{LONG_WINDED_START}'"] = score(
                    [_without_lead_in(p) for p in predictions], golds
                )
            first = first or predictions
    for form, (exact, f1) in results.items():
        print(f"{form:70s} EM {exact:5.1f}  F1 {f1:5.1f}")
    _print_samples(f"{args.arch}-demo", questions, first, args.show)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(
                dict(
                    results=results,
                    predictions=first,
                    questions=[q.question for q in questions],
                    golds=golds,
                ),
                f,
                indent=1,
                ensure_ascii=False,
            )
