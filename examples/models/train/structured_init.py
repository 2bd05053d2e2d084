"""Initialises the weights near circuits that reading requires and that a short training may not find.

Layer 0: a previous-token head and two local-average heads (rotary embedding over a constant component
that all embeddings share). Layer 1: induction, equal-word and bag-of-words matching heads. Layers above:
weak equal-content matching. Every layer above 0 adds a scaled copy of the attended content to the residual
stream (copying).
"""
import torch

CONSTANT = 3.0  # component 0 of every scaled input embedding
RANK = 64  # number of dimensions that each head of layer 0 writes and those of layer 1 read
MATCH_SCORE = 7.0  # attention score of layer 1's heads for equal content
# The heads of layer 0: the range of rotary frequencies used (above, below), the distance with the highest
# score (shift), the number of positions from there (reach) at which the score is lower by `drop`, and the
# strength of the output.
LOCAL_HEADS = [
    dict(above=0.1, below=9, shift=1, reach=1, drop=6.0, strength=1.0),
    dict(above=0.06, below=0.6, shift=0, reach=10, drop=3.0, strength=1.5),
    dict(above=0.015, below=0.2, shift=0, reach=30, drop=3.0, strength=2.0),
]
SLOW = 0.012  # pairs of lower frequencies hardly rotate within a context, so content can be matched in them


class _Views:
    """Views of a layer's attention matrices by head; writing to them changes the model."""

    def __init__(self, model, layer):
        c, w = model.config, model.weights
        self.q = w[f"{layer}_q"].view(c.n_heads, c.head_dim, c.d_model)
        self.k = w[f"{layer}_k"].view(c.n_kv_heads, c.head_dim, c.d_model)
        self.v = w[f"{layer}_v"].view(c.n_kv_heads, c.head_dim, c.d_model)
        self.o = w[f"{layer}_o"].view(c.d_model, c.n_heads, c.head_dim)


@torch.no_grad()
def structure(model, generator):
    c = model.config
    layers = [_Views(model, layer) for layer in range(c.n_layers)]

    def orthonormal(rows):
        """[rows, d_model]: random orthonormal rows with the constant component set to 0."""
        m = torch.linalg.qr(torch.randn(c.d_model, rows, generator=generator))[0].T
        m[:, 0] = 0
        return m

    model.embedding[:, 0] = CONSTANT * c.d_model**-0.5
    for layer in layers:
        for head in range(c.n_kv_heads):
            layer.v[head] = orthonormal(c.head_dim)
    written = _local_heads(c, layers[0], orthonormal)
    _matching_heads(c, layers, written, orthonormal)
    _copying(c, layers)


def _frequencies(config):
    return config.rope_base ** (-torch.arange(0, config.head_dim, 2).double() / config.head_dim)


def _local_heads(config, layer, orthonormal):
    """Layer 0 attends by position only: with a constant key, the score of the token j positions back is a
    sum of cosines. Returns the directions [RANK, d_model] that each head writes to."""
    half, frequencies = config.head_dim // 2, _frequencies(config)
    layer.k.mul_(0.3)
    layer.k[:, :half, 0] = 1.0
    written = []
    for head, h in enumerate(LOCAL_HEADS):
        used = ((frequencies > h["above"]) & (frequencies < h["below"])).double()
        fall = (used * (1 - torch.cos(frequencies * h["reach"]))).sum()
        gain = h["drop"] * config.head_dim**0.5 / (CONSTANT**2 * fall)
        layer.q[head].mul_(0.1)
        layer.q[head][:half, 0] = (gain * used * torch.cos(frequencies * h["shift"])).float()
        layer.q[head][half:, 0] = (-gain * used * torch.sin(frequencies * h["shift"])).float()
        written.append(orthonormal(RANK))
        layer.o[:, head, :] *= 0.3
        layer.o[:, head, :RANK] = written[head].T * h["strength"]
    return written


def _matching_heads(config, layers, written, orthonormal):
    """Layer 1: head 0 attends to tokens that follow an equal token (induction), head 1 to equal tokens,
    head 2 to tokens with the same words around them. Each uses some of the slow rows of its key head."""
    half = config.head_dim // 2
    slow = torch.nonzero(_frequencies(config) < SLOW).flatten()
    rows = torch.stack([slow, slow + half], 1).flatten()
    n = len(rows)
    if config.n_kv_heads == 1:  # (key head, rows of it) for each of the three heads
        shares = [(0, rows[: n // 3]), (0, rows[n // 3 : 2 * n // 3]), (0, rows[2 * n // 3 :])]
    else:
        shares = [(0, rows[: n // 2]), (0, rows[n // 2 :]), (1, rows)]
    q, k, first_v = layers[1].q, layers[1].k, layers[0].v[0]
    k.mul_(0.3)
    for head, (kv_head, share) in enumerate(shares):
        share = share[:RANK]
        n = len(share)
        scale = (MATCH_SCORE * config.head_dim**0.5 / n) ** 0.5
        q[head].mul_(0.2)
        if head == 0:
            k[kv_head][share], q[head][share] = scale * written[0][:n], scale * first_v[:n]
        else:
            k[kv_head][share] = q[head][share] = scale * (orthonormal(n) if head == 1 else written[2][:n])


def _copying(config, layers):
    n_group = config.n_heads // config.n_kv_heads
    for layer in layers[2:]:
        for head in range(0, config.n_heads, 2):
            layer.q[head] = 0.5 * layer.q[head] + 0.7 * layer.k[head // n_group]
    for layer in layers[1:]:
        for head in range(config.n_heads):
            strength = 0.5 if head % 2 == 0 else 0.2
            layer.o[:, head] = layer.o[:, head] + strength * layer.v[head // n_group].T
