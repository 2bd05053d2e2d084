"""Writes GGUF version 3 files with F32, Q4_K and Q6_K tensors, and reads their tensors back.

Everything is little-endian. Shapes here are [rows, columns]; the file names the fastest dimension first.
"""
import struct
from typing import NamedTuple

import numpy as np

from .quantisers import (
    Q4_K_BYTES,
    Q6_K_BYTES,
    SUPER,
    dequantise_q4_k,
    dequantise_q6_k,
    quantise_q4_k,
    quantise_q6_k,
)

F32, Q4_K, Q6_K = 0, 12, 14  # tensor types
QUANTISE = {Q4_K: quantise_q4_k, Q6_K: quantise_q6_k}
DEQUANTISE = {Q4_K: dequantise_q4_k, Q6_K: dequantise_q6_k}
BLOCK_BYTES = {Q4_K: Q4_K_BYTES, Q6_K: Q6_K_BYTES}
ALIGNMENT = 32
STRING, ARRAY = 8, 9  # types of metadata values
SCALARS = {"u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"), "bool": (7, "?")}  # number, format character
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of every scalar type


class Tensor(NamedTuple):
    name: str
    values: np.ndarray  # [rows, columns] or [columns]
    type: int


# ---- writing -------------------------------------------------------------------------------------
def _string(text):
    b = text.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def _pair(key, type_name, value):
    """The bytes of a pair. type_name: that of a scalar, "str", or "arr:" and the type of the elements."""
    head = _string(key)
    if type_name == "str":
        return head + struct.pack("<I", STRING) + _string(value)
    if not type_name.startswith("arr:"):
        number, layout = SCALARS[type_name]
        return head + struct.pack("<I", number) + struct.pack("<" + layout, value)
    element = type_name[len("arr:") :]
    if element == "str":
        return head + struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(_string(v) for v in value)
    number, layout = SCALARS[element]
    return (
        head
        + struct.pack("<IIQ", ARRAY, number, len(value))
        + struct.pack(f"<{len(value)}{layout}", *value)
    )


def _padding(n):
    return b"\0" * (-n % ALIGNMENT)


def write(path, metadata, tensors):
    """Writes a file. metadata: a list of (key, type name, value); tensors: a list of Tensor."""
    infos, blobs, offset = [], [], 0
    for name, values, kind in tensors:
        values = np.ascontiguousarray(values, np.float32)
        blob = (values if kind == F32 else QUANTISE[kind](values.reshape(-1, SUPER))).tobytes()
        dims = values.shape[::-1]
        infos.append(_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset))
        blob += _padding(len(blob))
        blobs.append(blob)
        offset += len(blob)
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
        f.write(b"".join(_pair(*m) for m in metadata) + b"".join(infos))
        f.write(_padding(f.tell()))
        f.write(b"".join(blobs))


# ---- reading -------------------------------------------------------------------------------------
class _Cursor:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, layout):
        values = struct.unpack_from(layout, self.raw, self.at)
        self.at += struct.calcsize(layout)
        return values

    def string(self):
        (n,) = self.take("<Q")
        self.at += n
        return bytes(self.raw[self.at - n : self.at]).decode()

    def skip_value(self, kind):
        if kind == STRING:
            (n,) = self.take("<Q")
            self.at += n
        elif kind == ARRAY:
            element, n = self.take("<IQ")
            if element in SIZES:
                self.at += n * SIZES[element]
            else:
                for _ in range(n):
                    self.skip_value(element)
        else:
            self.at += SIZES[kind]


def read_tensors(path):
    """{name: dequantised float32 array} of a trusted file."""
    raw = np.fromfile(path, np.uint8)
    cursor = _Cursor(memoryview(raw))
    _, _, n_tensors, n_pairs = cursor.take("<IIQQ")
    for _ in range(n_pairs):
        cursor.string()
        cursor.skip_value(cursor.take("<I")[0])
    infos = []
    for _ in range(n_tensors):
        name = cursor.string()
        (n_dims,) = cursor.take("<I")
        *dims, kind, offset = cursor.take(f"<{n_dims}QIQ")
        infos.append((name, dims[::-1], kind, offset))
    data = raw[cursor.at + len(_padding(cursor.at)) :]
    return {name: _values(data[offset:], shape, kind) for name, shape, kind, offset in infos}


def _values(data, shape, kind):
    n = int(np.prod(shape))
    if kind == F32:
        return data[: 4 * n].view(np.float32).reshape(shape).copy()
    blocks = data[: n // SUPER * BLOCK_BYTES[kind]].reshape(-1, BLOCK_BYTES[kind])
    return DEQUANTISE[kind](blocks).reshape(shape)
