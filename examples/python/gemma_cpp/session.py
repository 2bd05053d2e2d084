"""Sessions: one sequence, its keys and values, and the logits after its last token."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from ctypes import byref, c_size_t
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Type

import numpy as np
import numpy.typing as npt

from . import _library as c
from ._handles import Guarded, Handle, Ids, float_view, id_array, interruptible
from ._library import Error, checked, lib
from .generation import REASONS, Generated, Plan, Token, token_of
from .model import Draft, Model, bytes_of, draft_fields, draft_handle, kv_type_number, list_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .generation import GenerateOptions

_SHORT = 16  # up to this many tokens are computed without another thread; Ctrl-C waits for them


class Snapshot:
    """An immutable copy of a session's sequence. to_bytes() gives bytes for a file, which Session.read_snapshot()
    reads."""

    def __init__(self, pointer: int, parent: Handle) -> None:
        self._parent = parent
        self.handle = Handle(pointer, lib().gemma_snapshot_free, parent)

    def to_bytes(self) -> bytes:
        n = c_size_t()
        arguments = (lib().gemma_snapshot_write, self.handle.pointer, self._parent.pointer)
        checked(*arguments, None, 0, byref(n))
        return bytes_of(*arguments, room=n.value)


class Session(Guarded):
    """One sequence of tokens. Any thread may call it: one computes while the others wait (see exclusive()).

    n_ctx: maximum number of tokens; 0: the model's context, at most 8192, within max_memory (bytes of the file and the
    session together; 0: no limit). n_threads: number of threads; 0: one for each physical core. chunk, logit_rows:
    maximum number of tokens of a prompt, and of score(), that one forward pass computes; they do not change results.
    draft: the source of guesses of the next tokens: "lookup" (the tokens that followed earlier in the sequence) or a
    smaller Model with the same vocabulary. One forward pass verifies up to draft_tokens (0: 8) guesses; answers are the
    same without them.
    """

    def __init__(self, model: Model, n_ctx: int = 0, *, n_threads: int = 0, chunk: int = 0, logit_rows: int = 0,
                 max_memory: int = 0, kv_type: str = "f16", draft: Draft = None, draft_tokens: int = 0) -> None:
        super().__init__()
        options = c.SessionOptions(n_ctx=n_ctx, n_threads=n_threads, chunk=chunk, logit_rows=logit_rows,
                                   max_memory=max_memory, kv_type=kv_type_number(kv_type),
                                   **draft_fields(draft, draft_tokens))
        parent = model.handle
        pointer = checked(lib().gemma_session_new, parent.pointer, byref(options))
        self._handle: Optional[Handle] = Handle(pointer, lib().gemma_session_free, parent, draft_handle(draft))
        self._parent = parent
        self._stream: Optional[weakref.ref[Stream]] = None  # the running generation
        self.model = model
        self.n_ctx = int(lib().gemma_session_n_ctx(pointer))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 where: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """Frees the session as soon as no view of its logits is left."""
        with self._lock:
            self._end_stream()
            self._handle = None

    @contextmanager
    def exclusive(self) -> Iterator[Session]:
        """Excludes other threads during several calls that belong together, e.g. set_tokens() and generate()."""
        with self._lock:
            yield self

    # ---- the sequence ----

    @property
    def n_past(self) -> int:
        """Number of tokens in the sequence."""
        with self._lock:
            return int(lib().gemma_session_n_past(self._pointer()))

    @property
    def tokens(self) -> list[int]:
        """The ids of the sequence."""
        with self._lock:
            pointer = self._pointer()
            ids = list_of(lib().gemma_session_get_tokens, pointer, room=int(lib().gemma_session_n_past(pointer)))
            return [int(i) for i in ids]

    def set_tokens(self, ids: Ids) -> int:
        """Makes the sequence equal to ids. The common prefix with the present sequence is kept, and the remaining
        tokens are computed. Returns the number of tokens that were kept."""
        given, reused = id_array(ids), c_size_t()
        self._compute(given.size, lib().gemma_session_set_tokens, given.ctypes.data, given.size, byref(reused))
        return reused.value

    def append(self, ids: Ids) -> None:
        """Appends tokens to the sequence."""
        given = id_array(ids)
        self._compute(given.size, lib().gemma_session_append, given.ctypes.data, given.size)

    def truncate(self, n: int) -> None:
        """Removes all but the first n tokens."""
        self._compute(0, lib().gemma_session_truncate, n)

    def reset(self) -> None:
        """Removes all tokens."""
        self.truncate(0)

    def logits(self) -> npt.NDArray[np.float32]:
        """Logits [vocab_size] after the last token: a read-only view of the engine's memory. The numbers are valid
        until the next call that changes the sequence; use copy() to keep them."""
        return self._floats(lib().gemma_session_logits, self.model.info.vocab_size)

    def hidden_state(self) -> npt.NDArray[np.float32]:
        """The final hidden state [d_model] of the last token after the output norm: a view, valid as logits()."""
        return self._floats(lib().gemma_session_hidden_state, self.model.info.d_model)

    def score(self, ids: Ids) -> npt.NDArray[np.float64]:
        """Appends ids to the sequence and returns the natural logarithm of the probability of each, given the tokens
        before it."""
        given = id_array(ids)
        out = np.empty(given.size, np.float64)
        self._compute(given.size, lib().gemma_session_score, given.ctypes.data, given.size, out.ctypes.data)
        return out

    # ---- copies of the sequence ----

    def snapshot(self) -> Snapshot:
        """A copy of the present sequence."""
        with self._lock:
            return Snapshot(checked(lib().gemma_session_snapshot, self._pointer()), self._parent)

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the sequence by that of a snapshot; computes nothing."""
        self._compute(0, lib().gemma_session_restore, snapshot.handle.pointer)

    def read_snapshot(self, data: bytes) -> Snapshot:
        """Reads the bytes of Snapshot.to_bytes(). Raises Error if they are damaged, truncated, or of another model."""
        with self._lock:
            pointer = checked(lib().gemma_snapshot_read, self._pointer(), data, len(data))
            return Snapshot(pointer, self._parent)

    # ---- generation ----

    def stream(self, **options: Unpack[GenerateOptions]) -> Stream:
        """Generates a continuation of the sequence: an iterator over Token that computes one token at a time.

        Ctrl-C ends it between two tokens. Any other use of the session ends it as well; the next token then raises
        Error.
        """
        plan = Plan(options)
        with self._lock:
            pointer = self._pointer()
            self._end_stream()
            stream = Stream(self, pointer, plan)
            self._stream = weakref.ref(stream)
            return stream

    def generate(self, *, on_token: Optional[Callable[[Token], object]] = None,
                 **options: Unpack[GenerateOptions]) -> Generated:
        """Generates a whole answer. on_token(token) may return False to end it early."""
        with self._lock:
            with self.stream(**options) as stream:
                for token in stream:
                    if on_token is not None and on_token(token) is False:
                        break
            return stream.result

    def cancel(self) -> None:
        """Cancels the running call, which ends as soon as possible, and all later calls until clear_cancel(). Any
        thread may call this."""
        handle = self._handle
        if handle is not None:
            lib().gemma_session_cancel(handle.pointer)

    def clear_cancel(self) -> None:
        """Ends the effect of cancel()."""
        handle = self._handle
        if handle is not None:
            lib().gemma_session_clear_cancel(handle.pointer)

    # ---- private ----

    def _pointer(self) -> int:
        """The address of the C object. The caller must hold the lock."""
        self.check_whole()
        if self._handle is None:
            raise ValueError("the session is closed")
        return self._handle.pointer

    def _end_stream(self) -> None:
        stream = None if self._stream is None else self._stream()
        if stream is not None:
            stream._end("cancelled")
            stream._is_cut = True
        self._stream = None

    def _floats(self, function: Any, n: int) -> npt.NDArray[np.float32]:
        with self._lock:
            pointer = self._pointer()
            self._end_stream()
            assert self._handle is not None
            return float_view(self._handle, checked(function, pointer), n)

    def _compute(self, n_tokens: int, function: Any, *arguments: Any) -> None:
        """Calls a function that changes the sequence and computes up to n_tokens tokens."""
        with self._lock:
            pointer = self._pointer()
            self._end_stream()
            if n_tokens <= _SHORT:
                checked(function, pointer, *arguments)
            else:
                interruptible(lambda: checked(function, pointer, *arguments), self.cancel, self.clear_cancel)


class Stream(Iterator[Token]):
    """A running generation, created by Session.stream()."""

    def __init__(self, session: Session, pointer: int, plan: Plan) -> None:
        self.result = Generated()  # the tokens generated so far; reason and seconds are set at the end
        self._session = session
        self._plan = plan
        self._token = c.TokenC()
        self._reference = byref(self._token)
        self._next = lib().gemma_stream_next
        self._sampler = plan.make_sampler()
        try:
            self._pointer = checked(lib().gemma_session_stream, pointer, self._sampler, byref(plan.c))
        except BaseException:
            lib().gemma_sampler_free(self._sampler)
            raise
        self._is_over = False
        self._is_cut = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Token:
        with self._session._lock:
            if self._is_cut:
                raise Error(Error.CANCELLED, "the session was used for something else before this answer had ended")
            if self._is_over:
                raise StopIteration
            self._session.check_whole()
            self._plan.calls = 0
            try:
                state = checked(self._next, self._pointer, self._reference)
                if self._plan.raised is not None:
                    raise self._plan.raised
                if self._plan.has_callbacks and self._plan.was_missed() and self._has_chosen(state):
                    raise KeyboardInterrupt
            except BaseException:
                self._end("callback" if self._plan.raised is not None else "error")
                if self._plan.raised is not None:
                    raise self._plan.raised from None
                raise
            if state == 0:
                self._end()
                raise StopIteration
            token = token_of(self._token)
            self.result.add(token, self._plan.log_probabilities)
            return token

    def _has_chosen(self, state: int) -> bool:
        """Whether the last step chose a token, including a token that ended the turn."""
        result = c.GenerateResultC()
        checked(lib().gemma_stream_get_result, self._pointer, byref(result))
        return self._token.id >= 0 if state != 0 else REASONS[result.reason] == "end_of_turn"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 where: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """Ends the generation if it is still running. The last token that was returned is not in the session's
        sequence."""
        with self._session._lock:
            self._end("callback")

    def __del__(self) -> None:
        # no lock is needed: no other thread has a reference, and freeing does not touch the session
        if not getattr(self, "_is_over", True):
            self._free()

    def _free(self) -> None:
        self._is_over = True
        lib().gemma_stream_free(self._pointer)
        lib().gemma_sampler_free(self._sampler)

    def _end(self, reason: Optional[str] = None) -> None:
        """Completes the result. The caller must hold the session's lock. The reason is C's unless one is given."""
        if self._is_over:
            return
        result = c.GenerateResultC()
        checked(lib().gemma_stream_get_result, self._pointer, byref(result))
        self.result.finish(result, reason)
        self._free()


__all__ = ["Error", "Session", "Snapshot", "Stream"]
