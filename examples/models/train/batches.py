"""Batches of training sequences of similar length, and the attention mask of several questions on one
context.

The model also learns a little to predict text (context and questions): in each batch a random part of the
text tokens is predicted, with a weight that compensates for the others.
"""
from typing import NamedTuple

import numpy as np
import torch

POOL = 128  # sequences that are sorted by length and cut into batches together
TEXT_SHARE = 0.15  # share of the text tokens that are predicted
MAX_TEXT_WEIGHT = 0.15  # smaller weights are of text, larger ones of answers and their introductions
MASKED = -1e30


class Batch(NamedTuple):
    ids: torch.Tensor  # [n_rows, n_tokens]
    positions: torch.Tensor  # [n_rows, n_tokens]
    mask: torch.Tensor  # [n_rows, n_tokens, n_tokens], added to attention scores
    places: torch.Tensor  # [n_predicted], flat indices of the tokens whose successor is predicted
    targets: torch.Tensor  # [n_predicted], the successors
    weights: torch.Tensor  # [n_predicted]
    pointers: tuple  # (rows, from, to), each [n_pointers]


def attention_mask(segments, positions, window):
    """[n_rows, n_tokens, n_tokens] of 0 or MASKED. A token sees the preceding tokens of its own segment and
    of segment 0, and itself, so that no row is empty; with a window, only tokens fewer than `window`
    positions back."""
    place = np.arange(segments.shape[1])
    causal = (place[None, :] <= place[:, None])[None]
    visible = causal & ((segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None]))
    if window:
        visible &= (positions[:, :, None] - positions[:, None, :]) < window
    visible |= np.eye(len(place), dtype=bool)[None]
    return np.where(visible, 0, MASKED).astype(np.float32)


class Batcher:
    def __init__(self, maker, config, tokenizer, device):
        self.maker, self.config, self.device = maker, config, device
        self.pad, self.rng = tokenizer.pad, maker.curriculum.rng

    def batches(self, progress, n_tokens):
        """An endless iterator over batches of up to n_tokens. progress() is the current position in the
        curriculum."""
        choice = np.random.default_rng(self.rng.randint(0, 1 << 30))
        while True:
            pool = sorted((self.maker.sequence(progress()) for _ in range(POOL)), key=lambda s: len(s.ids))
            groups, group = [], []
            for s in pool:
                if group and (len(group) + 1) * len(s.ids) > n_tokens:
                    groups.append(group)
                    group = []
                group.append(s)
            if len(group) * len(group[-1].ids) > n_tokens // 2:
                groups.append(group)
            self.rng.shuffle(groups)
            for group in groups:
                yield self.collate(group, choice)

    def collate(self, group, choice):
        n_rows, n_tokens = len(group), -(-max(len(s.ids) for s in group) // 8) * 8
        ids = np.full((n_rows, n_tokens), self.pad, np.int64)
        segments = np.full((n_rows, n_tokens), -1, np.int64)
        positions = np.zeros((n_rows, n_tokens), np.int64)
        targets = np.zeros((n_rows, n_tokens), np.int64)
        weights = np.zeros((n_rows, n_tokens), np.float32)
        for row, s in enumerate(group):
            n = len(s.ids)
            ids[row, :n], segments[row, :n], positions[row, :n] = s.ids, s.segments, s.positions
            # the preceding token predicts a token; the first token of a question is not predicted
            same_segment = segments[row, 1:n] == segments[row, : n - 1]
            targets[row, : n - 1] = s.ids[1:]
            weights[row, : n - 1] = np.where(same_segment, np.array(s.weights[1:], np.float32), 0)
        text = (weights > 0) & (weights < MAX_TEXT_WEIGHT)
        weights[text & (choice.random(weights.shape) > TEXT_SHARE)] = 0
        weights[text] /= TEXT_SHARE
        places = np.flatnonzero(weights.ravel())
        pointers = np.array(
            [(row, *p) for row, s in enumerate(group) for p in s.pointers], np.int64
        ).reshape(-1, 3)
        return Batch(
            self._tensor(ids),
            self._tensor(positions),
            self._tensor(attention_mask(segments, positions, self.config.window)),
            self._tensor(places),
            self._tensor(targets.ravel()[places]),
            self._tensor(weights.ravel()[places]),
            tuple(self._tensor(column) for column in np.ascontiguousarray(pointers.T)),
        )

    def _tensor(self, array):
        return torch.from_numpy(array).to(self.device)
