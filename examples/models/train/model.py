"""The decoder: gemma or llama blocks, in torch, for training and for checking files.

Rotary embedding is half-split throughout (the rows of q and k of llama files are permuted by the export).
Norms hold the multiplier itself. Input and output embedding are one matrix, the input scaled by
sqrt(d_model). Weights are kept in float32; matrix products run in `compute_type`.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .structured_init import structure

MAX_POSITIONS = 4096
POINTING_LAYERS = 2  # the last layers, whose head 0 is trained to attend to the answer


class GatedActivation(torch.autograd.Function):
    """activation(gate) * up; written out because the bfloat16 CPU kernels for GELU and SiLU are slow"""

    @staticmethod
    def forward(ctx, gate, up, activation):
        g = gate.float()
        if activation == "gelu":  # tanh approximation: x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
            k = 2 * math.sqrt(2 / math.pi)
            g2 = g * g
            s = torch.sigmoid(g * (g2 * (k * 0.044715) + k))
            a = g * s
            da = s + a * (1 - s) * (g2 * (3 * k * 0.044715) + k)
        else:
            s = torch.sigmoid(g)
            a = g * s
            da = s + a * (1 - s)
        a = a.to(gate.dtype)
        ctx.save_for_backward(up, a, da.to(gate.dtype))
        return a * up

    @staticmethod
    def backward(ctx, dy):
        up, a, da = ctx.saved_tensors
        return dy * up * da, dy * a, None


class Model(nn.Module):
    def __init__(self, config, seed=0):
        super().__init__()
        self.config, self.compute_type = config, torch.float32
        generator = torch.Generator().manual_seed(seed)

        def normal(rows, columns, factor=1.0):
            values = torch.randn(rows, columns, generator=generator)
            return nn.Parameter(values * (factor * columns**-0.5))

        c = config
        self.embedding = normal(c.vocab_size, c.d_model)
        # set if a file's input embedding, scaled and quantised separately, is used
        self.register_buffer("input_embedding", None, persistent=False)
        self.weights = nn.ParameterDict()
        for layer in range(c.n_layers):
            self.weights[f"{layer}_q"] = normal(c.n_heads * c.head_dim, c.d_model)
            self.weights[f"{layer}_k"] = normal(c.n_kv_heads * c.head_dim, c.d_model)
            self.weights[f"{layer}_v"] = normal(c.n_kv_heads * c.head_dim, c.d_model)
            self.weights[f"{layer}_o"] = normal(c.d_model, c.n_heads * c.head_dim, 0.2)
            self.weights[f"{layer}_gate"] = normal(c.d_ff, c.d_model)
            self.weights[f"{layer}_up"] = normal(c.d_ff, c.d_model)
            self.weights[f"{layer}_down"] = normal(c.d_model, c.d_ff, 0.2)
            self.weights[f"{layer}_attn_norm"] = nn.Parameter(torch.ones(c.d_model))
            self.weights[f"{layer}_ffn_norm"] = nn.Parameter(torch.ones(c.d_model))
        self.norm = nn.Parameter(torch.ones(c.d_model))
        self._rope_table = None
        structure(self, generator)

    def hidden(self, ids, positions, mask, pointers=None, cache=None):
        """(final hidden states [n_rows, n_tokens, d_model], pointer losses)

        pointers: (rows, from, to). The pointer losses of each pointing layer are -log of the attention
        [n_pointers] of head 0 from the position before an answer's token to that token's position in the
        context; minimising them trains the head to attend to answers. Without pointers the list is empty.
        cache: a dict that keeps keys and values between calls; the mask then covers the cached positions as
        well.
        """
        rotation = self._rotation(positions)
        mask = mask.to(self.compute_type).view(len(ids), 1, 1, ids.shape[1], -1)
        if self.input_embedding is None:
            x = self.embedding[ids] * math.sqrt(self.config.d_model)
        else:
            x = self.input_embedding[ids]
        pointer_losses = []
        for layer in range(self.config.n_layers):
            out, attention = self._attention(
                layer, self._normed(x, f"{layer}_attn_norm"), rotation, mask, cache
            )
            if pointers is not None and layer >= self.config.n_layers - POINTING_LAYERS:
                rows, places, targets = pointers
                pointer_losses.append(-(attention[rows, 0, 0, places, targets].float() + 1e-5).log())
            x = x + out
            x = x + self._feed_forward(layer, self._normed(x, f"{layer}_ffn_norm"))
        return self._rms_norm(x, self.norm), pointer_losses

    def logits(self, hidden):
        return F.linear(hidden, self.embedding.to(self.compute_type)).float()

    def _weight(self, layer, name):
        return self.weights[f"{layer}_{name}"].to(self.compute_type)

    def _normed(self, x, name):
        return self._rms_norm(x, self.weights[name])

    def _rms_norm(self, x, weight):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.rms_eps)
        return (x * scale * weight).to(self.compute_type)

    def _rotation(self, positions):
        """(cos, sin) of the rotary angles, each [n_rows, n_tokens, 1, head_dim / 2]."""
        if self._rope_table is None or self._rope_table[0].device != positions.device:
            head_dim = self.config.head_dim
            frequencies = self.config.rope_base ** (
                -torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
            )
            angles = torch.arange(MAX_POSITIONS, dtype=torch.float64)[:, None] * frequencies
            self._rope_table = [t.float().to(positions.device) for t in (angles.cos(), angles.sin())]
        return [t[positions].to(self.compute_type)[:, :, None] for t in self._rope_table]

    def _attention(self, layer, h, rotation, mask, cache):
        """(output [n_rows, n_tokens, d_model], attention [n_rows, n_kv_heads, heads of a group, n_tokens,
        n_places])"""
        c = self.config
        n_rows, n_tokens, _ = h.shape
        n_group, head_dim, n_kv = c.n_heads // c.n_kv_heads, c.head_dim, c.n_kv_heads
        q = F.linear(h, self._weight(layer, "q") * head_dim**-0.5).view(
            n_rows, n_tokens, c.n_heads, head_dim
        )
        k = F.linear(h, self._weight(layer, "k")).view(n_rows, n_tokens, n_kv, head_dim)
        v = F.linear(h, self._weight(layer, "v")).view(n_rows, n_tokens, n_kv, head_dim)
        q = _rotate(q, rotation).view(n_rows, n_tokens, n_kv, n_group, head_dim)
        q = q.permute(0, 2, 3, 1, 4).reshape(n_rows * n_kv, n_group * n_tokens, head_dim)
        k = _rotate(k, rotation).permute(0, 2, 3, 1).reshape(n_rows * n_kv, head_dim, n_tokens)
        v = v.permute(0, 2, 1, 3).reshape(n_rows * n_kv, n_tokens, head_dim)
        if cache is not None:
            if layer in cache:
                k, v = torch.cat([cache[layer][0], k], 2), torch.cat([cache[layer][1], v], 1)
            cache[layer] = (k, v)
        attention = (torch.bmm(q, k).view(n_rows, n_kv, n_group, n_tokens, -1) + mask).softmax(-1)
        out = torch.bmm(attention.view(n_rows * n_kv, n_group * n_tokens, -1), v)
        out = out.view(n_rows, n_kv, n_group, n_tokens, head_dim).permute(0, 3, 1, 2, 4)
        return F.linear(out.reshape(n_rows, n_tokens, -1), self._weight(layer, "o")), attention

    def _feed_forward(self, layer, h):
        gate, up = F.linear(h, self._weight(layer, "gate")), F.linear(h, self._weight(layer, "up"))
        return F.linear(
            GatedActivation.apply(gate, up, self.config.activation), self._weight(layer, "down")
        )


def _rotate(x, rotation):
    """x [n_rows, n_tokens, n_heads, head_dim] with the pairs (i, i + head_dim / 2) rotated."""
    cos, sin = rotation
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
