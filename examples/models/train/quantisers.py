"""Q4_K and Q6_K: rows of 256 float32 values to and from the blocks of ggml's formats.

Written from the formats' layouts; the searches for good scales are this project's own. The decoders
compute in float32, as the formats define them.
"""
import numpy as np

SUPER = 256  # values in a block
Q4_K_BYTES, Q6_K_BYTES = 144, 210
TINY = 1e-30


def _half(x):
    """x rounded to half precision, the type of a block's scales."""
    return x.astype(np.float16)


def _half_bytes(x):
    return _half(x).view(np.uint8).reshape(len(x), 2)


def _nonzero(x):
    """x with 1 in place of 0: a divisor where the quotient of 0 is not used."""
    return np.where(x != 0, x, 1)


# ---- Q4_K: x = d * scale_j * q - dmin * min_j; q in 0..15, 8 sub-blocks of 32 with 6-bit scale_j a
def quantise_q4_k(values):
    """[n, 256] float32 -> [n, 144] bytes"""
    n = len(values)
    x = values.reshape(n, 8, 32).astype(np.float64)
    importance = np.sqrt((x * x).mean(-1, keepdims=True)) + np.abs(x)
    scale, minimum = _fit_sub_blocks_q4_k(x, importance)
    best, best_error = None, np.full(n, np.inf)
    for factor in (1.0, 0.96, 1.04):
        tried = _round_super_block_q4_k(x, scale, minimum, factor)
        error = (importance * (_values_q4_k(*tried) - x) ** 2).sum((-1, -2))
        better = error < best_error
        if best is None:
            best = tried
        else:
            for kept, new in zip(best, tried):
                kept[better] = new[better]
        best_error = np.where(better, error, best_error)
    return _pack_q4_k(*best)


def _fit_sub_blocks_q4_k(x, importance):
    """(scale, min), each [n, 8]: the best of several roundings, each with its weighted least-squares
    fit."""
    sum_w, sum_wx = importance.sum(-1), (importance * x).sum(-1)
    low = np.minimum(x.min(-1), 0)
    span = np.maximum(x.max(-1) - low, 1e-12)
    best_error = np.full(x.shape[:2], np.inf)
    scale, offset = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])
    for step in range(-10, 11):
        inverse = (15 + 0.1 * step) / span
        q = np.clip(np.rint((x - low[..., None]) * inverse[..., None]), 0, 15)
        sum_q, sum_qq = (importance * q).sum(-1), (importance * q * q).sum(-1)
        sum_xq = (importance * q * x).sum(-1)
        determinant = sum_w * sum_qq - sum_q * sum_q
        solvable = determinant > 0
        determinant = np.where(solvable, determinant, 1)
        s, m = (sum_w * sum_xq - sum_wx * sum_q) / determinant, (
            sum_qq * sum_wx - sum_q * sum_xq
        ) / determinant
        positive = m > 0  # the format subtracts a minimum of at least 0, so no offset above 0 is possible
        s, m = np.where(positive, sum_xq / np.maximum(sum_qq, TINY), s), np.where(positive, 0, m)
        error = (importance * (s[..., None] * q + m[..., None] - x) ** 2).sum(-1)
        error = np.where(solvable, error, np.inf)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        scale, offset = np.where(better, s, scale), np.where(better, m, offset)
    return scale, -offset


def _round_super_block_q4_k(x, scale, minimum, factor):
    """[d, dmin, scales, mins, q], where d is `factor` times the usual one and the scales of sub-blocks are
    6-bit multiples of it."""
    d = _half(np.maximum(scale.max(-1), 0) / 63 * factor).astype(np.float64)
    dmin = _half(np.maximum(minimum.max(-1), 0) / 63).astype(np.float64)
    scales = np.clip(np.rint(scale / _nonzero(d)[:, None]), 0, 63)
    mins = np.clip(np.rint(minimum / _nonzero(dmin)[:, None]), 0, 63)
    sub_scale, sub_min = (d[:, None] * scales)[..., None], (dmin[:, None] * mins)[..., None]
    q = np.clip(np.rint((x + sub_min) / _nonzero(sub_scale)), 0, 15)
    return [d, dmin, scales, mins, np.where(sub_scale > 0, q, 0)]


def _values_q4_k(d, dmin, scales, mins, q):
    return (d[:, None] * scales)[..., None] * q - (dmin[:, None] * mins)[..., None]


def _pack_q4_k(d, dmin, scales, mins, q):
    n = len(d)
    scales, mins, q = (
        scales.astype(np.uint8),
        mins.astype(np.uint8),
        q.astype(np.uint8).reshape(n, 4, 2, 32),
    )
    b = np.zeros((n, Q4_K_BYTES), np.uint8)
    b[:, 0:2], b[:, 2:4] = _half_bytes(d), _half_bytes(dmin)
    b[:, 4:8] = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    b[:, 8:12] = mins[:, :4] | (mins[:, 4:] >> 4) << 6
    b[:, 12:16] = (scales[:, 4:] & 15) | (mins[:, 4:] & 15) << 4
    b[:, 16:] = (q[:, :, 0] | q[:, :, 1] << 4).reshape(n, 128)
    return b


def dequantise_q4_k(b):
    """[n, 144] bytes -> [n, 256] float32"""
    n = len(b)
    d, dmin = (b[:, i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
    low_scales, low_mins, high = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scales = np.concatenate([low_scales & 63, (high & 15) | (low_scales >> 6) << 4], 1).astype(np.float32)
    mins = np.concatenate([low_mins & 63, (high >> 4) | (low_mins >> 6) << 4], 1).astype(np.float32)
    q = b[:, 16:].reshape(n, 4, 32)
    q = np.stack([q & 15, q >> 4], 2).reshape(n, 8, 32).astype(np.float32)
    return ((d * scales)[..., None] * q - (dmin * mins)[..., None]).reshape(n, SUPER)


# ---- Q6_K: x = d * scale_j * q; q in -32..31, 16 sub-blocks of 16 with 8-bit scale_j -------------
def quantise_q6_k(values):
    """[n, 256] float32 -> [n, 210] bytes"""
    n = len(values)
    x = values.reshape(n, 16, 16).astype(np.float64)
    scale = _fit_sub_blocks_q6_k(x)
    largest = np.abs(scale).argmax(-1)[:, None]
    d = _half(np.take_along_axis(scale, largest, -1)[:, 0] / -128).astype(np.float64)
    scales = np.clip(np.rint(scale / _nonzero(d)[:, None]), -128, 127)
    sub_scale = (d[:, None] * scales)[..., None]
    q = np.clip(np.rint(x / _nonzero(sub_scale)), -32, 31)
    return _pack_q6_k(d, scales, np.where(sub_scale != 0, q, 0))


def _fit_sub_blocks_q6_k(x):
    """scale [n, 16]: of several roundings, that with the best least-squares fit, weighted by x squared."""
    at = np.abs(x).argmax(-1)[..., None]
    extreme = np.take_along_axis(x, at, -1)[..., 0]
    best_gain, scale, weight = np.full(extreme.shape, -1.0), np.zeros(extreme.shape), x * x
    for step in range(-9, 10):
        inverse = -(32 + 0.1 * step) / _nonzero(extreme)
        q = np.clip(np.rint(x * inverse[..., None]), -32, 31)
        sum_xq, sum_qq = (weight * x * q).sum(-1), (weight * q * q).sum(-1)
        gain = sum_xq * sum_xq / np.maximum(sum_qq, TINY)
        better = (gain > best_gain) & (sum_qq > 0)
        best_gain = np.where(better, gain, best_gain)
        scale = np.where(better, sum_xq / np.maximum(sum_qq, TINY), scale)
    return np.where(extreme == 0, 0, scale)


def _pack_q6_k(d, scales, q):
    n = len(d)
    q = (q + 32).astype(np.uint8).reshape(n, 2, 4, 32)
    low, high = q & 15, q >> 4
    b = np.zeros((n, Q6_K_BYTES), np.uint8)
    b[:, :128] = np.stack([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], 2).reshape(
        n, 128
    )
    b[:, 128:192] = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(
        n, 64
    )
    b[:, 192:208] = scales.astype(np.int8).view(np.uint8)
    b[:, 208:210] = _half_bytes(d)
    return b


def dequantise_q6_k(b):
    """[n, 210] bytes -> [n, 256] float32"""
    n = len(b)
    low, high = b[:, :128].reshape(n, 2, 64), b[:, 128:192].reshape(n, 2, 32)
    low = np.stack([low[..., :32] & 15, low[..., 32:] & 15, low[..., :32] >> 4, low[..., 32:] >> 4], 2)
    high = np.stack([high >> 2 * i & 3 for i in range(4)], 2)
    q = (low | high << 4).astype(np.float32).reshape(n, 16, 16) - 32
    d = b[:, 208:210].copy().view(np.float16).astype(np.float32)
    return ((d * b[:, 192:208].view(np.int8).astype(np.float32))[..., None] * q).reshape(n, SUPER)
