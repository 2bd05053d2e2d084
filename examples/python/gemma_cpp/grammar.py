"""Grammars: sets of texts to which answers can be constrained. Immutable; safe to share between threads."""

from __future__ import annotations

import json
from typing import Any, Mapping, Union

from ._handles import Handle
from ._library import checked, lib
from .model import Model

_GBNF, _JSON_SCHEMA, _JSON_OBJECT = range(3)


class Grammar:
    """A grammar for the vocabulary of a model; created by gbnf(), json_schema() or json_object()."""

    def __init__(self, model: Model, kind: int, text: str) -> None:
        data, handle = text.encode(), model.handle
        pointer = checked(lib().gemma_grammar_new, handle.pointer, kind, data, len(data))
        self._handle = Handle(pointer, lib().gemma_grammar_free)

    @classmethod
    def gbnf(cls, model: Model, text: str) -> Grammar:
        """A grammar in llama.cpp's notation (GBNF), with the start rule "root". Raises Error naming line and column."""
        return cls(model, _GBNF, text)

    @classmethod
    def json_schema(cls, model: Model, schema: Union[str, Mapping[str, Any], bool]) -> Grammar:
        """The JSON values that a schema accepts. Raises Error if the schema has a requirement that cannot be
        enforced."""
        return cls(model, _JSON_SCHEMA, schema if isinstance(schema, str) else json.dumps(schema))

    @classmethod
    def json_object(cls, model: Model) -> Grammar:
        """Any JSON object."""
        return cls(model, _JSON_OBJECT, "")

    @property
    def pointer(self) -> int:
        """The address of the C object, for use within the package."""
        return self._handle.pointer

    def matches(self, text: str) -> bool:
        """Whether the grammar accepts a text."""
        data = text.encode()
        return bool(checked(lib().gemma_grammar_matches, self._handle.pointer, data, len(data)))


__all__ = ["Grammar"]
