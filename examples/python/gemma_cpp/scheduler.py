"""Schedulers compute requests from any number of threads together. Prefixes that requests share are computed once."""

from __future__ import annotations

from ctypes import byref
from types import TracebackType
from typing import TYPE_CHECKING, Iterator, Optional, Type

from . import _library as c
from ._handles import Guarded, Handle, Ids, id_array
from ._library import checked, lib
from .generation import Generated, Plan, Token, token_of
from .model import Draft, Model, draft_fields, draft_handle, kv_type_number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .generation import GenerateOptions

_WAIT_MS = 100  # duration of one wait in C: Ctrl-C is noticed between waits
_END, _TOKEN = 0, 1


class Scheduler:
    """Computes up to max_sequences requests at the same time in a separate thread; any thread may submit requests.

    n_ctx: maximum number of tokens of each request; the other options are those of Session. A forked process lacks the
    thread and must create another scheduler.
    """

    def __init__(self, model: Model, max_sequences: int = 8, n_ctx: int = 0, *, n_threads: int = 0, chunk: int = 0,
                 max_memory: int = 0, max_queue: int = 0, kv_type: str = "f16", draft: Draft = None,
                 draft_tokens: int = 0) -> None:
        options = c.SchedulerOptions(max_sequences=max_sequences, n_ctx=n_ctx, n_threads=n_threads, chunk=chunk,
                                     max_memory=max_memory, max_queue=max_queue, kv_type=kv_type_number(kv_type),
                                     **draft_fields(draft, draft_tokens))
        self._parent = model.handle
        pointer = checked(lib().gemma_scheduler_new, self._parent.pointer, byref(options))
        self._handle: Optional[Handle] = Handle(pointer, lib().gemma_scheduler_free, self._parent, draft_handle(draft),
                                                has_thread=True)
        self.model = model

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 where: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """Cancels all requests; their answers stay valid. While another thread is in submit(), the scheduler lives
        until that call has returned."""
        self._handle = None

    def submit(self, ids: Ids, **options: Unpack[GenerateOptions]) -> Answer:
        """Adds a request to the queue. The scheduler's thread calls `pick` and `process`, so all requests wait while
        they run. `noted` is not supported."""
        handle = self._handle
        if handle is None:
            raise ValueError("the scheduler is closed")
        handle.check_process("scheduler")
        if options.get("noted"):
            raise TypeError("a scheduler takes no 'noted'")
        plan, given = Plan(options), id_array(ids)
        pointer = checked(lib().gemma_scheduler_submit, handle.pointer, given.ctypes.data, given.size,
                          byref(plan.sampler), byref(plan.c))
        return Answer(pointer, self._parent, plan)


class Answer(Guarded, Iterator[Token]):
    """The answer to a request: an iterator over Token. The request is cancelled when no reference to the answer is
    left."""

    def __init__(self, pointer: int, parent: Handle, plan: Plan) -> None:
        super().__init__()
        self.result = Generated()  # the tokens read so far; reason and seconds are set at the end
        self._plan = plan  # must stay alive: C calls its callbacks
        self._handle: Optional[Handle] = Handle(pointer, lib().gemma_answer_free, parent, has_thread=True)
        self._token = c.TokenC()

    def __iter__(self) -> Answer:
        return self

    def __next__(self) -> Token:
        with self._lock:
            handle = self._handle
            if handle is None or self.result.reason:
                raise StopIteration
            handle.check_process("answer")
            try:
                while (state := checked(lib().gemma_answer_next, handle.pointer, byref(self._token), _WAIT_MS)) > _TOKEN:
                    pass
            finally:
                if self._plan.raised is not None:  # the exception of a callback ended the request
                    self.cancel()
                    raise self._plan.raised
            if state == _END:
                self._finish(handle)
                raise StopIteration
            token = token_of(self._token)
            self.result.add(token, self._plan.log_probabilities)
            return token

    def wait(self) -> Generated:
        """Waits for the end; returns the whole answer, including the tokens that were read before."""
        for _ in self:
            pass
        return self.result

    def cancel(self) -> None:
        """Ends the request as soon as possible; text that was generated before can still be read."""
        handle = self._handle
        if handle is not None:
            handle.check_process("answer")
            lib().gemma_answer_cancel(handle.pointer)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is None or not self._plan.has_callbacks or self.result.reason or not handle.is_ours():
            return
        lib().gemma_answer_cancel(handle.pointer)  # then wait: C must not call destroyed callbacks
        lib().gemma_answer_wait(handle.pointer, None, None)

    def _finish(self, handle: Handle) -> None:
        result = c.GenerateResultC()
        checked(lib().gemma_answer_wait, handle.pointer, byref(result))
        self.result.finish(result)


__all__ = ["Answer", "Scheduler"]
