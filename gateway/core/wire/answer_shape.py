"""The shape that an answer must have (structured output), and which schemas OpenAI's models can be held to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

UNNAMED = "answer"
"""OpenAI's formats want a name for the shape; others have none."""
_DEPTH_MAX = 64
_HOLD_SCHEMAS = ("properties", "$defs", "definitions")
_NOT_TAKEN = (
    *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
    *("patternProperties", "prefixItems", "unevaluatedProperties", "propertyNames", "minProperties", "maxProperties"),
)
"""With one of these a schema is not claimed to be one that `strict` takes."""


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


def shape_of(held: Mapping[str, Any]) -> Shape:
    """From the object that has the schema in either of OpenAI's formats, where `strict` is off unless it is said."""
    name, described = str(held.get("name") or ""), str(held.get("description") or "")
    return Shape(held["schema"], name, described, held.get("strict") is True)


def openai_shape(shape: Shape) -> dict[str, Any]:
    """As both of OpenAI's formats name its members. What clients of other formats may count on is kept where OpenAI
    takes the schema for that: it refuses others outright, and without `strict` follows them as well as it can."""
    assert shape.schema is not None
    strict = shape.strict
    if strict is None and closed(shape.schema):
        strict = True
    said: dict[str, Any] = {"name": shape.name or UNNAMED, "schema": dict(shape.schema)}
    if shape.description:
        said["description"] = shape.description
    return said if strict is None else {**said, "strict": strict}


def closed(schema: Any, depth: int = 0) -> bool:
    """Whether every object in it has all its properties and no other, which is what `strict` takes.
    Source: OpenAI's guide to structured outputs, "supported schemas", as of 2026-11."""
    if depth > _DEPTH_MAX or not isinstance(schema, Mapping):
        return False
    if any(name in schema for name in _NOT_TAKEN):
        return False
    kind = schema.get("type")
    if kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind):
        required = schema.get("required", [])
        names = [*schema["properties"]] if isinstance(schema.get("properties"), Mapping) else []
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if len(required) != len(names) or any(name not in required for name in names):
            return False
    return all(closed(inner, depth + 1) for inner in _inner(schema))


def _inner(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas within; what stands where one should and is none is given as it is, and is not closed."""
    for name in _HOLD_SCHEMAS:
        held = schema.get(name, {})
        yield from held.values() if isinstance(held, Mapping) else (held,)
    several = schema.get("anyOf", [])
    yield from several if isinstance(several, list) else (several,)
    if (items := schema.get("items")) is not None:
        yield items
