"""Grammars: what texts an answer may be. Immutable; safe to share between threads."""

from __future__ import annotations

import json
from typing import Any, Mapping, Union

from ._handles import Handle
from ._library import checked, lib
from .model import Model

_GBNF, _JSON_SCHEMA, _JSON_OBJECT = range(3)


class Grammar:
    """A grammar for the vocabulary of a model; made by gbnf(), json_schema() or json_object()."""

    def __init__(self, model: Model, kind: int, text: str) -> None:
        data, handle = text.encode(), model.handle
        pointer = checked(lib().gemma_grammar_new, handle.pointer, kind, data, len(data))
        self._handle = Handle(pointer, lib().gemma_grammar_free)

    @classmethod
    def gbnf(cls, model: Model, text: str) -> Grammar:
        """llama.cpp's notation; it begins at the rule "root". Raises Error naming line and column."""
        return cls(model, _GBNF, text)

    @classmethod
    def json_schema(cls, model: Model, schema: Union[str, Mapping[str, Any], bool]) -> Grammar:
        """The JSON values that a schema takes. Raises Error for what a schema asks and cannot be kept."""
        return cls(model, _JSON_SCHEMA, schema if isinstance(schema, str) else json.dumps(schema))

    @classmethod
    def json_object(cls, model: Model) -> Grammar:
        """Any JSON object."""
        return cls(model, _JSON_OBJECT, "")

    @property
    def pointer(self) -> int:
        """The C object, for the package."""
        return self._handle.pointer

    def matches(self, text: str) -> bool:
        """Whether a text is one of the grammar's."""
        data = text.encode()
        return bool(checked(lib().gemma_grammar_matches, self._handle.pointer, data, len(data)))


__all__ = ["Grammar"]
