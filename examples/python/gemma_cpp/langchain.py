"""LangChain's LlamaCpp on this engine: a program only needs to change its import.

    from gemma_cpp.langchain import LlamaCpp      # was: from langchain_community.llms import LlamaCpp

Needs langchain-core: pip install "gemma_cpp[langchain]".
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional, Union, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.llms import LLM
from langchain_core.outputs import GenerationChunk
from pydantic import ConfigDict, PrivateAttr, model_validator

from .llama import Llama, LlamaGrammar


class LlamaCpp(LLM):
    """A GGUF file as LangChain's language model. Fields and defaults are those of langchain_community.llms.LlamaCpp.

    For options that LangChain leaves to llama.cpp's default, tokens are not filtered (min_p is 0), as in the sampling
    of the published experiment. Fields that only choose devices or memory have no effect; unsupported options that
    would change answers are refused.
    """

    model_config = ConfigDict(protected_namespaces=(), arbitrary_types_allowed=True, extra="forbid")

    model_path: str
    # options of the model
    n_ctx: int = 512
    n_batch: Optional[int] = 8
    n_threads: Optional[int] = None
    n_gpu_layers: Optional[int] = None
    n_parts: int = -1
    seed: int = -1
    f16_kv: bool = True
    last_n_tokens_size: Optional[int] = 64
    logits_all: bool = False
    vocab_only: bool = False
    use_mlock: bool = False
    use_mmap: Optional[bool] = True
    rope_freq_scale: float = 1.0
    rope_freq_base: float = 0.0  # 0: the file's
    lora_base: Optional[str] = None
    lora_path: Optional[str] = None
    model_kwargs: Dict[str, Any] = {}
    # options of each call
    suffix: Optional[str] = None
    max_tokens: Optional[int] = 256
    temperature: Optional[float] = 0.8
    top_p: Optional[float] = 0.95
    top_k: Optional[int] = 40
    min_p: Optional[float] = 0.0
    repeat_penalty: Optional[float] = 1.1
    logprobs: Optional[int] = None
    echo: Optional[bool] = False
    stop: Optional[List[str]] = []
    grammar: Optional[Union[str, LlamaGrammar]] = None
    grammar_path: Optional[str] = None
    # options of LangChain
    streaming: bool = True
    verbose: bool = True
    callback_manager: Any = None  # the former name of `callbacks`

    _client: Llama = PrivateAttr()

    @model_validator(mode="after")
    def _load(self) -> LlamaCpp:
        if self.grammar is not None and self.grammar_path is not None:
            raise ValueError("both a grammar and a grammar_path")
        if self.callback_manager is not None and self.callbacks is None:
            self.callbacks = self.callback_manager
        others = {name: getattr(self, name) for name in
                  ("n_gpu_layers", "n_parts", "logits_all", "vocab_only", "use_mlock", "use_mmap", "rope_freq_scale",
                   "rope_freq_base", "lora_base", "lora_path")}
        self._client = Llama(
            self.model_path, n_ctx=self.n_ctx, n_batch=self.n_batch or 0, n_threads=self.n_threads, seed=self.seed,
            f16_kv=self.f16_kv, last_n_tokens_size=self.last_n_tokens_size or 0, verbose=self.verbose,
            **{**others, **self.model_kwargs})
        if self.grammar_path is not None:
            self.grammar = LlamaGrammar.from_file(self.grammar_path)
            self.grammar_path = None
        return self

    @property
    def client(self) -> Llama:
        """The model that generates the answers."""
        return self._client

    @property
    def _llm_type(self) -> str:
        return "llamacpp"

    @property
    def _default_params(self) -> Dict[str, Any]:
        names = ("max_tokens", "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "logprobs", "echo", "suffix",
                 "grammar")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model_path": self.model_path, **self._default_params, "stop": self.stop}

    def get_num_tokens(self, text: str) -> int:
        return len(self._client.tokenize(text.encode()))

    def _options(self, stop: Optional[List[str]], given: Mapping[str, Any]) -> Dict[str, Any]:
        if stop and self.stop:
            raise ValueError("stop is given both by the field and by the call")
        return {**self._default_params, "stop": stop or self.stop or [], **given}

    def _call(self, prompt: str, stop: Optional[List[str]] = None,
              run_manager: Optional[CallbackManagerForLLMRun] = None, **kwargs: Any) -> str:
        if self.streaming:
            return "".join(chunk.text for chunk in self._stream(prompt, stop, run_manager, **kwargs))
        answer = cast(Dict[str, Any], self._client(prompt, **self._options(stop, kwargs)))
        return cast(str, answer["choices"][0]["text"])

    def _stream(self, prompt: str, stop: Optional[List[str]] = None,
                run_manager: Optional[CallbackManagerForLLMRun] = None, **kwargs: Any) -> Iterator[GenerationChunk]:
        parts = self._client(prompt, **{**self._options(stop, kwargs), "stream": True})
        for part in cast(Iterator[Dict[str, Any]], parts):
            choice = part["choices"][0]
            if not choice["text"] and choice["finish_reason"] is None:
                continue
            chunk = GenerationChunk(text=choice["text"], generation_info={
                "logprobs": choice["logprobs"], "finish_reason": choice["finish_reason"]})
            if run_manager is not None and chunk.text:
                run_manager.on_llm_new_token(token=chunk.text, chunk=chunk, verbose=self.verbose)
            yield chunk


__all__ = ["LlamaCpp"]
