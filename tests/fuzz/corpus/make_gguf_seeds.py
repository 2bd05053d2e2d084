#!/usr/bin/env python3
"""Writes the seed inputs of the container's fuzzer to tests/fuzz/corpus/gguf: small valid files, each with a
different part of the format. Findings of fuzzing are added to that folder manually and are kept."""
import pathlib
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMAT = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q",
          F64: "d"}
FOLDER = pathlib.Path(__file__).parent / "gguf"


def string(s):
    return struct.pack("<Q", len(s)) + s


def scalar(type, v):
    return string(v) if type == STRING else struct.pack("<" + FORMAT[type], v)


def pair(key, type, v):
    return string(key) + struct.pack("<I", type) + scalar(type, v)


def array(key, type, values):
    head = string(key) + struct.pack("<IIQ", ARRAY, type, len(values))
    return head + b"".join(scalar(type, v) for v in values)


def tensor(name, dims, type, offset):
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type, offset)


def write(name, pairs, tensors=(), data_bytes=0, version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    if tensors:
        out += bytes(-len(out) % alignment) + bytes(i & 255 for i in range(data_bytes))
    (FOLDER / f"{name}.gguf").write_bytes(out)


FOLDER.mkdir(exist_ok=True)
write("empty", [])
write("scalars", [pair(b"key%d" % t, t, b"text" if t == STRING else 1) for t in range(13) if t != ARRAY])
write("arrays", [array(b"key%d" % t, t, [b"", b"text"] if t == STRING else [0, 1]) for t in range(13) if t != ARRAY])
write("aligned", [pair(b"general.alignment", U32, 16)],
      [tensor(b"b", [4], 0, 16), tensor(b"a", [2, 2], 0, 0)], 32, alignment=16)
write("types", [], [tensor(b"q8_0", [32], 8, 0), tensor(b"q4_k", [256], 12, 64), tensor(b"bf16", [3, 1, 2, 1], 30, 224)],
      236)
write("version2", [pair(b"general.architecture", STRING, b"llama")], [tensor(b"t", [8], 1, 0)], 16, version=2)
