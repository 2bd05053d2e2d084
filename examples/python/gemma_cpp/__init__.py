"""Gemma, Llama and Mistral on a CPU: libgemma for Python, by ctypes and NumPy.

    model = gemma_cpp.Model("model.gguf")
    session = gemma_cpp.Session(model, n_ctx=2048)
    session.set_tokens(model.encode_chat([("user", "Why is the sky blue?")]))
    for token in session.stream(max_tokens=200, temperature=0.7, seed=1):
        print(token.text, end="", flush=True)

docs/python.md of the repository is the guide. Llama is llama-cpp-python's class of that name; gemma_cpp.langchain has
LangChain's LlamaCpp.
"""

from ._library import Error, load_library, version
from .conversation import Conversation
from .generation import Generated, Token, top_log_probabilities
from .grammar import Grammar
from .llama import Llama, LlamaGrammar
from .model import Model, ModelInfo, Plan
from .scheduler import Answer, Scheduler
from .session import Session, Snapshot, Stream

__all__ = [
    "Answer", "Conversation", "Error", "Generated", "Grammar", "Llama", "LlamaGrammar", "Model", "ModelInfo", "Plan",
    "Scheduler", "Session", "Snapshot", "Stream", "Token", "load_library", "top_log_probabilities", "version",
]
