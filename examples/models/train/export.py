"""Writes a trained model to a GGUF file of the mix Q4_K_M, and reads the weights of a file into a torch
model."""
import math
import os

import numpy as np
import torch

from . import gguf_file
from .checkpoint import load_checkpoint
from .configs import CHAT_TEMPLATES, CONFIGS
from .gguf_file import F32, Q4_K, Q6_K, Tensor
from .model import Model
from .tokenizers import find_or_train

FILE_TYPE_Q4_K_M, QUANTIZATION_VERSION = 15, 2
MATRICES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}  # name in the model: name in the file
NORMS = ["attn_norm", "ffn_norm"]  # the same in both


def more_bits(layer, n_layers):
    """Whether attn_v and ffn_down of a layer are Q6_K: in the first and last eighth of the layers and every
    third between."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def interleave(w, n_heads):
    """Moves rows (i, i + head_dim / 2) of each head to (2i, 2i + 1), the order of q and k in llama
    files."""
    return w.reshape(n_heads, 2, len(w) // n_heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def deinterleave(w, n_heads):
    return w.reshape(n_heads, len(w) // n_heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def _rotated_heads(config, name):
    """The number of heads whose rows the file stores in interleaved order; 0: this matrix has none."""
    return 0 if config.is_gemma else {"q": config.n_heads, "k": config.n_kv_heads}.get(name, 0)


def metadata(config, tokenizer):
    p = config.gguf_arch + "."
    pairs = [
        ("general.architecture", "str", config.gguf_arch),
        ("general.type", "str", "model"),
        ("general.name", "str", f"{config.name}-demo"),
        (
            "general.description",
            "str",
            f"A toy {config.name}-style model trained from scratch on part of the SQuAD "
            "v1.1 training set; not the published model of that name",
        ),
        ("general.license", "str", "cc-by-sa-4.0"),
        ("general.file_type", "u32", FILE_TYPE_Q4_K_M),
        ("general.quantization_version", "u32", QUANTIZATION_VERSION),
        (p + "context_length", "u32", config.context_length),
        (p + "embedding_length", "u32", config.d_model),
        (p + "block_count", "u32", config.n_layers),
        (p + "feed_forward_length", "u32", config.d_ff),
        (p + "attention.head_count", "u32", config.n_heads),
        (p + "attention.head_count_kv", "u32", config.n_kv_heads),
        (p + "attention.layer_norm_rms_epsilon", "f32", config.rms_eps),
        (p + "rope.freq_base", "f32", config.rope_base),
    ]
    if config.is_gemma:
        pairs += [
            (p + "attention.key_length", "u32", config.head_dim),
            (p + "attention.value_length", "u32", config.head_dim),
        ]
    else:
        pairs += [
            (p + "rope.dimension_count", "u32", config.head_dim),
            (p + "vocab_size", "u32", config.vocab_size),
        ]
    if config.window:
        pairs += [(p + "attention.sliding_window", "u32", config.window)]
    return pairs + tokenizer.metadata() + [("tokenizer.chat_template", "str", CHAT_TEMPLATES[config.name])]


def tensors(config, weights):
    """The tensors of the file. weights: the state of the model as numpy arrays."""
    embedding = weights["embedding"]
    if config.is_gemma:
        out = [Tensor("token_embd.weight", embedding, Q6_K)]
    else:
        out = [Tensor("token_embd.weight", embedding * math.sqrt(config.d_model), Q4_K)]
    for layer in range(config.n_layers):
        for norm in NORMS:
            out.append(Tensor(f"blk.{layer}.{norm}.weight", weights[f"weights.{layer}_{norm}"], F32))
        for ours, theirs in MATRICES.items():
            w = weights[f"weights.{layer}_{ours}"]
            if _rotated_heads(config, ours):
                w = interleave(w, _rotated_heads(config, ours))
            kind = Q6_K if ours in ("v", "down") and more_bits(layer, config.n_layers) else Q4_K
            out.append(Tensor(f"blk.{layer}.{theirs}.weight", w, kind))
    out.append(Tensor("output_norm.weight", weights["norm"], F32))
    if not config.is_gemma:
        out.append(Tensor("output.weight", embedding, Q6_K))
    return out


def export(args):
    config = CONFIGS[args.arch]
    checkpoint = load_checkpoint(args.work)
    weights = {k: v.float().numpy() for k, v in checkpoint["model" if args.raw else "average"].items()}
    out = tensors(config, weights)
    gguf_file.write(args.out, metadata(config, find_or_train(config, args.work, args.train)), out)
    stored, error, power = gguf_file.read_tensors(args.out), 0.0, 0.0
    for name, values, kind in out:
        if kind != F32:
            error += float(((stored[name] - values) ** 2).sum())
            power += float((values.astype(np.float64) ** 2).sum())
    print(
        f"{args.out}: {os.path.getsize(args.out)} bytes, {len(out)} tensors, "
        f"weight NMSE {error / power:.2e}, "
        f"from step {checkpoint['step']} ({checkpoint['tokens'] / 1e6:.1f} M tokens)"
    )


@torch.no_grad()
def load_gguf(config, path):
    """The model with the dequantised weights of a file that export() wrote."""
    stored = {name: torch.from_numpy(values) for name, values in gguf_file.read_tensors(path).items()}
    model = Model(config)
    for layer in range(config.n_layers):
        for norm in NORMS:
            model.weights[f"{layer}_{norm}"].copy_(stored[f"blk.{layer}.{norm}.weight"])
        for ours, theirs in MATRICES.items():
            w = stored[f"blk.{layer}.{theirs}.weight"]
            if _rotated_heads(config, ours):
                w = deinterleave(w, _rotated_heads(config, ours))
            model.weights[f"{layer}_{ours}"].copy_(w)
    model.norm.copy_(stored["output_norm.weight"])
    if config.is_gemma:
        model.embedding.copy_(stored["token_embd.weight"])
    else:
        model.embedding.copy_(stored["output.weight"])
        model.input_embedding = stored["token_embd.weight"]
    return model
