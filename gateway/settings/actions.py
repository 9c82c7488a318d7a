"""What is done where something is reached: a word, or `{route_to: <model>}`."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from gateway.settings.findings import Fault, suggestion
from gateway.settings.tree import Text

ROUTE_TO = "route_to"
_SEPARATOR = ":"


def routed(model: str) -> str:
    """The action of going on with another model, as a program sees it."""
    return f"{ROUTE_TO}{_SEPARATOR}{model}"


def action_parts(action: str) -> tuple[str, str]:
    """(word, model): the model of `route_to`, else empty."""
    word, _, model = action.partition(_SEPARATOR)
    return word, model


def action_of(words: Collection[str]) -> tuple[Any, ...]:
    """The metadata of a field that takes one of these words or `route_to`."""

    def validate(value: object) -> object:
        if isinstance(value, Mapping):
            if list(value) == [ROUTE_TO] and isinstance(value[ROUTE_TO], str) and value[ROUTE_TO]:
                return routed(str(value[ROUTE_TO]))
            raise Fault("is no action", "write a word, or `{route_to: <model>}`")
        if not isinstance(value, str):
            raise Fault("must be text")
        word, model = action_parts(value)
        if word in words or (word == ROUTE_TO and model and not isinstance(value, Text)):
            return str(value)
        if word == ROUTE_TO:
            raise Fault("needs a model", "write `{route_to: <model>}`")
        raise Fault("is not a valid choice", suggestion(value, (*words, ROUTE_TO), otherwise="one of"))

    schema = {
        "anyOf": [
            {"enum": list(words), "type": "string"},
            {
                "type": "object",
                "properties": {ROUTE_TO: {"type": "string"}},
                "required": [ROUTE_TO],
                "additionalProperties": False,
            },
        ]
    }
    return BeforeValidator(validate), PlainSerializer(_shown, when_used="json"), WithJsonSchema(schema)


def _shown(action: str) -> object:
    word, model = action_parts(action)
    return {word: model} if model else word
