"""Llama: the class of this name in llama-cpp-python, on this engine, for programs that were written for it.

Its two main calls, create_completion() (also __call__()) and create_chat_completion(), take the same arguments and
return dictionaries of the same shape. Unsupported options that would change an answer are refused by name.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union, cast

import numpy as np
import numpy.typing as npt

from . import _llama_options as o
from ._library import Error
from ._turns import Turns
from .conversation import Conversation
from .generation import Generated, Process, Token, top_log_probabilities
from .grammar import Grammar
from .model import Model
from .session import Session, Snapshot

JsonDict = Dict[str, Any]
LogitsProcessor = Callable[[npt.NDArray[np.int32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]
_RANDOM_SEED = 0xFFFFFFFF


class LlamaGrammar:
    """A grammar or schema as text; compiled by the first Llama that uses it."""

    def __init__(self, text: str, is_schema: bool = False) -> None:
        self.text = text
        self.is_schema = is_schema

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        return cls(grammar)

    @classmethod
    def from_file(cls, file: Union[str, os.PathLike[str]], verbose: bool = True) -> LlamaGrammar:
        with open(file, encoding="utf-8") as f:
            return cls(f.read())

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> LlamaGrammar:
        return cls(json_schema, is_schema=True)


class _Step(NamedTuple):
    token: Token
    top: List[Any]  # [(id, log probability)]


class Llama:
    """A model with one sequence. Threads that share it take turns; a new request of a thread ends its unfinished
    stream."""

    def __init__(self, model_path: Union[str, os.PathLike[str]], *, n_ctx: int = 512, n_batch: int = 512,
                 n_threads: Optional[int] = None, seed: int = _RANDOM_SEED, last_n_tokens_size: int = 64,
                 chat_format: Optional[str] = None, type_k: Optional[int] = None, type_v: Optional[int] = None,
                 f16_kv: Optional[bool] = None, lora_path: Optional[str] = None, lora_scale: float = 1.0,
                 verbose: bool = True, **others: Any) -> None:
        o.check_constructor(others, verbose)
        if chat_format is not None and chat_format not in o.CHAT_FORMATS:
            raise ValueError(f"chat_format={chat_format!r}: known are {', '.join(o.CHAT_FORMATS)}")
        self.model_path = os.fspath(model_path)
        self.verbose = verbose
        self.model = Model(model_path, adapters=None if lora_path is None else {lora_path: lora_scale})
        self.session = Session(self.model, n_ctx=n_ctx or 0, n_threads=n_threads or 0, chunk=n_batch or 0,
                               kv_type=o.kv_type_of(type_k, type_v, f16_kv))
        self.last_n_tokens_size = last_n_tokens_size
        self.chat_format = chat_format
        self._turns = Turns()
        self.set_seed(seed)

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the session and the model."""
        self.session.close()
        self.model.close()

    # ---- small methods ----

    def set_seed(self, seed: Optional[int]) -> None:
        """Sets the seed of the random seeds of calls that are given none."""
        self._seeds = random.Random(None if seed in (None, -1, _RANDOM_SEED) else seed)

    def n_ctx(self) -> int:
        return self.session.n_ctx

    def n_vocab(self) -> int:
        return self.model.info.vocab_size

    def n_embd(self) -> int:
        return self.model.info.d_model

    def token_bos(self) -> int:
        return self.model.info.bos

    def token_eos(self) -> int:
        return self.model.info.eos

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> List[int]:
        return self._one_bos(self.model.encode(text, bos=add_bos, special=special))

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        return self.model.decode_bytes(tokens)

    def reset(self) -> None:
        """Removes all tokens. Answers do not depend on this; it only determines how much is computed again."""
        with self._turns.take():
            self.session.reset()

    def save_state(self) -> Snapshot:
        with self._turns.take():
            return self.session.snapshot()

    def load_state(self, state: Snapshot) -> None:
        with self._turns.take():
            self.session.restore(state)

    def embed(self, input: Union[str, List[str]]) -> List[Any]:
        """The embedding of a text, a vector of length 1 as a list; or a list of embeddings of several texts."""
        return cast(List[Any], self.model.embed(input).tolist())

    def create_embedding(self, input: Union[str, List[str]], model: Optional[str] = None) -> JsonDict:
        texts = [input] if isinstance(input, str) else list(input)
        n = sum(len(self.model.encode(text, bos=True)) for text in texts)
        data = [{"object": "embedding", "embedding": vector, "index": i} for i, vector in enumerate(self.embed(texts))]
        return {"object": "list", "data": data, "model": model or self.model_path,
                "usage": {"prompt_tokens": n, "total_tokens": n}}

    # ---- completions ----

    def __call__(self, prompt: Union[str, List[int]], **options: Any) -> Union[JsonDict, Iterator[JsonDict]]:
        """Same as create_completion()."""
        return self.create_completion(prompt, **options)

    def create_completion(
            self, prompt: Union[str, List[int]], *, max_tokens: Optional[int] = 16, temperature: float = 0.8,
            top_p: float = 0.95, min_p: float = 0.05, logprobs: Optional[int] = None, echo: bool = False,
            stop: Union[None, str, List[str]] = None, stream: bool = False, model: Optional[str] = None,
            **options: Any) -> Union[JsonDict, Iterator[JsonDict]]:
        """The model's continuation of a prompt: a dictionary, or with stream=True an iterator over dictionaries.

        Further options: top_k (40), repeat_penalty (1), frequency_penalty, presence_penalty, seed, grammar, logit_bias,
        logits_processor. max_tokens: None or less than 1: until the context is full.
        """
        if isinstance(prompt, str):
            ids = self._one_bos(self.model.encode(prompt, bos=True, special=True))
        else:
            ids = list(prompt)
        shape = _Completion(self.model, model or self.model_path, len(ids), logprobs)
        if echo:
            shape.begin(prompt if isinstance(prompt, str) else self.model.decode(ids), ids)
        steps = self._steps(ids, shape, max_tokens, o.stop_list(stop), logprobs or 0,
                            {"temperature": temperature, "top_p": top_p, "min_p": min_p}, options)
        return shape.stream(steps) if stream else shape.whole(steps)

    def create_chat_completion(
            self, messages: Sequence[Mapping[str, Any]], *, temperature: float = 0.2, top_p: float = 0.95,
            min_p: float = 0.05, stream: bool = False, stop: Union[None, str, List[str]] = None,
            max_tokens: Optional[int] = None, response_format: Optional[Mapping[str, Any]] = None,
            logprobs: Optional[bool] = None, top_logprobs: Optional[int] = None, model: Optional[str] = None,
            **options: Any) -> Union[JsonDict, Iterator[JsonDict]]:
        """The answer to a conversation in the model's chat template (or chat_format): a dictionary, or an iterator.

        response_format: {"type": "json_object"}, optionally with a "schema", or OpenAI's "json_schema".
        Further options: those of create_completion().
        """
        chat = Conversation(self.session, chat_template=None if self.chat_format is None else o.CHAT_FORMATS[self.chat_format])
        for message in messages:
            chat.add(message["role"], o.text_of(message.get("content")))
        ids = chat.encode()
        schema = o.schema_of(response_format)
        if schema is not None:
            if options.get("grammar") is not None:
                raise ValueError("both a grammar and a response_format")
            options["grammar"] = (Grammar.json_object(self.model) if schema is True
                                  else Grammar.json_schema(self.model, schema))
        n_top = (top_logprobs or 0) if logprobs else None
        shape = _Chat(self.model, model or self.model_path, len(ids), n_top)
        steps = self._steps(ids, shape, max_tokens, o.stop_list(stop), n_top or 0,
                            {"temperature": temperature, "top_p": top_p, "min_p": min_p}, options)
        return shape.stream(steps) if stream else shape.whole(steps)

    # ---- private ----

    def _one_bos(self, ids: List[int]) -> List[int]:
        """The ids without the second of two BOS tokens: a prompt may contain the one that is added anyway."""
        bos = self.model.info.bos
        return ids[1:] if bos >= 0 and ids[:2] == [bos, bos] else ids

    def _grammar(self, grammar: Union[None, str, LlamaGrammar, Grammar]) -> Optional[Grammar]:
        if grammar is None or isinstance(grammar, Grammar):
            return grammar
        if isinstance(grammar, LlamaGrammar) and grammar.is_schema:
            return Grammar.json_schema(self.model, grammar.text)
        return Grammar.gbnf(self.model, grammar if isinstance(grammar, str) else grammar.text)

    def _steps(self, ids: List[int], shape: _Shape, max_tokens: Optional[int], stop: List[str], n_top: int,
               sampling: JsonDict, options: JsonDict) -> Iterator[_Step]:
        """Checks all options now; computes while the result is iterated."""
        if len(ids) >= self.session.n_ctx:
            raise ValueError(f"Requested tokens ({len(ids)}) exceed context window of {self.session.n_ctx}")
        for id in ids:
            if not 0 <= id < self.model.info.vocab_size:
                raise ValueError(f"{id} is not a token of the model")
        options = dict(options)
        seed = options.pop("seed", None)
        if seed is None or seed in (-1, _RANDOM_SEED):
            seed = self._seeds.getrandbits(63)
        room = self.session.n_ctx - len(ids)
        top: List[Any] = []
        plan: JsonDict = {
            **sampling, "top_k": max(0, options.pop("top_k", 40)), "repeat_penalty": options.pop("repeat_penalty", 1.0),
            "repeat_last": self.last_n_tokens_size, "noted": ids, "seed": seed & (2**64 - 1), "stop": stop,
            "max_tokens": room if max_tokens is None or max_tokens < 1 else max_tokens,
            "log_probabilities": shape.n_top is not None, "grammar": self._grammar(options.pop("grammar", None)),
        }
        plan["temperature"] = max(0.0, plan["temperature"])
        process = _process(options, len(ids), n_top, top)
        if process is not None:
            plan["process"] = process
        o.check_call(options)
        return self._run(ids, plan, shape, top)

    def _run(self, ids: List[int], plan: JsonDict, shape: _Shape, top: List[Any]) -> Iterator[_Step]:
        with self._turns.take() as turn:
            self.session.set_tokens(ids)
            with self.session.stream(**plan) as stream:
                shape.result = stream.result
                while True:
                    if turn.is_cut:
                        raise Error(Error.CANCELLED, "this thread asked for another answer before this one had ended")
                    token = next(stream, None)
                    if token is None:
                        return
                    yield _Step(token, list(top))


def _process(options: JsonDict, n_prompt: int, n_top: int, top: List[Any]) -> Optional[Process]:
    """Combines penalties, biases and processors, which are removed from the options; `top` receives the n_top likeliest
    tokens of each step."""
    frequency = options.pop("frequency_penalty", 0.0) or 0.0
    presence = options.pop("presence_penalty", 0.0) or 0.0
    bias = {int(id): float(value) for id, value in (options.pop("logit_bias", None) or {}).items()}
    processors: List[LogitsProcessor] = list(options.pop("logits_processor", None) or ())
    if not (frequency or presence or bias or processors or n_top):
        return None

    def process(logits: npt.NDArray[np.float32], tokens: npt.NDArray[np.int32]) -> None:
        if n_top:
            top[:] = top_log_probabilities(logits, n_top)
        if frequency or presence:
            ids, counts = np.unique(tokens[n_prompt:], return_counts=True)
            logits[ids] -= (counts * frequency + presence).astype(np.float32)
        for id, value in bias.items():
            logits[id] += value
        for processor in processors:
            logits[:] = processor(tokens, logits)

    return process


class _Shape:
    """Builds the dictionaries of one answer."""

    def __init__(self, model: Model, name: str, n_prompt: int, n_top: Optional[int], prefix: str) -> None:
        self.model = model
        self.n_top = n_top  # None: log probabilities are not requested
        self.n_prompt = n_prompt
        self.head: JsonDict = {"id": prefix + str(uuid.uuid4()), "created": int(time.time()), "model": name}
        self.result = Generated()

    def finish_reason(self) -> str:
        return "stop" if self.result.reason in ("end_of_turn", "stop_string") else "length"

    def usage(self) -> JsonDict:
        n = len(self.result.tokens)
        return {"prompt_tokens": self.n_prompt, "completion_tokens": n, "total_tokens": self.n_prompt + n}


class _Completion(_Shape):
    def __init__(self, model: Model, name: str, n_prompt: int, n_top: Optional[int]) -> None:
        super().__init__(model, name, n_prompt, n_top, "cmpl-")
        self.prompt = ""
        self.prompt_ids: List[int] = []

    def begin(self, prompt: str, ids: List[int]) -> None:
        """Lets the answer begin with its prompt ("echo")."""
        self.prompt, self.prompt_ids = prompt, ids

    def choice(self, text: str, logprobs: Optional[JsonDict], finish_reason: Optional[str]) -> JsonDict:
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self.head, "object": "text_completion", "choices": [choice]}

    def logprobs(self, steps: Sequence[_Step], offset: int) -> Optional[JsonDict]:
        if self.n_top is None:
            return None
        out: JsonDict = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
        for token, top in steps:
            if token.id >= 0:
                word = self.model.decode([token.id])
                out["text_offset"].append(offset)
                out["token_logprobs"].append(token.log_probability)
                out["tokens"].append(word)
                likeliest = {self.model.decode([id]): p for id, p in top}
                out["top_logprobs"].append({**likeliest, word: token.log_probability})
            offset += len(token.text)
        return out

    def whole(self, steps: Iterator[_Step]) -> JsonDict:
        all_steps = list(steps)
        logprobs = self.logprobs(all_steps, len(self.prompt))
        answer = self.choice(self.prompt + self.result.text, logprobs, self.finish_reason())
        return {**answer, "usage": self.usage()}

    def stream(self, steps: Iterator[_Step]) -> Iterator[JsonDict]:
        if self.prompt:
            yield self.choice(self.prompt, None, None)
        offset = len(self.prompt)
        for step in steps:
            if step.token.text or self.n_top is not None:
                yield self.choice(step.token.text, self.logprobs([step], offset), None)
            offset += len(step.token.text)
        yield self.choice("", None, self.finish_reason())


class _Chat(_Shape):
    def __init__(self, model: Model, name: str, n_prompt: int, n_top: Optional[int]) -> None:
        super().__init__(model, name, n_prompt, n_top, "chatcmpl-")

    def logprobs(self, steps: Sequence[_Step]) -> Optional[JsonDict]:
        if self.n_top is None:
            return None
        content = [{**self._entry(token.id, token.log_probability), "top_logprobs": [self._entry(*each) for each in top]}
                   for token, top in steps if token.id >= 0]
        return {"content": content, "refusal": None}

    def _entry(self, id: int, log_probability: float) -> JsonDict:
        data = self.model.decode_bytes([id])
        return {"token": data.decode(errors="replace"), "logprob": log_probability, "bytes": list(data)}

    def chunk(self, delta: JsonDict, logprobs: Optional[JsonDict], finish_reason: Optional[str]) -> JsonDict:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self.head, "object": "chat.completion.chunk", "choices": [choice]}

    def whole(self, steps: Iterator[_Step]) -> JsonDict:
        logprobs = self.logprobs(list(steps))
        choice = {"index": 0, "message": {"role": "assistant", "content": self.result.text}, "logprobs": logprobs,
                  "finish_reason": self.finish_reason()}
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": self.usage()}

    def stream(self, steps: Iterator[_Step]) -> Iterator[JsonDict]:
        yield self.chunk({"role": "assistant"}, None, None)
        for step in steps:
            if step.token.text or self.n_top is not None:
                yield self.chunk({"content": step.token.text}, self.logprobs([step]), None)
        yield self.chunk({}, None, self.finish_reason())


__all__ = ["Llama", "LlamaGrammar"]
