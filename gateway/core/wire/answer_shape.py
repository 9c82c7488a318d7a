"""The shape that an answer must have (structured output), and which schemas OpenAI's models can be held to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

UNNAMED = "answer"
"""OpenAI's formats want a name for the shape; others have none."""
_DEPTH_MAX = 64
_HOLD_SCHEMAS = ("properties", "$defs", "definitions")
_HOLD_LISTS = ("anyOf", "allOf", "prefixItems")


@dataclass(frozen=True, slots=True)
class Shape:
    """JSON, by the JSON Schema `schema` where there is one. `strict` = whether the model must be held to it, None where
    the client's format does not ask: there it always is."""

    schema: Mapping[str, Any] | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None

    def described_schema(self) -> dict[str, Any]:
        """Of a shape that has a schema; with the description in it, for formats that have no other place for one."""
        schema = dict(self.schema or {})
        return {"description": self.description, **schema} if self.description else schema


def openai_shape(shape: Shape) -> dict[str, Any]:
    """As both of OpenAI's formats name its members. What clients of other formats may count on is kept where OpenAI
    takes the schema for that: it refuses others outright, and without `strict` follows them as well as it can."""
    assert shape.schema is not None
    strict = shape.strict
    if strict is None and _closed(shape.schema, 0):
        strict = True
    said: dict[str, Any] = {"name": shape.name or UNNAMED, "schema": dict(shape.schema)}
    if shape.description:
        said["description"] = shape.description
    return said if strict is None else {**said, "strict": strict}


def _closed(schema: Any, depth: int) -> bool:
    """Whether every object in it has all its properties and no other, which is what `strict` takes.
    Source: OpenAI's guide to structured outputs, "supported schemas", as of 2026-11."""
    if depth > _DEPTH_MAX or not isinstance(schema, Mapping):
        return False
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        names = set(schema.get("properties") or {})
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != names:
            return False
    return all(_closed(inner, depth + 1) for inner in _inner(schema))


def _inner(schema: Mapping[str, Any]) -> Iterator[Any]:
    for name in _HOLD_SCHEMAS:
        yield from (schema.get(name) or {}).values()
    for name in _HOLD_LISTS:
        yield from schema.get(name) or ()
    if (items := schema.get("items")) is not None:
        yield items
