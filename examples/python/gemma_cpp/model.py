"""Models: files mapped into memory. Immutable; any number of threads may use one."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from ctypes import byref, c_char_p, c_float, c_size_t
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Type, Union

import numpy as np
import numpy.typing as npt

from . import _library as c
from ._handles import Handle, Ids, c_string, id_array, interruptible
from ._library import Error, checked, lib

# messages: a turn is ("user", "text") or {"role": "user", "content": "text"}
Path = Union[str, "os.PathLike[str]"]
MessageLike = Union[Tuple[str, str], Mapping[str, str]]
# the source of guesses of the next tokens: "lookup", a smaller model with the same vocabulary, or None
Draft = Union[None, str, "Model"]

_EMBED_AT_ONCE = 32  # texts per call of C: Ctrl-C is noticed between calls; does not change results


@dataclass(frozen=True)
class ModelInfo:
    """Sizes of a model."""

    name: str  # from the file, or ""
    vocab_size: int  # ids are 0 .. vocab_size - 1
    d_model: int  # elements of a hidden state
    n_layers: int
    max_seq_len: int  # context that the model was trained with, in tokens
    file_bytes: int
    bos: int  # id of the token that begins a text, or -1
    eos: int  # id of the token that ends a text, or -1
    embedding_width: int  # elements of a vector of embed()
    has_head: bool  # False: the model supports embeddings only, not sessions


@dataclass(frozen=True)
class Plan:
    """The memory of a session, in bytes."""

    file_bytes: int  # mapped, shared between sessions and processes
    kv_bytes: int
    workspace_bytes: int
    token_bytes: int
    n_ctx: int
    draft_bytes: int = 0  # memory for guesses; for a draft model including its file


def role_and_content(message: MessageLike) -> Tuple[str, str]:
    if isinstance(message, Mapping):
        return message["role"], message["content"]
    role, content = message
    return role, content


def list_of(function: Any, *arguments: Any, room: int) -> npt.NDArray[np.int32]:
    """Calls a function that fills a list of ids; `room` is the estimated length of the list."""
    n = c_size_t()
    while True:
        out = np.empty(room, np.int32)
        checked(function, *arguments, out.ctypes.data, room, byref(n))
        if n.value <= room:
            return out[: n.value]
        room = n.value


def bytes_of(function: Any, *arguments: Any, room: int) -> bytes:
    """Calls a function that fills a list of bytes; `room` as in list_of()."""
    n = c_size_t()
    while True:
        out = ctypes.create_string_buffer(max(room, 1))
        checked(function, *arguments, ctypes.addressof(out), room, byref(n))
        if n.value <= room:
            return out.raw[: n.value]
        room = n.value


def kv_type_number(kv_type: str) -> int:
    """C's number of a storage type of keys and values. Raises ValueError for an unknown name."""
    try:
        return {"f16": 1, "f32": 2, "q8": 3}[kv_type]
    except KeyError:
        raise ValueError(f"kv_type is 'f16', 'f32' or 'q8', not {kv_type!r}") from None


def draft_handle(draft: Draft) -> Optional[Handle]:
    """The handle of a draft model, which must live as long as the object that uses it; None for other drafts."""
    return draft.handle if isinstance(draft, Model) else None


def draft_fields(draft: Draft, n_tokens: int) -> Dict[str, Any]:
    """The fields of C's options for a draft. Raises ValueError for an unknown source."""
    model = draft_handle(draft)
    if model is not None:
        return {"draft": 2, "draft_model": model.pointer, "draft_tokens": n_tokens}
    if draft not in (None, "off", "lookup"):
        raise ValueError(f"draft is None, 'lookup' or a Model, not {draft!r}")
    return {"draft": int(draft == "lookup"), "draft_tokens": n_tokens}


class Model:
    """A loaded GGUF file. Threads may share it. Processes that load the same file share its memory.

    isa: the instruction set of the kernels, e.g. "avx2"; None: the best one for this CPU. window: a sliding window that
    replaces the file's; 0: none. adapters: LoRA files and their scales, {"file.gguf": 1.0}, all applied together.
    Pickling (multiprocessing, "spawn") stores the path and these options: the other process maps the same files.
    """

    def __init__(self, path: Path, *, isa: Optional[str] = None, window: Optional[int] = None,
                 adapters: Optional[Mapping[Path, float]] = None) -> None:
        library = lib()
        scales = {os.fspath(file): float(scale) for file, scale in (adapters or {}).items()}
        self._arguments = (os.fspath(path), isa, window, scales)
        files = (c_char_p * len(scales))(*map(os.fsencode, scales))
        options = c.ModelOptions(isa=None if isa is None else isa.encode(), window=-1 if window is None else window,
                                 adapters=files, n_adapters=len(scales),
                                 adapter_scales=(c_float * len(scales))(*scales.values()))
        pointer = checked(library.gemma_model_load, os.fsencode(path), byref(options))
        self._handle: Optional[Handle] = Handle(pointer, library.gemma_model_free)
        info = c.ModelInfoC()
        checked(library.gemma_model_get_info, pointer, byref(info))
        name = library.gemma_model_get_name(pointer).decode(errors="replace")
        values = {field: getattr(info, field) for field, *_ in info._fields_ if field != "size"}
        self.info = ModelInfo(name=name, **{**values, "has_head": bool(info.has_head)})

    def __reduce__(self) -> Tuple[Callable[..., Model], Tuple[Any, ...]]:
        return _load_again, self._arguments

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 where: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file as soon as no object that was created from the model is left."""
        self._handle = None

    @property
    def handle(self) -> Handle:
        if self._handle is None:
            raise ValueError("the model is closed")
        return self._handle

    def is_end(self, token: int) -> bool:
        """Whether a token ends a turn or a text."""
        handle = self.handle  # a reference, so that another thread may close the model during the call; also below
        return bool(lib().gemma_model_is_end(handle.pointer, token))

    def encode(self, text: Union[str, bytes], *, bos: bool = False, special: bool = False) -> list[int]:
        """The ids of a text. bos: begin with the BOS token if the model requires one. special: the spelling of a
        control token in the text becomes its id."""
        data = text.encode() if isinstance(text, str) else bytes(text)
        flags = (1 if bos else 0) | (2 if special else 0)
        handle = self.handle
        ids = list_of(lib().gemma_encode, handle.pointer, data, len(data), flags, room=len(data) + 4)
        return [int(i) for i in ids]

    def decode_bytes(self, ids: Ids) -> bytes:
        """The bytes of ids; they may end within a character. Control tokens are skipped."""
        handle, given = self.handle, id_array(ids)
        return bytes_of(lib().gemma_decode, handle.pointer, given.ctypes.data, len(given), room=16 * len(given))

    def decode(self, ids: Ids) -> str:
        """The text of ids; incomplete characters become U+FFFD. Control tokens are skipped."""
        return self.decode_bytes(ids).decode(errors="replace")

    def encode_chat(self, messages: Sequence[MessageLike]) -> list[int]:
        """The ids of a conversation in the model's chat template, up to the beginning of the next answer."""
        turns = [role_and_content(m) for m in messages]
        given = (c.Message * len(turns))(*[c.Message(c_string(role, "a role"), c_string(content, "a message"))
                                           for role, content in turns])
        room = sum(len(content.encode()) for _, content in turns) + 16 * (len(turns) + 1)
        handle = self.handle
        ids = list_of(lib().gemma_encode_chat, handle.pointer, given, len(turns), room=room)
        return [int(i) for i in ids]

    def plan(self, n_ctx: int = 0, *, chunk: int = 0, logit_rows: int = 0, max_memory: int = 0, n_threads: int = 0,
             kv_type: str = "f16", draft: Draft = None, draft_tokens: int = 0) -> Plan:
        """The memory that a session with these options would need, without creating it."""
        options = c.SessionOptions(n_ctx=n_ctx, chunk=chunk, logit_rows=logit_rows, max_memory=max_memory,
                                   n_threads=n_threads, kv_type=kv_type_number(kv_type),
                                   **draft_fields(draft, draft_tokens))
        handle, plan = self.handle, c.MemoryPlan()
        checked(lib().gemma_model_plan, handle.pointer, byref(options), byref(plan))
        return Plan(**{field: getattr(plan, field) for field, *_ in plan._fields_ if field != "size"})

    def embed(self, texts: Union[str, Sequence[str]], *, prompt: str = "", dims: int = 0, pooling: str = "",
              truncate: bool = False, n_ctx: int = 0, n_threads: int = 0) -> npt.NDArray[np.float32]:
        """One vector of length 1 for each text: [n_texts, width], or [width] for a single text.

        prompt: "query" or "document", for models that were trained with prompts (EmbeddingGemma). pooling: "mean",
        "first" or "last", instead of the model's. dims: keep only this many elements of each vector. truncate: use only
        the beginning of a text that is too long; otherwise that is an error.
        """
        if isinstance(texts, str):
            return self.embed([texts], prompt=prompt, dims=dims, pooling=pooling, truncate=truncate, n_ctx=n_ctx,
                              n_threads=n_threads).reshape(-1)
        options = c.EmbedOptions(n_ctx=n_ctx, dims=dims, n_threads=n_threads, truncate=truncate,
                                 prompt=_place(prompt, ("", "query", "document"), "prompt"),
                                 pooling=_place(pooling, ("", "mean", "first", "last"), "pooling"))
        width = dims or self.info.embedding_width
        out = np.empty((len(texts), width), np.float32)
        data = [text.encode() for text in texts]
        handle, n = self.handle, c_size_t()
        for begin in range(0, max(len(data), 1), _EMBED_AT_ONCE):
            part = data[begin:begin + _EMBED_AT_ONCE]
            given = (c.Text * len(part))(*[c.Text(d, len(d)) for d in part])
            to = out[begin:]
            arguments = (lib().gemma_embed, handle.pointer, given, len(part), byref(options), to.ctypes.data, to.size, byref(n))
            interruptible(lambda: checked(*arguments), cancel=_nothing, resume=_nothing)
        return out


def _nothing() -> None:
    pass


def _place(name: str, names: Tuple[str, ...], what: str) -> int:
    if name not in names:
        raise ValueError(f"{what} is one of {', '.join(map(repr, names))}, not {name!r}")
    return names.index(name)


def _load_again(path: str, isa: Optional[str], window: Optional[int], adapters: Mapping[Path, float]) -> Model:
    return Model(path, isa=isa, window=window, adapters=adapters)


__all__ = ["Draft", "Error", "MessageLike", "Model", "ModelInfo", "Plan"]
