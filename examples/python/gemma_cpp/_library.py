"""The C interface (gemma/c_api.h) by ctypes: structures, functions, errors. Private to the package.

Invariant: every call that can fail goes through checked(), which turns a gemma_error into Error.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    CFUNCTYPE,
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any, Optional

_SYSTEM_NAME = "libgemma.so.0.2"
_loaded: Optional[ctypes.CDLL] = None


class Error(Exception):
    """An error of the library: one line of text, and its code (gemma_error_code of gemma/c_api.h)."""

    IO = 1
    MALFORMED = 5
    UNSUPPORTED = 10
    INVALID_ARGUMENT = 11
    CONTEXT_FULL = 12
    OUT_OF_MEMORY = 13
    CANCELLED = 14

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class Sized(ctypes.Structure):
    """Base of the structures for options and results, whose first field is their size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(size=ctypes.sizeof(self), **values)


def _sizes(*names: str) -> list[tuple[str, Any]]:
    return [(name, c_size_t) for name in names]


class ModelOptions(Sized):
    _fields_ = [("size", c_size_t), ("isa", c_char_p), ("window", c_int64), ("adapters", POINTER(c_char_p)),
                ("n_adapters", c_size_t), ("adapter_scales", POINTER(c_float))]


class ModelInfoC(Sized):
    _fields_ = _sizes("size", "vocab_size", "d_model", "n_layers", "max_seq_len", "file_bytes") + [
        ("bos", c_int32), ("eos", c_int32), ("embedding_width", c_size_t), ("has_head", c_int)]


_DRAFT: list[tuple[str, Any]] = [("draft_tokens", c_size_t), ("draft_model", c_void_p), ("draft", c_int)]


class SessionOptions(Sized):
    _fields_ = _sizes("size", "n_ctx", "chunk", "logit_rows", "max_memory") + [
        ("n_threads", c_uint), ("kv_float32", c_int), ("kv_type", c_int), *_DRAFT]


class MemoryPlan(Sized):
    _fields_ = _sizes("size", "file_bytes", "kv_bytes", "workspace_bytes", "token_bytes", "n_ctx", "draft_bytes")


class SamplerOptions(Sized):
    _fields_ = [("size", c_size_t), ("temperature", c_float), ("top_k", c_size_t), ("top_p", c_float),
                ("min_p", c_float), ("repeat_penalty", c_float), ("repeat_last", c_size_t), ("seed", c_uint64)]


class SchedulerOptions(Sized):
    _fields_ = _sizes("size", "max_sequences", "n_ctx", "chunk", "max_memory", "max_queue") + [
        ("n_threads", c_uint), ("kv_type", c_int), *_DRAFT]


class Message(ctypes.Structure):
    _fields_ = [("role", c_char_p), ("content", c_char_p)]


class Text(ctypes.Structure):
    _fields_ = [("text", c_char_p), ("length", c_size_t)]


class EmbedOptions(Sized):
    _fields_ = _sizes("size", "n_ctx", "chunk", "dims", "max_memory") + [
        ("n_threads", c_uint), ("prompt", c_int), ("pooling", c_int), ("truncate", c_int)]


class TokenC(ctypes.Structure):
    _fields_ = [("id", c_int32), ("text", c_void_p), ("text_length", c_size_t), ("log_probability", c_double)]


class TokenProbability(ctypes.Structure):
    _fields_ = [("id", c_int32), ("log_probability", c_double)]


ON_TOKEN = CFUNCTYPE(c_int, POINTER(TokenC), c_void_p)
PICK = CFUNCTYPE(c_int32, c_void_p, c_size_t, c_void_p)
PROCESS = CFUNCTYPE(None, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)


class GenerateOptionsC(Sized):
    _fields_ = [("size", c_size_t), ("max_tokens", c_size_t), ("stop_strings", POINTER(c_char_p)),
                ("n_stop_strings", c_size_t), ("ignore_end", c_int), ("log_probabilities", c_int),
                ("on_token", ON_TOKEN), ("pick", PICK), ("user", c_void_p), ("process", PROCESS),
                ("grammar", c_void_p), ("no_draft", c_int)]


class GenerateResultC(Sized):
    _fields_ = [("size", c_size_t), ("n_tokens", c_size_t), ("reason", c_int), ("seconds", c_double),
                ("first_token_seconds", c_double), *_sizes("n_steps", "n_drafted", "n_accepted")]


_SIZE = POINTER(c_size_t)
_ERROR = c_void_p  # gemma_error**
_IDS = c_void_p  # const int32_t*, of a NumPy array
_LIST = [_IDS, c_size_t, _SIZE, _ERROR]  # a list to be filled, its capacity, and the address of its full length
_FUNCTIONS: list[tuple[str, Any, list[Any]]] = [
    ("gemma_version", c_char_p, []),
    ("gemma_error_get_code", c_int, [c_void_p]),
    ("gemma_error_get_message", c_char_p, [c_void_p]),
    ("gemma_error_free", None, [c_void_p]),
    ("gemma_model_load", c_void_p, [c_char_p, POINTER(ModelOptions), _ERROR]),
    ("gemma_model_free", None, [c_void_p]),
    ("gemma_model_get_info", c_int, [c_void_p, POINTER(ModelInfoC), _ERROR]),
    ("gemma_model_get_name", c_char_p, [c_void_p]),
    ("gemma_model_is_end", c_int, [c_void_p, c_int32]),
    ("gemma_model_plan", c_int, [c_void_p, POINTER(SessionOptions), POINTER(MemoryPlan), _ERROR]),
    ("gemma_encode", c_int, [c_void_p, c_char_p, c_size_t, c_int, *_LIST]),
    ("gemma_decode", c_int, [c_void_p, _IDS, c_size_t, *_LIST]),
    ("gemma_encode_chat", c_int, [c_void_p, POINTER(Message), c_size_t, *_LIST]),
    ("gemma_conversation_new", c_void_p, [c_void_p, c_char_p, _ERROR]),
    ("gemma_conversation_free", None, [c_void_p]),
    ("gemma_conversation_get_note", c_char_p, [c_void_p]),
    ("gemma_conversation_n_messages", c_size_t, [c_void_p]),
    ("gemma_conversation_add", c_int, [c_void_p, c_char_p, c_char_p, _IDS, c_size_t, _ERROR]),
    ("gemma_conversation_truncate", c_int, [c_void_p, c_size_t, _ERROR]),
    ("gemma_conversation_encode", c_int, [c_void_p, c_int, *_LIST]),
    ("gemma_session_new", c_void_p, [c_void_p, POINTER(SessionOptions), _ERROR]),
    ("gemma_session_free", None, [c_void_p]),
    ("gemma_session_set_tokens", c_int, [c_void_p, _IDS, c_size_t, _SIZE, _ERROR]),
    ("gemma_session_append", c_int, [c_void_p, _IDS, c_size_t, _ERROR]),
    ("gemma_session_truncate", c_int, [c_void_p, c_size_t, _ERROR]),
    ("gemma_session_n_past", c_size_t, [c_void_p]),
    ("gemma_session_n_ctx", c_size_t, [c_void_p]),
    ("gemma_session_get_tokens", c_int, [c_void_p, *_LIST]),
    ("gemma_session_logits", c_void_p, [c_void_p, _ERROR]),
    ("gemma_session_hidden_state", c_void_p, [c_void_p, _ERROR]),
    ("gemma_session_score", c_int, [c_void_p, _IDS, c_size_t, c_void_p, _ERROR]),
    ("gemma_session_cancel", None, [c_void_p]),
    ("gemma_session_clear_cancel", None, [c_void_p]),
    ("gemma_session_snapshot", c_void_p, [c_void_p, _ERROR]),
    ("gemma_session_restore", c_int, [c_void_p, c_void_p, _ERROR]),
    ("gemma_snapshot_write", c_int, [c_void_p, c_void_p, *_LIST]),
    ("gemma_snapshot_read", c_void_p, [c_void_p, c_char_p, c_size_t, _ERROR]),
    ("gemma_snapshot_free", None, [c_void_p]),
    ("gemma_sampler_new", c_void_p, [POINTER(SamplerOptions), _ERROR]),
    ("gemma_sampler_free", None, [c_void_p]),
    ("gemma_sampler_sample", c_int32, [c_void_p, c_void_p, c_size_t, _ERROR]),
    ("gemma_sampler_note", c_int, [c_void_p, c_int32, _ERROR]),
    ("gemma_top_log_probabilities", c_int,
     [c_void_p, c_size_t, POINTER(TokenProbability), c_size_t, _SIZE, _ERROR]),
    ("gemma_grammar_new", c_void_p, [c_void_p, c_int, c_char_p, c_size_t, _ERROR]),
    ("gemma_grammar_free", None, [c_void_p]),
    ("gemma_grammar_matches", c_int, [c_void_p, c_char_p, c_size_t, _ERROR]),
    ("gemma_session_stream", c_void_p, [c_void_p, c_void_p, POINTER(GenerateOptionsC), _ERROR]),
    ("gemma_stream_next", c_int, [c_void_p, POINTER(TokenC), _ERROR]),
    ("gemma_stream_get_result", c_int, [c_void_p, POINTER(GenerateResultC), _ERROR]),
    ("gemma_stream_free", None, [c_void_p]),
    ("gemma_scheduler_new", c_void_p, [c_void_p, POINTER(SchedulerOptions), _ERROR]),
    ("gemma_scheduler_free", None, [c_void_p]),
    ("gemma_scheduler_submit", c_void_p,
     [c_void_p, _IDS, c_size_t, POINTER(SamplerOptions), POINTER(GenerateOptionsC), _ERROR]),
    ("gemma_answer_next", c_int, [c_void_p, POINTER(TokenC), c_int64, _ERROR]),
    ("gemma_answer_wait", c_int, [c_void_p, POINTER(GenerateResultC), _ERROR]),
    ("gemma_answer_cancel", None, [c_void_p]),
    ("gemma_answer_free", None, [c_void_p]),
    ("gemma_embed", c_int, [c_void_p, POINTER(Text), c_size_t, POINTER(EmbedOptions), *_LIST]),
]


def load_library(path: Optional[str] = None) -> None:
    """Loads libgemma once: the file `path`, or else the one installed with the package, or else that of the system."""
    global _loaded
    if path is None:
        own = Path(__file__).with_name("libgemma.so")
        path = str(own) if own.exists() else _SYSTEM_NAME
    loaded = ctypes.CDLL(os.fspath(path))
    for name, result, arguments in _FUNCTIONS:
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    _loaded = loaded


def lib() -> ctypes.CDLL:
    """The library, which is loaded at the first call."""
    if _loaded is None:
        load_library()
    assert _loaded is not None
    return _loaded


def version() -> str:
    """The version of the loaded library."""
    return str(lib().gemma_version().decode())


def checked(function: Any, *arguments: Any) -> Any:
    """Calls a function whose last parameter receives an error; raises it as Error."""
    error = c_void_p()
    result = function(*arguments, byref(error))
    if error:
        raise _taken(error)
    return result


def _taken(error: c_void_p) -> Error:
    library = lib()
    out = Error(library.gemma_error_get_code(error), library.gemma_error_get_message(error).decode(errors="replace"))
    library.gemma_error_free(error)
    return out
