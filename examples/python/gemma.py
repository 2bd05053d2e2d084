"""The C interface of libgemma for Python, by ctypes: needs no compiler and no packages.

    python3 gemma.py MODEL.gguf "a question" [--library libgemma.so.0.2]

As a module:

    model = gemma.Model("model.gguf")
    session = gemma.Session(model, n_ctx=2048)
    session.set_tokens(model.encode_chat([("user", "Why is the sky blue?")]))
    session.generate(max_tokens=200, temperature=0.7, seed=1,
                     on_token=lambda id, text: print(text, end="", flush=True))
"""

import argparse
import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint, c_uint64, c_void_p

_lib = None


class Error(Exception):
    """An error of the library: its code (see gemma/c_api.h) and one line of text."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class _Sized(ctypes.Structure):
    """Base of the structures for options and results, whose first field is their size."""

    def __init__(self, **values):
        super().__init__(size=ctypes.sizeof(self), **values)


class _ModelOptions(_Sized):
    _fields_ = [("size", c_size_t), ("isa", c_char_p), ("window", c_int64), ("adapters", POINTER(c_char_p)),
                ("n_adapters", c_size_t), ("adapter_scales", POINTER(c_float))]


class _ModelInfo(_Sized):
    _fields_ = [(name, c_size_t) for name in ("size", "vocab_size", "d_model", "n_layers", "max_seq_len", "file_bytes")]
    _fields_ += [("bos", c_int32), ("eos", c_int32), ("embedding_width", c_size_t), ("has_head", c_int)]


class _SessionOptions(_Sized):
    _fields_ = [(name, c_size_t) for name in ("size", "n_ctx", "chunk", "logit_rows", "max_memory")]
    _fields_ += [("n_threads", c_uint), ("kv_float32", c_int)]


class _SamplerOptions(_Sized):
    _fields_ = [("size", c_size_t), ("temperature", c_float), ("top_k", c_size_t), ("top_p", c_float),
                ("min_p", c_float), ("repeat_penalty", c_float), ("repeat_last", c_size_t), ("seed", c_uint64)]


class _SchedulerOptions(_Sized):
    _fields_ = [(name, c_size_t) for name in ("size", "max_sequences", "n_ctx", "chunk", "max_memory", "max_queue")]
    _fields_ += [("n_threads", c_uint), ("kv_type", c_int)]


class _Message(ctypes.Structure):
    _fields_ = [("role", c_char_p), ("content", c_char_p)]


class _Text(ctypes.Structure):
    _fields_ = [("text", c_char_p), ("length", c_size_t)]


class _EmbedOptions(_Sized):
    _fields_ = [(name, c_size_t) for name in ("size", "n_ctx", "chunk", "dims", "max_memory")]
    _fields_ += [("n_threads", c_uint), ("prompt", c_int), ("pooling", c_int), ("truncate", c_int)]


class _Token(ctypes.Structure):
    _fields_ = [("id", c_int32), ("text", c_void_p), ("text_length", c_size_t), ("log_probability", c_double)]


_ON_TOKEN = ctypes.CFUNCTYPE(c_int, POINTER(_Token), c_void_p)
_PICK = ctypes.CFUNCTYPE(c_int32, POINTER(c_float), c_size_t, c_void_p)


class _GenerateOptions(_Sized):
    _fields_ = [("size", c_size_t), ("max_tokens", c_size_t), ("stop_strings", POINTER(c_char_p)),
                ("n_stop_strings", c_size_t), ("ignore_end", c_int), ("log_probabilities", c_int),
                ("on_token", _ON_TOKEN), ("pick", _PICK), ("user", c_void_p)]  # `process`, the next field, is not used


def load_library(path="libgemma.so.0.2"):
    """Loads libgemma. Called with the default path when the first Model is created, unless it was called before."""
    global _lib
    _lib = ctypes.CDLL(path)
    ids = POINTER(c_int32)
    for name, result, arguments in [
        ("gemma_version", c_char_p, []),
        ("gemma_error_get_code", c_int, [c_void_p]),
        ("gemma_error_get_message", c_char_p, [c_void_p]),
        ("gemma_error_free", None, [c_void_p]),
        ("gemma_model_load", c_void_p, [c_char_p, POINTER(_ModelOptions), c_void_p]),
        ("gemma_model_free", None, [c_void_p]),
        ("gemma_model_get_info", c_int, [c_void_p, POINTER(_ModelInfo), c_void_p]),
        ("gemma_encode", c_int, [c_void_p, c_char_p, c_size_t, c_int, ids, c_size_t, POINTER(c_size_t), c_void_p]),
        ("gemma_decode", c_int, [c_void_p, ids, c_size_t, c_char_p, c_size_t, POINTER(c_size_t), c_void_p]),
        ("gemma_encode_chat", c_int,
         [c_void_p, POINTER(_Message), c_size_t, ids, c_size_t, POINTER(c_size_t), c_void_p]),
        ("gemma_session_new", c_void_p, [c_void_p, POINTER(_SessionOptions), c_void_p]),
        ("gemma_session_free", None, [c_void_p]),
        ("gemma_session_set_tokens", c_int, [c_void_p, ids, c_size_t, POINTER(c_size_t), c_void_p]),
        ("gemma_session_logits", POINTER(c_float), [c_void_p, c_void_p]),
        ("gemma_session_score", c_int, [c_void_p, ids, c_size_t, POINTER(c_double), c_void_p]),
        ("gemma_session_cancel", None, [c_void_p]),
        ("gemma_session_clear_cancel", None, [c_void_p]),
        ("gemma_conversation_new", c_void_p, [c_void_p, c_char_p, c_void_p]),
        ("gemma_conversation_free", None, [c_void_p]),
        ("gemma_conversation_get_note", c_char_p, [c_void_p]),
        ("gemma_conversation_add", c_int, [c_void_p, c_char_p, c_char_p, ids, c_size_t, c_void_p]),
        ("gemma_conversation_encode", c_int, [c_void_p, c_int, ids, c_size_t, POINTER(c_size_t), c_void_p]),
        ("gemma_scheduler_new", c_void_p, [c_void_p, POINTER(_SchedulerOptions), c_void_p]),
        ("gemma_scheduler_free", None, [c_void_p]),
        ("gemma_scheduler_submit", c_void_p,
         [c_void_p, ids, c_size_t, POINTER(_SamplerOptions), POINTER(_GenerateOptions), c_void_p]),
        ("gemma_answer_next", c_int, [c_void_p, POINTER(_Token), c_int64, c_void_p]),
        ("gemma_answer_cancel", None, [c_void_p]),
        ("gemma_answer_free", None, [c_void_p]),
        ("gemma_sampler_new", c_void_p, [POINTER(_SamplerOptions), c_void_p]),
        ("gemma_sampler_free", None, [c_void_p]),
        ("gemma_embed", c_int, [c_void_p, POINTER(_Text), c_size_t, POINTER(_EmbedOptions), POINTER(c_float), c_size_t,
                                c_void_p, c_void_p]),
        ("gemma_session_generate", c_int, [c_void_p, c_void_p, POINTER(_GenerateOptions), c_void_p, c_void_p]),
    ]:
        function = getattr(_lib, name)
        function.restype, function.argtypes = result, arguments


def _sampling(values):
    """Options of a sampler: greedy unless `values` say otherwise."""
    return _SamplerOptions(**{"temperature": 0.0, "top_p": 1.0, "repeat_penalty": 1.0, "repeat_last": 64, **values})


def _checked(function, *arguments):
    """Calls a function whose last parameter receives an error; raises it as Error."""
    error = c_void_p()
    result = function(*arguments, byref(error))
    if not error:
        return result
    code, message = _lib.gemma_error_get_code(error), _lib.gemma_error_get_message(error).decode()
    _lib.gemma_error_free(error)
    raise Error(code, message)


def _list(function, *arguments):
    """Calls a function that fills a list of ids of unknown length."""
    n = c_size_t()
    _checked(function, *arguments, None, 0, byref(n))
    out = (c_int32 * n.value)()
    _checked(function, *arguments, out, n.value, byref(n))
    return list(out)


class Model:
    """A loaded model. Threads may share it."""

    def __init__(self, path, adapters=()):
        """Loads a GGUF file. adapters: LoRA adapters, each a path or (path, scale)."""
        if _lib is None:
            load_library()
        self._handle = None
        pairs = [(a, 1.0) if isinstance(a, str) else a for a in adapters]
        options = _ModelOptions(window=-1, n_adapters=len(pairs),
                                adapters=(c_char_p * len(pairs))(*[p.encode() for p, _ in pairs]),
                                adapter_scales=(c_float * len(pairs))(*[s for _, s in pairs]))
        self._handle = _checked(_lib.gemma_model_load, path.encode(), byref(options))
        self.info = _ModelInfo()
        _checked(_lib.gemma_model_get_info, self._handle, byref(self.info))

    def __del__(self):
        if getattr(self, "_handle", None):
            _lib.gemma_model_free(self._handle)

    def encode(self, text, bos=False):
        data = text.encode()
        return _list(_lib.gemma_encode, self._handle, data, len(data), 1 if bos else 0)

    def decode(self, ids):
        n, given = c_size_t(), (c_int32 * len(ids))(*ids)
        _checked(_lib.gemma_decode, self._handle, given, len(ids), None, 0, byref(n))
        out = ctypes.create_string_buffer(n.value)
        _checked(_lib.gemma_decode, self._handle, given, len(ids), out, n.value, byref(n))
        return out.raw.decode(errors="replace")

    def encode_chat(self, messages):
        """The ids of the messages [(role, content), ...], up to the beginning of the next answer."""
        turns = (_Message * len(messages))(*[(r.encode(), c.encode()) for r, c in messages])
        return _list(_lib.gemma_encode_chat, self._handle, turns, len(messages))


    def embed(self, texts, prompt="", dims=0, truncate=False, n_threads=0):
        """A list of floats of length 1 for each text. prompt: "query" or "document", for EmbeddingGemma."""
        data = [text.encode() for text in texts]
        given = (_Text * len(data))(*[(d, len(d)) for d in data])
        options = _EmbedOptions(dims=dims, n_threads=n_threads, prompt=("", "query", "document").index(prompt),
                                truncate=truncate)
        width, n = dims or self.info.embedding_width, c_size_t()
        out = (c_float * (width * len(data)))()
        _checked(_lib.gemma_embed, self._handle, given, len(data), byref(options), out, len(out), byref(n))
        return [out[i * width:(i + 1) * width] for i in range(len(data))]


class Conversation:
    """The turns of a conversation. Answers keep their ids, so that a session does not compute them again."""

    def __init__(self, model, chat_template=None):
        self._model = model  # must live longer
        self._handle = None
        name = None if chat_template is None else chat_template.encode()
        self._handle = _checked(_lib.gemma_conversation_new, model._handle, name)
        self.note = _lib.gemma_conversation_get_note(self._handle).decode()

    def __del__(self):
        if getattr(self, "_handle", None):
            _lib.gemma_conversation_free(self._handle)

    def add(self, role, content, ids=()):
        _checked(_lib.gemma_conversation_add, self._handle, role.encode(), content.encode(), (c_int32 * len(ids))(*ids),
                 len(ids))

    def encode(self, thinking=False):
        """The ids of all messages, up to the beginning of the next answer."""
        return _list(_lib.gemma_conversation_encode, self._handle, int(thinking))

    def ask(self, session, question, **options):
        """The answer to a question; both are added to the conversation. options: those of Session.generate()."""
        self.add("user", question)
        session.set_tokens(self.encode())
        ids, on_token = [], options.pop("on_token", None)

        def note(token, text):
            if token >= 0:
                ids.append(token)
            return None if on_token is None else on_token(token, text)

        answer = "".join(session.generate(on_token=note, **options))
        self.add("assistant", answer, ids)
        return answer


class Scheduler:
    """Computes requests from any number of threads together. Prefixes that requests share are computed once."""

    def __init__(self, model, max_sequences=8, n_ctx=0, n_threads=0, max_memory=0):
        self._model = model  # must live longer
        self._handle = None
        options = _SchedulerOptions(max_sequences=max_sequences, n_ctx=n_ctx, n_threads=n_threads, max_memory=max_memory)
        self._handle = _checked(_lib.gemma_scheduler_new, model._handle, byref(options))

    def __del__(self):
        if getattr(self, "_handle", None):
            _lib.gemma_scheduler_free(self._handle)

    def submit(self, ids, max_tokens=512, stop=(), **sampling):
        """Adds a request to the queue. Returns the answer, an iterator over (id, text) that can be cancelled."""
        return Answer(self, ids, max_tokens, stop, _sampling(sampling))


class Answer:
    """The answer to a request, created by Scheduler.submit()."""

    def __init__(self, scheduler, ids, max_tokens, stop, sampling):
        self._scheduler = scheduler
        self._handle = None
        stops = (c_char_p * len(stop))(*[s.encode() for s in stop])
        options = _GenerateOptions(max_tokens=max_tokens, stop_strings=stops, n_stop_strings=len(stop))
        self._handle = _checked(_lib.gemma_scheduler_submit, scheduler._handle, (c_int32 * len(ids))(*ids), len(ids),
                                byref(sampling), byref(options))

    def __del__(self):
        if getattr(self, "_handle", None):
            _lib.gemma_answer_free(self._handle)

    def cancel(self):
        _lib.gemma_answer_cancel(self._handle)

    def __iter__(self):
        return self

    def __next__(self):
        token = _Token()
        while (got := _checked(_lib.gemma_answer_next, self._handle, byref(token), 100)) == 2:
            pass  # wait for short times, so that Ctrl-C is noticed
        if got == 0:
            raise StopIteration
        return token.id, ctypes.string_at(token.text, token.text_length).decode()


class Session:
    """One sequence of tokens. For one thread at a time, except cancel()."""

    def __init__(self, model, n_ctx=0, n_threads=0, max_memory=0):
        self._model = model  # must live longer
        self._handle = None
        options = _SessionOptions(n_ctx=n_ctx, n_threads=n_threads, max_memory=max_memory)
        self._handle = _checked(_lib.gemma_session_new, model._handle, byref(options))

    def __del__(self):
        if getattr(self, "_handle", None):
            _lib.gemma_session_free(self._handle)

    def set_tokens(self, ids):
        """Makes the sequence equal to ids; returns the number of tokens that were kept."""
        reused = c_size_t()
        _checked(_lib.gemma_session_set_tokens, self._handle, (c_int32 * len(ids))(*ids), len(ids), byref(reused))
        return reused.value

    prefill = set_tokens  # its name in version 0.1

    def logits(self):
        """A copy of the logits after the last token."""
        return _checked(_lib.gemma_session_logits, self._handle)[:self._model.info.vocab_size]

    def score(self, ids):
        """Appends ids to the sequence and returns the natural logarithm of the probability of each, given the tokens
        before it."""
        out = (c_double * len(ids))()
        _checked(_lib.gemma_session_score, self._handle, (c_int32 * len(ids))(*ids), len(ids), out)
        return list(out)

    def cancel(self):
        _lib.gemma_session_cancel(self._handle)

    def generate(self, max_tokens=512, stop=(), on_token=None, **sampling):
        """Generates an answer; returns a list of its pieces of text. on_token(id, text) may return False to stop
        early."""
        pieces = []
        raised = []

        def note(token, _):
            try:
                text = ctypes.string_at(token.contents.text, token.contents.text_length).decode()
                pieces.append(text)
                return 1 if on_token is None or on_token(token.contents.id, text) is not False else 0
            except BaseException as e:  # exceptions must not pass through C
                raised.append(e)
                return 0

        sampler = _checked(_lib.gemma_sampler_new, byref(_sampling(sampling)))
        try:
            stops = (c_char_p * len(stop))(*[s.encode() for s in stop])
            options = _GenerateOptions(max_tokens=max_tokens, stop_strings=stops, n_stop_strings=len(stop),
                                       on_token=_ON_TOKEN(note))
            _checked(_lib.gemma_session_generate, self._handle, sampler, byref(options), None)
        finally:
            _lib.gemma_sampler_free(sampler)
        if raised:
            raise raised[0]
        return pieces


def main():
    parser = argparse.ArgumentParser(description="Asks a model one question.")
    parser.add_argument("model")
    parser.add_argument("question")
    parser.add_argument("--library", default="libgemma.so.0.2", help="libgemma, built with BUILD_SHARED_LIBS=ON")
    parser.add_argument("--max-tokens", type=int, default=100)
    arguments = parser.parse_args()
    try:
        load_library(arguments.library)
        model = Model(arguments.model)
        session = Session(model)
        session.set_tokens(model.encode_chat([("user", arguments.question)]))
        session.generate(max_tokens=arguments.max_tokens,
                         on_token=lambda _, text: print(text, end="", flush=True))
        print()
    except (Error, OSError) as e:
        sys.exit(f"gemma.py: {e}")


if __name__ == "__main__":
    main()
