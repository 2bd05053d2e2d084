#!/usr/bin/env python3
"""Compares block encoders with llama.cpp's: the errors on the same rows, and whether both decode our blocks alike.

  python3 tests/kernels/compare_encoders.py --ggml libggml-base.so --quantize build/bin/gemma-quantize
      [--model model-F16.gguf --imatrix imatrix.gguf --tensors 'blk.0.*' 'blk.17.*']

--ggml is the library of any current llama.cpp, for instance from an npm or PyPI package. Rows are normal numbers and
numbers with heavy tails (Student's t with 4 degrees of freedom), with heavy-tailed importances, and the matrices of
--model whose names match --tensors, with the importances of --imatrix (without it, with generated ones). Each line
gives, for one type, the root-mean-square error in percent, ours / theirs, without importances and weighted with them,
over all rows, and the largest quotient of the two for any matrix. Needs numpy. Exit status 1 if a quotient exceeds 1
or a decoded number differs.
"""
import argparse
import ctypes
import fnmatch
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np

TYPES = {  # name: (number in GGUF files, weights per block, bytes per block)
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "IQ4_NL": (20, 32, 18),
    "IQ4_XS": (23, 256, 136),
}
FLOATS = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 30: np.dtype("<u2")}  # F32, F16, BF16
SCALAR_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]  # by type of a metadata value
STRING, ARRAY, ALIGNMENT = 8, 9, 32
ROWS = 128  # number of rows of a matrix that are compared


class Reader:
    """Tensors of a GGUF file: name -> (shape, slowest first, type, offset in the file)."""

    def __init__(self, path):
        self.path, self.data = path, np.memmap(path, np.uint8, "r")
        self.at, alignment = 8, ALIGNMENT
        n_tensors, n_pairs = self.take("QQ")
        for _ in range(n_pairs):
            key, (kind,) = self.text(), self.take("I")
            value = self.value(kind)
            alignment = value if key == "general.alignment" else alignment
        self.tensors = {}
        for _ in range(n_tensors):
            name, (n_dims,) = self.text(), self.take("I")
            shape = self.take(f"{n_dims}Q")[::-1]
            self.tensors[name] = (shape, *self.take("IQ"))
        self.begin = -(-self.at // alignment) * alignment

    def take(self, layout):
        size = struct.calcsize("<" + layout)
        self.at += size
        return struct.unpack("<" + layout, self.data[self.at - size : self.at].tobytes())

    def text(self):
        (n,) = self.take("Q")
        self.at += n
        return self.data[self.at - n : self.at].tobytes().decode()

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            self.at += SCALAR_BYTES[kind]
            return int.from_bytes(self.data[self.at - SCALAR_BYTES[kind] : self.at].tobytes(), "little")
        element, n = self.take("IQ")
        if element in (STRING, ARRAY):
            return [self.value(element) for _ in range(n)]
        self.at += SCALAR_BYTES[element] * n
        return None

    def bytes_of(self, name, size):
        at = self.begin + self.tensors[name][2]
        return self.data[at : at + size]

    def floats(self, name):
        shape, kind, _ = self.tensors[name]
        n = int(np.prod(shape))
        x = self.bytes_of(name, n * FLOATS[kind].itemsize).view(FLOATS[kind])
        if kind == 30:
            return (x.astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return x.astype(np.float32).reshape(shape)


def write_gguf(path, kind, tensors):
    """Writes a GGUF file of float32 arrays. kind: general.type."""

    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    pairs = [("general.architecture", "llama"), ("general.type", kind)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs) + (kind == "imatrix"))
    for key, value in pairs:
        head += text(key) + struct.pack("<I", STRING) + text(value)
    if kind == "imatrix":
        head += text("imatrix.chunk_count") + struct.pack("<II", 4, 1)
    at, bodies = 0, []
    for name, x in tensors.items():
        head += text(name) + struct.pack(f"<I{x.ndim}QIQ", x.ndim, *x.shape[::-1], 0, at)
        body = x.astype("<f4").tobytes()
        bodies.append(body + bytes(-len(body) % ALIGNMENT))
        at += len(bodies[-1])
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + b"".join(bodies))


class Theirs:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        pointer, long = ctypes.c_void_p, ctypes.c_int64
        self.library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, long, long, long, pointer]
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t

    def encode(self, name, x, w):
        number, elements, size = TYPES[name]
        out = np.zeros(x.size // elements * size, np.uint8)
        importances = None if w is None else w.ctypes.data
        self.library.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, *x.shape, importances)
        return out

    def decode(self, name, blocks, shape):
        y = np.zeros(shape, np.float32)
        decode = getattr(self.library, "dequantize_row_" + name.lower().replace("_k", "_K"))
        decode(ctypes.c_void_p(blocks.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(y.size))
        return y


class Ours:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def run(self, source, to, name, *flags):
        line = [self.program, self.folder / source, self.folder / to, name if name == "F32" else "Q8_0", "-t", "1"]
        subprocess.run([*line, "--tensor", f"*={name}", *flags], check=True, capture_output=True)
        return Reader(self.folder / to)

    def encode(self, name, weighted):
        """The blocks of every tensor of in.gguf, and the numbers to which they decode."""
        flags = ["--imatrix", self.folder / "importances.gguf"] if weighted else []
        encoded = self.run("in.gguf", "encoded.gguf", name, *flags)
        decoded = self.run("encoded.gguf", "decoded.gguf", "F32")
        _, elements, size = TYPES[name]
        for tensor, (shape, *_) in encoded.tensors.items():
            blocks = encoded.bytes_of(tensor, int(np.prod(shape)) // elements * size).copy()
            yield tensor, blocks, decoded.floats(tensor)


def made_matrices(rng):
    """Matrices of two kinds of random numbers; their names have no dot."""
    return {
        "normal.weight": 0.02 * rng.standard_normal((64, 1024), np.float32),
        "tails.weight": (0.02 * rng.standard_t(4, (64, 1024))).astype(np.float32),
    }


def matrices_of(path, patterns):
    model = Reader(path)
    found = {}
    for name, (shape, kind, _) in model.tensors.items():
        if len(shape) == 2 and kind in FLOATS and any(fnmatch.fnmatch(name, p) for p in patterns):
            found[name] = np.ascontiguousarray(model.floats(name)[:ROWS])
    return found


def importances_of(matrices, path, rng):
    measured = Reader(path) if path else None
    out = {}
    for name, x in matrices.items():
        if measured and name + ".in_sum2" in measured.tensors:
            sums, counts = (measured.floats(name + end) for end in (".in_sum2", ".counts"))
            out[name] = np.ascontiguousarray(sums.reshape(-1)[: x.shape[1]] / max(counts.reshape(-1)[0], 1))
        else:
            out[name] = (rng.standard_normal(x.shape[1]) ** 4 + 0.01).astype(np.float32)
    return out


def squares(x, w):
    return float(((x.astype(np.float64) ** 2) * (1 if w is None else w)).sum())


def compare(name, ours, theirs, matrices, importances):
    """Plain and weighted: (our error, their error, largest quotient), and whether both decode alike."""
    results, alike = [], True
    for weighted in (False, True):
        sums, worst = np.zeros(3), 0.0
        for tensor, blocks, y in ours.encode(name, weighted):
            x, w = matrices[tensor], importances[tensor] if weighted else None
            alike = alike and bool(np.array_equal(theirs.decode(name, blocks, x.shape), y))
            there = theirs.decode(name, theirs.encode(name, x, w), x.shape)
            mine, other, all_of = squares(x - y, w), squares(x - there, w), squares(x, w)
            sums += np.array([mine, other, all_of]) / all_of
            worst = max(worst, (mine / other) ** 0.5 if other > 0 else 1.0)
        results.append((*(100 * np.sqrt(sums[:2] / sums[2])), worst))
    return results, alike


def table(title, matrices, imatrix, ours, theirs, rng):
    print(f"\n{title}")
    print("| type | plain: ours / theirs, % | quotient | worst | weighted | quotient | worst | decoded alike |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    good = True
    for name, (_, elements, _) in TYPES.items():
        some = {k: x for k, x in matrices.items() if x.shape[1] % elements == 0}
        if not some:
            print(f"| {name} | no rows of whole blocks |")
            continue
        importances = importances_of(some, imatrix, rng)
        write_gguf(ours.folder / "in.gguf", "model", some)
        sums = {k + ".in_sum2": w.reshape(1, -1) for k, w in importances.items()}
        counts = {k + ".counts": np.ones((1, 1), np.float32) for k in importances}
        write_gguf(ours.folder / "importances.gguf", "imatrix", {**sums, **counts})
        results, alike = compare(name, ours, theirs, some, importances)
        cells = [f"{a:.4f} / {b:.4f} | {a / b:.3f} | {worst:.3f}" for a, b, worst in results]
        print(f"| {name} | {' | '.join(cells)} | {'yes' if alike else 'NO'} |", flush=True)
        good = good and alike and all(worst <= 1 for _, _, worst in results)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ggml", required=True, metavar="FILE")
    parser.add_argument("--quantize", required=True, metavar="PROGRAM")
    parser.add_argument("--model", metavar="FILE")
    parser.add_argument("--imatrix", metavar="FILE")
    parser.add_argument("--tensors", nargs="+", default=["blk.0.*"], metavar="PATTERN")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Ours(args.quantize, pathlib.Path(folder)), Theirs(args.ggml)
        good = table("Made rows", made_matrices(rng), None, ours, theirs, rng)
        if args.model:
            matrices = matrices_of(args.model, args.tensors)
            title = f"{pathlib.Path(args.model).name}: {len(matrices)} matrices, at most {ROWS} rows of each"
            good = table(title, matrices, args.imatrix, ours, theirs, rng) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
