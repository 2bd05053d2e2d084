"""Options and results of generations, for sessions and schedulers."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_void_p
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _library as c
from ._handles import c_string, float_view, id_view
from ._library import checked, lib

if TYPE_CHECKING:
    from typing_extensions import TypedDict

    from .grammar import Grammar

REASONS = ("end_of_turn", "stop_string", "max_tokens", "context_full", "callback", "cancelled")

# changes logits [vocab_size] in place before a token is chosen; the second argument is the sequence so far
Process = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int32]], None]
# chooses the next token from logits [vocab_size]
Pick = Callable[[npt.NDArray[np.float32]], int]


class Token(NamedTuple):
    """One step of a generation."""

    id: int  # -1: the step only returns text that had been held back
    text: str  # new text in whole characters; often ""
    log_probability: float  # natural logarithm if requested, otherwise 0


@dataclass
class Generated:
    """A generated answer."""

    text: str = ""
    tokens: List[int] = field(default_factory=list)  # without the token that ended the turn
    reason: str = ""  # one of REASONS; "" while it runs
    seconds: float = 0.0  # from the call to the end of the answer
    first_token_seconds: float = 0.0
    log_probabilities: List[float] = field(default_factory=list)  # of `tokens`, if requested
    n_steps: int = 0  # forward passes that computed tokens of the answer
    n_drafted: int = 0  # guesses that these passes verified
    n_accepted: int = 0  # guesses that were chosen

    def add(self, token: Token, with_log_probability: bool) -> None:
        self.text += token.text
        if token.id >= 0:
            self.tokens.append(token.id)
            if with_log_probability:
                self.log_probabilities.append(token.log_probability)

    def finish(self, result: c.GenerateResultC, reason: Optional[str] = None) -> None:
        """Sets the counts from C's result, and the reason to C's unless one is given."""
        self.seconds, self.first_token_seconds = result.seconds, result.first_token_seconds
        self.n_steps, self.n_drafted, self.n_accepted = result.n_steps, result.n_drafted, result.n_accepted
        self.reason = reason or REASONS[result.reason]


if TYPE_CHECKING:

    class SamplingOptions(TypedDict, total=False):
        """How the next token is chosen; by default the likeliest one (greedy)."""

        temperature: float  # divides the logits; 0: always the likeliest token
        top_k: int  # keep the k likeliest tokens; 0: all
        top_p: float  # keep the smallest set of tokens whose probabilities sum to at least this; 1: all
        min_p: float  # keep tokens with at least min_p times the probability of the likeliest one; 0: all
        repeat_penalty: float  # penalty on the logits of recent tokens; 1: none
        repeat_last: int  # number of recent tokens that are penalised
        seed: int  # the same seed, options and logits give the same tokens

    class GenerateOptions(SamplingOptions, total=False):
        """Options of Session.generate(), Session.stream(), Scheduler.submit() and Conversation."""

        max_tokens: int  # maximum number of tokens to generate (default: 512)
        stop: Union[str, Sequence[str]]  # generation ends before the first occurrence of one of these
        ignore_end: bool  # continue after end-of-turn tokens
        log_probabilities: bool  # compute Token.log_probability
        grammar: Optional[Grammar]  # the answer must be a text of it
        pick: Optional[Pick]  # chooses tokens instead of a sampler
        process: Optional[Process]  # changes logits before each choice
        noted: Sequence[int]  # tokens to penalise by repeat_penalty in addition to those of the sequence
        draft: bool  # False: no guesses, even if the session or scheduler was created with a draft


_SAMPLING = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0, "repeat_last": 64,
             "seed": 0}
_OTHERS = frozenset(("max_tokens", "stop", "ignore_end", "log_probabilities", "grammar", "pick", "process", "noted",
                     "draft"))


class Plan:
    """Options in the form of the C interface, with the objects that must live as long as C uses them."""

    def __init__(self, options: Any) -> None:
        for name in options:
            if name not in _SAMPLING and name not in _OTHERS:
                raise TypeError(f"there is no option {name!r}")
        self.sampler = c.SamplerOptions(**{name: options.get(name, default) for name, default in _SAMPLING.items()})
        self.log_probabilities = bool(options.get("log_probabilities", False))
        self.raised: Optional[BaseException] = None  # the exception of a callback
        self.calls = 0  # number of callbacks called in this step
        self.noted = [int(i) for i in options.get("noted", ())]
        stop = options.get("stop", ())
        stops = [stop] if isinstance(stop, str) else list(stop or ())
        self._stops = (c_char_p * len(stops))(*[c_string(s, "a stop string") for s in stops])
        self._grammar: Optional[Grammar] = options.get("grammar")
        self._callbacks: List[Any] = []
        self.c = c.GenerateOptionsC(
            max_tokens=options.get("max_tokens", 512), n_stop_strings=len(stops),
            stop_strings=ctypes.cast(self._stops, POINTER(c_char_p)), ignore_end=bool(options.get("ignore_end", False)),
            log_probabilities=self.log_probabilities, no_draft=not options.get("draft", True),
            grammar=None if self._grammar is None else self._grammar.pointer)
        if options.get("pick") is not None:
            self.c.pick = self._keep(c.PICK(self._picker(options["pick"])))
        if options.get("process") is not None:
            self.c.process = self._keep(c.PROCESS(self._processor(options["process"])))

    @property
    def has_callbacks(self) -> bool:
        return bool(self._callbacks)

    def was_missed(self) -> bool:
        """After a step that chose a token: whether a callback was not called. A signal handler (Ctrl-C) may raise while
        ctypes enters a callback, where no code can catch the exception and ctypes ignores it."""
        return self.calls < len(self._callbacks)

    def _keep(self, callback: Any) -> Any:
        self._callbacks.append(callback)
        return callback

    def _picker(self, pick: Pick) -> Callable[[int, int, Any], int]:
        def call(logits: int, n: int, _: Any) -> int:
            self.calls += 1
            try:
                return int(pick(float_view(None, logits, n)))
            except BaseException as e:  # exceptions must not pass through C
                self.raised = e
                return -1

        return call

    def _processor(self, process: Process) -> Callable[[int, int, int, int, Any], None]:
        def call(logits: int, n: int, tokens: int, n_tokens: int, _: Any) -> None:
            self.calls += 1
            if self.raised is not None:
                return
            try:
                process(float_view(None, logits, n, writable=True), id_view(None, tokens, n_tokens))
            except BaseException as e:  # exceptions must not pass through C
                self.raised = e

        return call

    def make_sampler(self) -> c_void_p:
        """A gemma_sampler of these options, for gemma_sampler_free()."""
        sampler = checked(lib().gemma_sampler_new, ctypes.byref(self.sampler))
        try:
            for token in self.noted[-self.sampler.repeat_last:] if self.sampler.repeat_last else ():
                checked(lib().gemma_sampler_note, sampler, token)
        except BaseException:
            lib().gemma_sampler_free(sampler)
            raise
        return c_void_p(sampler)


def token_of(token: c.TokenC) -> Token:
    return Token(token.id, ctypes.string_at(token.text, token.text_length).decode(errors="replace"), token.log_probability)


def top_log_probabilities(logits: npt.NDArray[np.float32], n: int) -> List[Tuple[int, float]]:
    """The n likeliest tokens by their logits: (id, natural logarithm of the probability), likeliest first."""
    given = np.ascontiguousarray(logits, np.float32)
    out, found = (c.TokenProbability * n)(), ctypes.c_size_t()
    checked(lib().gemma_top_log_probabilities, given.ctypes.data, given.size, out, n, ctypes.byref(found))
    return [(out[i].id, out[i].log_probability) for i in range(found.value)]


__all__ = ["Generated", "Pick", "Process", "REASONS", "Token", "top_log_probabilities"]
