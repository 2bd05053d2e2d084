"""Lets an object that many threads share generate one answer at a time. Private to the package."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator, Optional

from ._handles import Guarded


class Turn:
    """The exclusive right to compute, held until an answer ends."""

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.is_cut = False  # its thread requested another answer before this one had ended


class Turns(Guarded):
    """Gives turns to threads. Other threads wait; if the thread that has the turn requests another, its answer is
    ended."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = threading.Condition()
        self._turn: Optional[Turn] = None

    @contextmanager
    def take(self) -> Iterator[Turn]:
        me = threading.get_ident()
        with self._condition:
            while self._turn is not None and self._turn.owner != me:
                self._condition.wait()
            if self._turn is not None:
                self._turn.is_cut = True
            turn = self._turn = Turn(me)
        try:
            yield turn
        finally:
            with self._condition:
                if self._turn is turn:
                    self._turn = None
                    self._condition.notify_all()

    def _after_fork(self) -> None:
        self._condition = threading.Condition()
        if self._turn is not None and self._turn.owner != threading.get_ident():
            self._turn = None
