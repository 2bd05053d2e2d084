"""Conversations: the turns with a model in one session. Answers keep their ids, so that they are not computed again."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Iterator, Optional, Sequence, Type

from ._handles import Handle, c_string, id_array
from ._library import checked, lib
from .generation import Generated, Token
from .model import list_of
from .session import Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .generation import GenerateOptions

# after these ends the text is that of the tokens; a stop string cuts the text within the tokens
_WHOLE = ("end_of_turn", "max_tokens", "context_full")


class Conversation:
    """Turns in the model's chat template, or in the template `chat_template` ("gemma", "llama3", "mistral", "chatml",
    ...).

    Computes in `session`, which other code may use as well. note: a remark on the choice of the template, or "" if it
    is known to be the model's.
    """

    def __init__(self, session: Session, *, system: str = "", chat_template: Optional[str] = None,
                 thinking: bool = False) -> None:
        self.session = session
        self.thinking = thinking
        self.n_reused = 0  # tokens of the last prompt that the session had already computed
        model = session.model.handle
        name = None if chat_template is None else c_string(chat_template, "a name")
        pointer = checked(lib().gemma_conversation_new, model.pointer, name)
        self._handle = Handle(pointer, lib().gemma_conversation_free, model)
        self.note = lib().gemma_conversation_get_note(pointer).decode(errors="replace")
        if system:
            self.add("system", system)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 where: Optional[TracebackType]) -> None:
        pass  # memory is freed with the last reference; the session belongs to the caller

    def __len__(self) -> int:
        """Number of messages."""
        with self.session.exclusive():
            return int(lib().gemma_conversation_n_messages(self._handle.pointer))

    def add(self, role: str, content: str, ids: Sequence[int] = ()) -> None:
        """Adds a message. ids: the ids of a generated answer; empty for other messages."""
        given = id_array(ids)
        with self.session.exclusive():
            checked(lib().gemma_conversation_add, self._handle.pointer, c_string(role, "a role"),
                    c_string(content, "a message"), given.ctypes.data, given.size)

    def truncate(self, n: int) -> None:
        """Removes all but the first n messages."""
        with self.session.exclusive():
            checked(lib().gemma_conversation_truncate, self._handle.pointer, n)

    def encode(self) -> list[int]:
        """The ids of all messages, up to the beginning of the next answer."""
        with self.session.exclusive():
            ids = list_of(lib().gemma_conversation_encode, self._handle.pointer, int(self.thinking), room=1024)
        return [int(i) for i in ids]

    def stream(self, question: str, **options: Unpack[GenerateOptions]) -> Iterator[Token]:
        """The answer to a question, token by token. Both are added to the conversation when the answer has ended or the
        loop is left; if an exception is raised while it is computed (Ctrl-C), neither is added."""
        before = len(self)
        try:
            with self.session.exclusive():
                self.add("user", question)
                self.n_reused = self.session.set_tokens(self.encode())
                stream = self.session.stream(**options)
            try:
                yield from stream
            except GeneratorExit:
                stream.close()
                self._add_answer(stream.result)
                raise
        except GeneratorExit:
            raise
        except BaseException:
            self.truncate(before)
            raise
        self._add_answer(stream.result)

    def ask(self, question: str, **options: Unpack[GenerateOptions]) -> str:
        """The answer to a question; both are added to the conversation."""
        with self.session.exclusive():
            return "".join(token.text for token in self.stream(question, **options))

    def _add_answer(self, result: Generated) -> None:
        self.add("assistant", result.text, result.tokens if result.reason in _WHOLE else ())


__all__ = ["Conversation"]
