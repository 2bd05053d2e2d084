"""Options of llama-cpp-python: supported, without effect, or refused. Private to the package.

Invariant: an option that would change answers is either supported or refused by name; one that only changes speed or
memory gives a warning.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

# options of the constructor: name -> values that agree with what this engine does
_NO_EFFECT: Dict[str, Tuple[Any, ...]] = {
    "n_gpu_layers": (0, None), "split_mode": (1, None), "main_gpu": (0, None), "tensor_split": (None,),
    "use_mmap": (True, None), "use_mlock": (False, None), "n_threads_batch": (None,), "n_ubatch": (512, None),
    "logits_all": (True, False, None), "embedding": (True, False, None), "offload_kqv": (True, False, None),
    "op_offload": (None,), "flash_attn": (True, False, None), "swa_full": (None,), "no_perf": (True, False, None),
    "numa": (False, None), "mul_mat_q": (True, None), "n_parts": (-1, None), "rpc_servers": (None,),
    "spm_infill": (False, None), "kv_unified": (None,), "low_vram": (False, None),
}
_REFUSED: Dict[str, Tuple[Any, ...]] = {
    "vocab_only": (False, None), "rope_scaling_type": (-1, None), "rope_freq_base": (0, None),
    "rope_freq_scale": (0, 1, None), "yarn_ext_factor": (-1, None), "yarn_attn_factor": (1, None),
    "yarn_beta_fast": (32, None), "yarn_beta_slow": (1, None), "yarn_orig_ctx": (0, None), "pooling_type": (-1, None),
    "kv_overrides": (None,), "lora_base": (None,),
    "chat_handler": (None,), "draft_model": (None,), "tokenizer": (None,),
}
_REFUSED_OF_CALLS: Dict[str, Tuple[Any, ...]] = {
    "suffix": (None, ""), "typical_p": (1, None), "tfs_z": (1, None), "mirostat_mode": (0, None),
    "mirostat_tau": (5, None), "mirostat_eta": (0.1, None), "stopping_criteria": (None,), "functions": (None, []),
    "function_call": (None, "none"), "tools": (None, []), "tool_choice": (None, "none", "auto"), "n": (1, None),
    "best_of": (1, None), "xtc_probability": (0, None), "dry_multiplier": (0, None), "top_n_sigma": (-1, None),
    "adaptive_target": (-1, None),
}

CHAT_FORMATS = {"gemma": "gemma", "llama-2": "llama2", "llama-3": "llama3", "mistral-instruct": "mistral",
                "chatml": "chatml", "zephyr": "zephyr"}


def _is_one_of(value: Any, values: Iterable[Any]) -> bool:
    return any(value is v or (v is not None and type(value) in (int, float, bool, str, list) and value == v) for v in values)


def check_constructor(options: Mapping[str, Any], note: bool) -> None:
    """Raises ValueError for an unsupported option that would change answers, TypeError for an unknown name."""
    for name, value in options.items():
        if name in _NO_EFFECT:
            if note and not _is_one_of(value, _NO_EFFECT[name]):
                warnings.warn(f"{name}={value!r} changes nothing here: this engine maps the file and computes on CPUs",
                              stacklevel=4)
        elif name in _REFUSED:
            if not _is_one_of(value, _REFUSED[name]):
                raise ValueError(f"{name}={value!r} is not supported, and leaving it out would change the answers")
        else:
            raise TypeError(f"Llama() got an unexpected keyword argument {name!r}")


def check_call(options: Mapping[str, Any]) -> None:
    """Raises as check_constructor()."""
    for name, value in options.items():
        if name not in _REFUSED_OF_CALLS:
            raise TypeError(f"there is no option {name!r}")
        if not _is_one_of(value, _REFUSED_OF_CALLS[name]):
            raise ValueError(f"{name}={value!r} is not supported, and leaving it out would change the answers")


def kv_type_of(type_k: Optional[int], type_v: Optional[int], f16_kv: Optional[bool]) -> str:
    """The storage type of keys and values from ggml's numbers: 0 is float32, 1 float16, 8 Q8_0."""
    if type_k is None and type_v is None:
        return "f32" if f16_kv is False else "f16"
    kinds = {0: "f32", 1: "f16", 8: "q8"}
    if type_k != type_v or type_k not in kinds:
        raise ValueError(f"type_k={type_k!r}, type_v={type_v!r}: keys and values are both 0 (f32), 1 (f16) or 8 (q8)")
    return kinds[type_k]


def stop_list(stop: Union[None, str, Sequence[str]]) -> List[str]:
    return [stop] if isinstance(stop, str) else [s for s in stop or () if s]


def text_of(content: Any) -> str:
    """The text of a message's content: a text, or a list of text parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = list(content)
    for part in parts:
        if part.get("type") != "text":
            raise ValueError(f"a message's part of type {part.get('type')!r}: only text is understood")
    return "".join(part["text"] for part in parts)


def schema_of(response_format: Optional[Mapping[str, Any]]) -> Optional[Any]:
    """The required form of an answer. None: free text; True: any JSON object; otherwise a schema."""
    kind = None if response_format is None else response_format.get("type")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        schema = response_format.get("schema")
        return True if schema is None else schema
    if kind == "json_schema":
        return response_format["json_schema"]["schema"]
    raise ValueError(f"response_format of type {kind!r}")
