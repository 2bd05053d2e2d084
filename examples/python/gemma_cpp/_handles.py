"""Owners of C objects, their behaviour after a fork, and calls that Ctrl-C can end. Private to the package."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Callable, Optional, Sequence, TypeVar, Union

import numpy as np
import numpy.typing as npt

from ._library import Error

Ids = Union[Sequence[int], npt.NDArray[Any]]  # token ids: a list, or an array of integers
T = TypeVar("T")


class Handle:
    """Owns a C object and frees it with the last reference. Views of its memory hold a reference to it, and it holds
    references to its parents.

    `has_thread`: a thread of the library works for the object. A forked process lacks that thread, so it neither uses
    nor frees the object.
    """

    def __init__(self, pointer: int, free: Callable[[int], None], *parents: Optional[Handle],
                 has_thread: bool = False) -> None:
        self.pointer = pointer
        self._free = free
        self._parents = parents
        self._pid = os.getpid() if has_thread else 0

    def __del__(self) -> None:
        if self.is_ours():
            self._free(self.pointer)

    def is_ours(self) -> bool:
        """Whether this process may use the object."""
        return self._pid in (0, os.getpid())

    def check_process(self, what: str) -> None:
        if not self.is_ours():
            raise Error(Error.INVALID_ARGUMENT, f"the thread of this {what} stayed in the process that was forked: make another one")


class Guarded:
    """Base of objects that one thread at a time may use; other threads wait. After a fork, a lock that another thread
    held is replaced, and the object is refused, since that thread may have left it in an inconsistent state."""

    _all: weakref.WeakSet[Guarded] = weakref.WeakSet()

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_torn = False
        Guarded._all.add(self)

    def _after_fork(self) -> None:
        if self._lock.acquire(blocking=False):  # the lock was free, or held by the thread that forked
            self._lock.release()
            return
        self._lock = threading.RLock()
        self._is_torn = True

    def check_whole(self) -> None:
        if self._is_torn:
            raise Error(Error.INVALID_ARGUMENT, "another thread computed with this when the process was forked: make another one")


def _after_fork_in_child() -> None:
    for each in list(Guarded._all):
        each._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


def id_array(ids: Ids) -> npt.NDArray[np.int32]:
    """Contiguous 32-bit ids for C. Raises TypeError for values that are not integers, OverflowError for larger ones."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError("token ids are one list of integers")
    if array.dtype != np.int32:
        if int(array.min()) < -(2**31) or int(array.max()) >= 2**31:
            raise OverflowError("a token id that has more than 32 bits")
        array = array.astype(np.int32)
    return np.ascontiguousarray(array)


def c_string(text: str, what: str) -> bytes:
    """The text in UTF-8 for C. Raises ValueError if it contains a NUL, which would end it."""
    if "\0" in text:
        raise ValueError(f"{what} with a NUL in it")
    return text.encode()


class _Memory:
    """Numbers in the memory of a C object, in a form that numpy.asarray() accepts."""

    def __init__(self, owner: object, address: int, n: int, kind: str, writable: bool) -> None:
        self._owner = owner  # arrays hold a reference to this object, which keeps the memory alive
        self.__array_interface__ = {"version": 3, "typestr": kind, "shape": (n,), "data": (address, not writable)}


def float_view(owner: object, address: int, n: int, *, writable: bool = False) -> npt.NDArray[np.float32]:
    """An array of the `n` floats at an address, without a copy. The array holds a reference to their owner."""
    return np.asarray(_Memory(owner, address, n, "<f4", writable), np.float32)


def id_view(owner: object, address: int, n: int) -> npt.NDArray[np.int32]:
    """A read-only array of the `n` ids at an address, without a copy. The array holds a reference to their owner."""
    return np.asarray(_Memory(owner, address, n, "<i4", False), np.int32) if n else np.empty(0, np.int32)


def interruptible(call: Callable[[], T], cancel: Callable[[], None], resume: Callable[[], None]) -> T:
    """Returns call(), a long computation in C. In the main thread, a signal handler that raises (Ctrl-C) cancels it.

    Python runs signal handlers only between its own instructions, so another thread computes while the main thread
    waits.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(call())
        except BaseException as e:
            errors.append(e)
        finally:
            done.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        done.wait()
    except BaseException:
        cancel()
        while not done.is_set():
            try:
                done.wait()
            except KeyboardInterrupt:
                pass  # the computation is ending already
        resume()
        raise
    if errors:
        raise errors[0]
    return results[0]
