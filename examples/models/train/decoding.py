"""Greedy decoding with a torch model, several prompts at a time."""
import numpy as np
import torch

from .batches import MASKED, attention_mask

MAX_NEW_TOKENS, ROWS = 24, 32


@torch.no_grad()
def greedy(model, prompts, stop, device):
    """The continuation of each prompt (a list of ids), up to and including the first id of `stop`."""
    out = [None] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for at in range(0, len(by_length), ROWS):
        rows = by_length[at : at + ROWS]
        for i, continuation in zip(rows, _greedy_rows(model, [prompts[i] for i in rows], stop, device)):
            out[i] = continuation
    return out


def _greedy_rows(model, prompts, stop, device):
    """The continuations of one batch. Shorter prompts are padded at the end; padding is masked in
    attention."""

    def tensor(array):
        return torch.from_numpy(array).to(device)

    n_rows, lengths, window = len(prompts), np.array([len(p) for p in prompts]), model.config.window
    ids = np.zeros((n_rows, lengths.max()), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    positions = np.tile(np.arange(ids.shape[1]), (n_rows, 1))  # of every cached token
    live = positions < lengths[:, None]  # which of them are not padding
    cache, continuations = {}, [[] for _ in prompts]
    mask = attention_mask(np.where(live, 0, -1), positions, window)
    hidden = model.hidden(tensor(ids), tensor(positions), tensor(mask), cache=cache)[0]
    hidden = hidden[torch.arange(n_rows, device=device), tensor(lengths - 1)]
    for step in range(MAX_NEW_TOKENS):
        tokens = model.logits(hidden).argmax(-1).cpu().numpy()
        for continuation, token in zip(continuations, tokens):
            if not (continuation and continuation[-1] in stop):
                continuation.append(int(token))
        if all(c[-1] in stop for c in continuations):
            break
        position = (lengths + step)[:, None]
        positions = np.concatenate([positions, position], 1)
        live = np.concatenate([live, np.ones((n_rows, 1), bool)], 1)
        visible = live & (position - positions < window) if window else live
        mask = np.where(visible, 0, MASKED).astype(np.float32)[:, None]
        hidden = model.hidden(tensor(tokens[:, None]), tensor(position), tensor(mask), cache=cache)[0][:, 0]
    return continuations


def answers(model, prompter, questions, which, layout, chat, device):
    """The text of the answer to each DevQuestion. which: "short" or "full" context."""
    tok = prompter.tokenizer
    stop = {tok.eos, tok.end_of_turn}
    prompts = [prompter.prompt(layout, chat, q.contexts[which], q.question) for q in questions]
    return [
        tok.decode([t for t in continuation if t not in stop]).strip()
        for continuation in greedy(model, prompts, stop, device)
    ]
