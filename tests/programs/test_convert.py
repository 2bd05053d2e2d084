"""gemma-convert: checkpoints made from golden models convert to the same logits and vocabulary; damaged ones are
errors."""

import array
import json
import os
import pathlib
import signal
import struct
import subprocess
import time
import unittest

from programs import BIN, SOURCE, ProgramTest, environment

MODELS = SOURCE / "tests/golden/models"
TOKENS = (MODELS / "tokens.txt").read_text().replace("\n", ",").strip(",")
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Gguf:
    """Metadata and tensors of a small file: those in F32, and Q4_0 as F32."""

    def __init__(self, path):
        self.data, self.at = pathlib.Path(path).read_bytes(), 8
        n_tensors, n_pairs = self.read("Q"), self.read("Q")
        self.meta = {}
        for _ in range(n_pairs):
            key = self.text()
            self.meta[key] = self.value(self.read("I"))
        self.tensors, self.q4_0, table = {}, {}, []
        for _ in range(n_tensors):
            name = self.text()
            shape = [self.read("Q") for _ in range(self.read("I"))][::-1]
            table.append((name, shape, self.read("I"), self.read("Q")))
        begin = -(-self.at // 32) * 32
        for name, shape, kind, offset in table:
            size = 4
            for d in shape:
                size *= d
            if kind == 0:
                self.tensors[name] = (shape, self.data[begin + offset:begin + offset + size])
            if kind == 2:
                self.q4_0[name] = (shape, begin + offset)

    def decoded(self, name, n_rows):
        """The first rows of a matrix in Q4_0, as F32."""
        (_, cols), at = self.q4_0[name]
        out = array.array("f")
        for block in range(at, at + n_rows * cols // 32 * 18, 18):
            (d,) = struct.unpack_from("<e", self.data, block)
            levels = [d * (q - 8) for q in range(16)]
            codes = self.data[block + 2:block + 18]
            out.extend([levels[q & 15] for q in codes])
            out.extend([levels[q >> 4] for q in codes])
        return [n_rows, cols], out.tobytes()

    def read(self, form):
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        n = self.read("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            kind, n = self.read("I"), self.read("Q")
            return [self.value(kind) for _ in range(n)]
        return self.read(FORMATS[kind])


def floats(data):
    return array.array("f", data)


def safetensors(tensors, kind="F32"):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (shape, part) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def sentencepiece(meta):
    """A tokenizer.model with the vocabulary of a GGUF file."""
    field = lambda number, data: varint(number << 3 | 2) + varint(len(data)) + data
    out = b""
    for text, score, kind in zip(*(meta["tokenizer.ggml." + k] for k in ["tokens", "scores", "token_type"])):
        out += field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind))
    ids = [(40, "unknown"), (41, "bos"), (42, "eos"), (43, "padding")]
    out += field(2, b"".join(varint(n << 3) + varint(meta[f"tokenizer.ggml.{k}_token_id"]) for n, k in ids))
    return out + field(3, varint(3 << 3) + varint(int(meta["tokenizer.ggml.add_space_prefix"])))


COMMON = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
          "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
PLAIN = {**COMMON, "ffn_norm": "post_attention_layernorm"}
FOUR = {**COMMON, "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
GEMMA4 = {**FOUR, "inp_gate": "per_layer_input_gate", "proj": "per_layer_projection", "post_norm": "post_per_layer_input_norm",
          "layer_output_scale": "layer_scalar", "ffn_gate_inp": "router.proj", "pre_ffw_norm_2": "pre_feedforward_layernorm_2",
          "post_ffw_norm_1": "post_feedforward_layernorm_1", "post_ffw_norm_2": "post_feedforward_layernorm_2",
          "ffn_gate_up_exps": "experts.gate_up_proj", "ffn_down_exps": "experts.down_proj"}
GEMMA3N = {**FOUR, "inp_gate": "per_layer_input_gate", "proj": "per_layer_projection", "post_norm": "post_per_layer_input_norm",
           "altup_correct_coef": "altup.correction_coefs", "altup_correct_scale": "altup.correct_output_scale",
           "altup_predict_coef": "altup.prediction_coefs", "altup_router": "altup.modality_router", "altup_router_norm": "altup.router_norm",
           "laurel_l": "laurel.linear_left", "laurel_r": "laurel.linear_right", "laurel_post_norm": "laurel.post_laurel_norm"}
OUTER = {"per_layer_token_embd.weight": "model.embed_tokens_per_layer.weight",
         "per_layer_model_proj.weight": "model.per_layer_model_projection.weight",
         "per_layer_proj_norm.weight": "model.per_layer_projection_norm.weight",
         "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
SETTINGS = {"context_length": "max_position_embeddings", "embedding_length": "hidden_size", "block_count": "num_hidden_layers",
            "feed_forward_length": "intermediate_size", "attention.head_count": "num_attention_heads",
            "attention.head_count_kv": "num_key_value_heads", "attention.layer_norm_rms_epsilon": "rms_norm_eps",
            "attention.key_length": "head_dim", "rope.freq_base": "rope_theta", "attention.sliding_window": "sliding_window",
            "attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping",
            "vocab_size": "vocab_size"}


class Convert(ProgramTest):
    def setUp(self):
        super().setUp()
        self.checkpoint = self.folder / "checkpoint"
        self.checkpoint.mkdir()
        self.out = str(self.folder / "out.gguf")

    def take_apart(self, model, architecture):
        """A checkpoint that converts to a golden model: (tensors, config)."""
        file = Gguf(MODELS / model)
        arch = file.meta["general.architecture"]
        gemma = arch != "llama"
        tensors = {}
        for name, (shape, data) in file.tensors.items():
            if name.startswith("blk."):
                _, layer, kind, _ = name.split(".")
                theirs = f"model.layers.{layer}.{(PLAIN if arch in ('gemma', 'llama') else FOUR)[kind]}.weight"
                heads = file.meta.get(f"{arch}.attention.head_count" + ("_kv" if kind == "attn_k" else ""))
                if not gemma and kind in ("attn_q", "attn_k"):  # (2i, 2i + 1) back to (i, i + head_dim / 2)
                    size, dim = shape[1] * 4, shape[0] // heads
                    rows = [data[r * size:(r + 1) * size] for r in range(shape[0])]
                    data = b"".join(rows[r - r % dim + (r % dim) % (dim // 2) * 2 + (r % dim) // (dim // 2)] for r in range(shape[0]))
            else:
                theirs = OUTER[name]
            if gemma and "norm" in name:
                data = array.array("f", [x - 1 for x in floats(data)]).tobytes()
            tensors[theirs] = (shape, data)
        config = {"architectures": [architecture], "vocab_size": len(file.meta["tokenizer.ggml.tokens"])}
        config.update({v: file.meta[f"{arch}.{k}"] for k, v in SETTINGS.items() if f"{arch}.{k}" in file.meta})
        return file, tensors, config

    def lay_out(self, tensors, config, meta, n_files=1):
        (self.checkpoint / "config.json").write_text(json.dumps(config))
        (self.checkpoint / "tokenizer.model").write_bytes(sentencepiece(meta))
        (self.checkpoint / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "chat_template": "{{ x }}"}))
        if n_files == 1:
            (self.checkpoint / "model.safetensors").write_bytes(safetensors(tensors))
            return
        names, index = list(tensors), {}
        for i in range(n_files):
            file = f"model-{i + 1:05}-of-{n_files:05}.safetensors"
            part = {n: tensors[n] for n in names[i::n_files]}
            (self.checkpoint / file).write_bytes(safetensors(part))
            index.update({n: file for n in part})
        (self.checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    def logits(self, model):
        path = self.folder / "l"
        self.succeeds("gemma-logits", "-m", str(model), "--tokens", TOKENS, "--out", str(path))
        return floats(path.read_bytes())

    def convert(self, *flags):
        return self.succeeds("gemma-convert", str(self.checkpoint), self.out, *flags)

    def test_logits_and_vocabulary_come_back(self):
        for model, architecture, n_files in [("nano-gemma-mqa.F32.gguf", "GemmaForCausalLM", 1), ("nano-gemma2.F32.gguf", "Gemma2ForCausalLM", 3),
                                             ("nano-gemma3.F32.gguf", "Gemma3ForCausalLM", 2), ("nano-llama3.F32.gguf", "LlamaForCausalLM", 1),
                                             ("nano-mistral.F32.gguf", "MistralForCausalLM", 1)]:
            file, tensors, config = self.take_apart(model, architecture)
            self.lay_out(tensors, config, file.meta, n_files)
            self.assertRegex(self.convert("--type", "f32"), r"\A[^\n]*out\.gguf: \d+ tensors, [\d.]+ MB\n\Z")
            expected, got = self.logits(MODELS / model), self.logits(self.out)
            error = sum((a - b) ** 2 for a, b in zip(got, expected)) / sum(x * x for x in expected)
            self.assertLessEqual(error, 1e-9, model)
            made = Gguf(self.out)
            for key, value in file.meta.items():
                if key != "general.name":
                    self.assertEqual(made.meta.get(key), value, f"{model} {key}")
            self.assertEqual(set(made.tensors), set(file.tensors))
            self.assertEqual(made.meta["tokenizer.chat_template"], "{{ x }}")
            for path in self.checkpoint.iterdir():
                path.unlink()

    def test_gemma_4(self):
        for model in ["nano-gemma4-e.F32.gguf", "nano-gemma4-m.F32.gguf", "nano-gemma4-d.F32.gguf"]:
            file = Gguf(MODELS / model)
            meta = {k.removeprefix("gemma4."): v for k, v in file.meta.items()}
            slides = meta["attention.sliding_window_pattern"]
            tensors = {}
            for name, (shape, data) in file.tensors.items():
                if name == "rope_freqs.weight":
                    n_rotated = sum(1 for x in floats(data) if x == 1)
                    continue
                if name.startswith("blk."):
                    _, layer, kind, end = name.split(".")
                    end = {"scale": {"ffn_gate_inp": "router.scale", "ffn_down_exps": "router.per_expert_scale"}}.get(end, {}).get(kind)
                    theirs = GEMMA4.get(kind) if end is None else end
                    weight = "" if end or kind in ("layer_output_scale", "ffn_gate_up_exps", "ffn_down_exps") else ".weight"
                    tensors[f"model.language_model.layers.{layer}.{theirs}{weight}"] = (shape, data)
                else:
                    tensors[OUTER[name].replace("model.", "model.language_model.", 1)] = (shape, data)
            heads, sizes = meta["attention.head_count_kv"], meta["feed_forward_length"]
            text = {"num_hidden_layers": meta["block_count"], "hidden_size": meta["embedding_length"], "max_position_embeddings": 8192,
                    "intermediate_size": sizes if isinstance(sizes, int) else sizes[0], "use_double_wide_mlp": not isinstance(sizes, int),
                    "num_attention_heads": meta["attention.head_count"], "head_dim": meta["attention.key_length_swa"],
                    "num_key_value_heads": heads if isinstance(heads, int) else heads[slides.index(True)],
                    "num_global_key_value_heads": None if isinstance(heads, int) else heads[slides.index(False)],
                    "global_head_dim": meta["attention.key_length"], "sliding_window": meta["attention.sliding_window"],
                    "num_kv_shared_layers": meta["attention.shared_kv_layers"], "final_logit_softcapping": 30.0,
                    "hidden_size_per_layer_input": meta["embedding_length_per_layer_input"],
                    "layer_types": ["sliding_attention" if s else "full_attention" for s in slides],
                    "rope_parameters": {"full_attention": {"rope_theta": 1e6, "rope_type": "proportional",
                                                           "partial_rotary_factor": 2 * n_rotated / meta["attention.key_length"]},
                                        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}}}
            if "expert_count" in meta:
                text.update({"enable_moe_block": True, "num_experts": meta["expert_count"], "top_k_experts": meta["expert_used_count"],
                             "moe_intermediate_size": meta["expert_feed_forward_length"]})
            self.lay_out(tensors, {"architectures": ["Gemma4ForConditionalGeneration"], "text_config": text}, file.meta)
            (self.checkpoint / "tokenizer.model").unlink()
            pieces, types = file.meta["tokenizer.ggml.tokens"], file.meta["tokenizer.ggml.token_type"]
            added = [{"id": i, "content": p, "special": True} for i, p in enumerate(pieces) if types[i] == 3]
            bpe = {"model": {"type": "BPE", "byte_fallback": True, "vocab": {p: i for i, p in enumerate(pieces)},
                             "merges": [m.split(" ", 1) for m in file.meta["tokenizer.ggml.merges"]]}, "added_tokens": added}
            (self.checkpoint / "tokenizer.json").write_text(json.dumps(bpe))
            ids = {n: pieces[file.meta[f"tokenizer.ggml.{k}_token_id"]] for n, k in [("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown")]}
            (self.checkpoint / "tokenizer_config.json").write_text(json.dumps({**ids, "add_bos_token": False}))
            (self.checkpoint / "generation_config.json").write_text(json.dumps({"top_k": 64, "top_p": 0.95, "temperature": 1.0}))
            self.convert("--type", "f32")
            made = Gguf(self.out)
            for key, value in file.meta.items():
                if key != "general.name":
                    self.assertEqual(made.meta.get(key), value, f"{model} {key}")
            self.assertEqual(made.tensors, file.tensors)
            for path in self.checkpoint.iterdir():
                path.unlink()

    def test_gemma_3n(self):
        file = Gguf(MODELS / "nano-gemma3n.F32.gguf")
        meta = {k.removeprefix("gemma3n."): v for k, v in file.meta.items()}
        text = "model.language_model."
        tensors = {}
        for name, (shape, data) in file.tensors.items():
            if name in ("altup_proj.weight", "altup_unembd_proj.weight"):
                theirs = {"altup_proj.weight": "altup_projections", "altup_unembd_proj.weight": "altup_unembed_projections"}[name]
                for i in range(shape[0]):
                    size = len(data) // shape[0]
                    tensors[f"{text}{theirs}.{i}.weight"] = (shape[1:], data[i * size:(i + 1) * size])
            elif name.startswith("blk."):
                _, layer, kind, _ = name.split(".")
                tensors[f"{text}layers.{layer}.{GEMMA3N[kind]}{'' if kind == 'altup_correct_scale' else '.weight'}"] = (shape, data)
            else:
                tensors[OUTER[name].replace("model.", text, 1)] = (shape, data)
        tensors[text + "embed_tokens_per_layer.weight"] = file.decoded("per_layer_token_embd.weight", 320)
        tensors["model.audio_tower.conformer.0.norm.weight"] = ([2], bytes(8))
        slides, sparse = meta["attention.sliding_window_pattern"], meta["activation_sparsity_scale"]
        config = {"num_hidden_layers": meta["block_count"], "hidden_size": meta["embedding_length"], "max_position_embeddings": 8192,
                  "intermediate_size": [meta["feed_forward_length"]] * meta["block_count"], "head_dim": meta["attention.key_length"],
                  "num_attention_heads": meta["attention.head_count"], "num_key_value_heads": meta["attention.head_count_kv"],
                  "sliding_window": meta["attention.sliding_window"], "num_kv_shared_layers": meta["attention.shared_kv_layers"],
                  "hidden_size_per_layer_input": meta["embedding_length_per_layer_input"], "final_logit_softcapping": 30.0,
                  "altup_num_inputs": 4, "altup_active_idx": 0, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
                  "activation_sparsity_pattern": [0.95 if x > 0 else 0.0 for x in sparse],
                  "layer_types": ["sliding_attention" if s else "full_attention" for s in slides]}
        whole = {"architectures": ["Gemma3nForConditionalGeneration"], "text_config": config}
        self.lay_out(tensors, whole, file.meta, 2)
        self.assertIn("left out: 1 tensors, such as model.audio_tower", self.convert("--type", "f32"))
        expected, got = self.logits(MODELS / "nano-gemma3n.F32.gguf"), self.logits(self.out)
        self.assertLessEqual(sum((a - b) ** 2 for a, b in zip(got, expected)) / sum(x * x for x in expected), 1e-9)
        made = Gguf(self.out)
        for key, value in file.meta.items():
            if key.endswith("sparsity_scale"):
                for a, b in zip(made.meta[key], value):
                    self.assertTrue(a == b or abs(a - b) < 1e-6, (a, b))
            elif key != "general.name":
                self.assertEqual(made.meta.get(key), value, key)
        # tokens of images and sound have no rows
        shape, data = tensors[text + "embed_tokens_per_layer.weight"]
        short = data[:4 * 318 * shape[1]]
        self.lay_out({**tensors, text + "embed_tokens_per_layer.weight": ([318, shape[1]], short)}, whole, file.meta, 2)
        self.convert("--type", "f32")
        self.assertEqual(Gguf(self.out).tensors["per_layer_token_embd.weight"], (shape, short + bytes(8 * shape[1])))
        for missing in ["altup_projections.1.weight", "altup_projections.2.weight"]:
            part = {k: v for k, v in tensors.items() if not k.endswith(missing)}
            self.lay_out(part, whole, file.meta, 2)
            self.refuses("gemma-convert", str(self.checkpoint), self.out, says="altup_proj.weight")

    def test_sentencepiece_in_tokenizer_json(self):
        file, tensors, config = self.take_apart("nano-mistral.F32.gguf", "MistralForCausalLM")
        self.lay_out(tensors, config, file.meta)
        (self.checkpoint / "tokenizer.model").unlink()
        bytes_, letters = [f"<0x{b:02X}>" for b in range(256)], [*"\u2581helo wrd"]
        made_ones = ["he", "ll", "hell", "hello", "\u2581w", "or", "\u2581wor", "ld", "\u2581world", "\u2581\u2581"]
        pieces = ["<unk>", "<s>", "</s>", *bytes_, *made_ones, *letters, "\u2581\u2581\u2581", "[X]", "ol"]
        vocab = {p: i for i, p in enumerate(pieces)}
        merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["h", "ell"], ["hell", "o"], ["\u2581", "w"], ["o", "r"], ["\u2581w", "or"],
                  ["l", "d"], ["\u2581wor", "ld"], ["\u2581", "\u2581"]]
        merges = [m for m in merges if all(p in vocab for p in m)]
        added = [{"id": vocab[p], "content": p, "special": s} for p, s in
                 [("<unk>", True), ("<s>", True), ("</s>", True), ("\u2581\u2581\u2581", False), ("[X]", False)]]
        form = lambda prefix, merges: {
            "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": vocab, "merges": merges}, "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}] * prefix + [
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}}
        settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "<unk>", "add_bos_token": True}
        (self.checkpoint / "tokenizer_config.json").write_text(json.dumps(settings))
        for prefix, as_text in [(1, True), (0, False)]:
            (self.checkpoint / "tokenizer.json").write_text(json.dumps(form(prefix, [" ".join(m) for m in merges] if as_text else merges)))
            self.convert("--type", "f32")
            meta = Gguf(self.out).meta
            self.assertEqual([meta["tokenizer.ggml." + k] for k in ["model", "pre", "add_space_prefix", "bos_token_id", "eos_token_id", "unknown_token_id"]],
                             ["llama", "default", prefix == 1, 1, 2, 0])
            types = meta["tokenizer.ggml.token_type"]
            self.assertEqual([types[vocab[p]] for p in ["<unk>", "<s>", "<0x41>", "hell", "[X]"]], [2, 3, 6, 1, 4])
            self.assertEqual(meta["tokenizer.ggml.tokens"][vocab["\u2581\u2581\u2581"]], "   ")
            self.assertEqual(len(types), config["vocab_size"])
            scores = meta["tokenizer.ggml.scores"]
            self.assertTrue(scores[vocab["he"]] > scores[vocab["ll"]] > scores[vocab["hell"]] > scores[vocab["\u2581world"]] > scores[vocab["ol"]])
            line = json.loads(self.succeeds("gemma-tokenize", "-m", self.out, stdin='{"text": "hello worldh\u00e9"}\n'))
            ids = [vocab[p] for p in ["hello", "\u2581world", "h", "<0xC3>", "<0xA9>"]]
            self.assertEqual([i for i in line["ids"] if i != 1][-5:], ids)
            self.assertEqual(vocab["\u2581"] in line["ids"], prefix == 1)
        for change, says in [({"type": "Unigram"}, "Unigram"), ({"vocab": []}, "vocabulary"), ({"merges": ["ab"]}, "pair"),
                             ({"merges": [["h", "x"]]}, "hx"), ({"vocab": {"a": -1}}, "id"), ({"vocab": {"a": 9000000}}, "ids"), ({"merges": 1}, "merges")]:
            bad = form(1, merges)
            bad["model"].update(change)
            (self.checkpoint / "tokenizer.json").write_text(json.dumps(bad))
            self.refuses("gemma-convert", str(self.checkpoint), self.out, says=["tokenizer.json", says])

    def test_a_model_with_pictures(self):
        file, tensors, config = self.take_apart("nano-gemma3.F32.gguf", "Gemma3ForConditionalGeneration")
        tensors = {"language_model." + k: v for k, v in tensors.items()}
        tensors["vision_tower.vision_model.encoder.weight"] = ([2], bytes(8))
        config = {"architectures": config.pop("architectures"), "text_config": config}
        self.lay_out(tensors, config, file.meta)
        self.assertIn("left out: 1 tensors, such as vision_tower", self.convert("--type", "f32"))
        self.assertEqual(set(Gguf(self.out).tensors), set(file.tensors))

    def test_llama_3_1_and_byte_level_bpe(self):
        file, tensors, config = self.take_apart("nano-llama3.F32.gguf", "LlamaForCausalLM")
        config["rope_scaling"] = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                  "original_max_position_embeddings": 8192}
        self.lay_out(tensors, config, file.meta)
        (self.checkpoint / "tokenizer.model").unlink()
        cut = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [b for b in range(256) if b not in printable]
        letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
        vocab = {letters[b]: b for b in range(256)} | {"he": 256, "ll": 257, "hell": 258}
        bpe = {"model": {"type": "BPE", "vocab": vocab, "merges": ["h e", ["l", "l"], "he ll"]},
               "added_tokens": [{"id": 300, "content": "<|begin_of_text|>", "special": True}, {"id": 301, "content": "<x>", "special": False}],
               "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": cut}}, {"type": "ByteLevel"}]}}
        (self.checkpoint / "tokenizer.json").write_text(json.dumps(bpe))
        (self.checkpoint / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<|begin_of_text|>"}}))
        self.convert("--type", "f32", "--name", "mine")
        made = Gguf(self.out)
        self.assertEqual([made.meta["tokenizer.ggml." + k] for k in ["model", "pre", "bos_token_id"]], ["gpt2", "llama-bpe", 300])
        self.assertEqual(made.meta["tokenizer.ggml.merges"], ["h e", "l l", "he ll"])
        self.assertEqual([made.meta["tokenizer.ggml.token_type"][i] for i in [0, 258, 299, 300, 301]], [1, 1, 5, 3, 4])
        self.assertEqual(made.meta["general.name"], "mine")
        shape, data = made.tensors["rope_freqs.weight"]
        self.assertEqual(shape, [8])
        self.assertEqual(floats(data)[0], 1)
        self.assertAlmostEqual(floats(data)[7], 8, places=5)
        line = self.succeeds("gemma-tokenize", "-m", self.out, stdin='{"text": "hello"}\n')
        self.assertIn("258", line)

    def test_types(self):
        file, tensors, config = self.take_apart("nano-mistral.F32.gguf", "MistralForCausalLM")
        self.lay_out(tensors, config, file.meta)
        half = {n: (s, b"".join(d[i + 2:i + 4] for i in range(0, len(d), 4))) for n, (s, d) in tensors.items()}  # bfloat16, truncated
        (self.checkpoint / "model.safetensors").write_bytes(safetensors(half, "BF16"))
        for flag, kind in [("auto", 32), ("f16", 1), ("bf16", 32), ("f32", 0)]:
            self.convert("--type", flag)
            made = Gguf(self.out)
            self.assertEqual(made.meta["general.file_type"], kind)
            self.assertEqual("blk.0.attn_q.weight" in made.tensors, kind == 0)  # class Gguf reads F32 only
            self.assertIn("blk.0.attn_norm.weight", made.tensors)

    def test_damaged_checkpoints(self):
        file, tensors, config = self.take_apart("nano-mistral.F32.gguf", "MistralForCausalLM")
        self.lay_out(tensors, config, file.meta)
        path = self.checkpoint / "model.safetensors"
        whole = path.read_bytes()

        def refused(data, says):
            path.write_bytes(data)
            self.refuses("gemma-convert", str(self.checkpoint), self.out, says=says)

        for size in [0, 7, 8, 100, len(whole) - 1]:
            refused(whole[:size], "model.safetensors: ")
        norm = "model.norm.weight"
        for changed, says in [({norm: ([64, 2], tensors[norm][1])}, "bytes"), ({norm: ([63], tensors[norm][1][:-4])}, None),
                              ({"model.layers.0.mlp.strange.weight": ([1], bytes(4))}, "unknown"),
                              ({"model.layers.0.self_attn.q_proj.weight": ([2, 64], bytes(512))}, "does not fit")]:
            data = {**tensors, **changed}
            if says is not None:
                refused(safetensors(data), says)
        refused(safetensors({k: v for k, v in tensors.items() if k != norm}), ["no tensor for", "output_norm.weight"])
        refused(safetensors(tensors, "F64"), "bytes, not the")
        refused(safetensors(tensors, "I32"), "I32")
        for header in ['{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}',
                       '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', '{"a": 1}', "[]", "{", "",
                       '{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
                       '{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 4]}}',
                       '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
                       '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}']:
            refused(struct.pack("<Q", len(header)) + header.encode() + bytes(4), "model.safetensors: ")
        self.assertFalse(os.path.exists(self.out))

    def test_tensors_in_two_files(self):
        file, tensors, config = self.take_apart("nano-mistral.F32.gguf", "MistralForCausalLM")
        self.lay_out(tensors, config, file.meta, 2)
        second = self.checkpoint / "model-00002-of-00002.safetensors"
        norm = {"model.norm.weight": tensors["model.norm.weight"]}
        first = self.checkpoint / "model-00001-of-00002.safetensors"
        for path in [first, second]:
            if b'"model.norm.weight"' not in path.read_bytes():
                path.write_bytes(safetensors(norm))
        self.refuses("gemma-convert", str(self.checkpoint), self.out, says=["model.norm.weight", "another file"])

    def large(self):
        """Writes a checkpoint with an embedding of 64 MB, so that the conversion can be interrupted."""
        file, tensors, config = self.take_apart("nano-mistral.F32.gguf", "MistralForCausalLM")
        config["vocab_size"], width = 250000, tensors["model.norm.weight"][0][0]
        tensors["model.embed_tokens.weight"] = ([250000, width], bytes(4 * 250000 * width))
        self.lay_out({k: v for k, v in tensors.items() if k != "lm_head.weight"}, config, file.meta)
        pathlib.Path(self.out).write_text("old")

    def test_a_full_disk_and_a_kill_leave_the_old_file(self):
        self.large()
        line = f"ulimit -f 1000; exec {BIN}/gemma-convert {self.checkpoint} {self.out} --type f32"
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=environment(), check=False, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rb"\Agemma-convert: [^\n]*cannot write: File too large\n\Z")
        self.assertFalse(os.path.exists(self.out + ".part"))
        self.assertEqual(pathlib.Path(self.out).read_text(), "old")
        for number, status in [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]:
            with subprocess.Popen([str(BIN / "gemma-convert"), str(self.checkpoint), self.out], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, env=environment()) as p:
                deadline = time.monotonic() + 30
                while not os.path.exists(self.out + ".part") and time.monotonic() < deadline:
                    time.sleep(0.001)
                p.send_signal(number)
                self.assertEqual(p.wait(60), status)
            self.assertEqual(pathlib.Path(self.out).read_text(), "old")
        self.convert("--type", "bf16")  # the files that the kill left behind do no harm
        self.assertFalse(os.path.exists(self.out + ".part"))

    def test_other_refusals(self):
        file, tensors, config = self.take_apart("nano-mistral.F32.gguf", "MistralForCausalLM")
        self.lay_out(tensors, config, file.meta)
        folder = str(self.checkpoint)

        def refused(says, *flags, **changes):
            (self.checkpoint / "config.json").write_text(json.dumps({**config, **changes}))
            self.refuses("gemma-convert", folder, self.out, *flags, says=says)

        refused(["StrangeModel", "LlamaForCausalLM"], architectures=["StrangeModel"])
        refused("hidden_size", hidden_size="x")
        refused("num_hidden_layers", num_hidden_layers=0)
        refused("blk.2.", num_hidden_layers=3)
        refused("does not fit", head_dim=32)
        refused("yarn", rope_scaling={"type": "yarn", "factor": 2})
        refused("--type", "--type", "q8")
        refused("stray", "stray")
        model = (self.checkpoint / "tokenizer.model").read_bytes()
        for bad in [b"", model[:50], b"\xff" * 20]:
            (self.checkpoint / "tokenizer.model").write_bytes(bad)
            refused("tokenizer.model: not a SentencePiece model")
        (self.checkpoint / "tokenizer.model").unlink()
        refused("tokenizer.json: cannot be read")
        (self.checkpoint / "config.json").write_text("{")
        self.refuses("gemma-convert", folder, self.out, says="config.json: not JSON")
        self.refuses("gemma-convert", str(self.folder / "none"), self.out, says="none: not a folder")
        self.refuses("gemma-convert", folder, "/dev/full", says="not a regular file")
        index = self.checkpoint / "model.safetensors.index.json"
        for text, says in [('{"weight_map": {"a": "../x"}}', "not the name of a file"), ('{"weight_map": {"a": "none"}}', "none: cannot open"),
                           ("{}", "index"), ('{"weight_map": {}}', "names no file")]:
            index.write_text(text)
            refused(says)
        self.assertFalse(os.path.exists(self.out))

    def test_help_and_version(self):
        text = self.succeeds("gemma-convert", "--help")
        self.assertIn("Usage: gemma-convert", text)
        self.assertTrue(all(len(line) <= 100 for line in text.splitlines()))
        self.assertRegex(self.succeeds("gemma-convert", "--version"), r"\Agemma-convert \d+\.\d+\.\d+\n\Z")


if __name__ == "__main__":
    unittest.main()
