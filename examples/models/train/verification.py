"""Compares torch with an independent program that reads the file: the float64 forward pass of
tests/golden/reference.py."""
import importlib.util

import numpy as np
import torch

from .batches import attention_mask
from .checkpoint import has_checkpoint
from .configs import CONFIGS
from .evaluation import load_trained
from .export import load_gguf
from .prompts import Prompter
from .squad import dev_sample
from .tokenizers import find_or_train

SAMPLE = 300  # number of questions of `eval`, the first few of which are used


def load_module(path):
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def torch_logits(model, ids):
    """The logits of the tokens `ids`, [n_tokens, vocab_size]."""
    row = np.array([ids])
    positions = np.arange(len(ids))[None]
    mask = attention_mask(np.zeros_like(row), positions, model.config.window)
    hidden, _ = model.hidden(*(torch.from_numpy(a) for a in (row, positions, mask)))
    return model.logits(hidden)[0].double().numpy()


def normalised_error(logits, expected):
    """Mean squared error divided by the variance of `expected`, both without the mean of each position."""
    logits = logits - logits.mean(-1, keepdims=True)
    expected = expected - expected.mean(-1, keepdims=True)
    return ((logits - expected) ** 2).sum() / (expected**2).sum()


def verify(args):
    config, reference = CONFIGS[args.arch], load_module(args.reference)
    prompter = Prompter(config, find_or_train(config, args.work, args.train))
    models = {"dequantised": load_gguf(config, args.gguf)}
    if has_checkpoint(args.work):
        models["unquantised"] = load_trained(config, args.work)
    errors, same, positions = {name: [] for name in models}, 0, 0
    for q in dev_sample(args.dev, SAMPLE)[: args.n]:
        ids = prompter.prompt("plain", False, q.contexts["full"], q.question)
        expected = reference.forward(args.gguf, ids)
        for name, model in models.items():
            logits = torch_logits(model, ids)
            errors[name].append(normalised_error(logits, expected))
            if name == "unquantised":
                same += int((logits.argmax(-1) == expected.argmax(-1)).sum())
                positions += len(ids)
    for name, values in errors.items():
        print(
            f"{args.arch}: logits NMSE, reference over the GGUF file against torch with {name} weights: "
            f"{np.mean(values):.2e} (worst {np.max(values):.2e})"
        )
    if positions:
        print(f"{args.arch}: same greedy token, quantised and not: {same} of {positions} positions")
