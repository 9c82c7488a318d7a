"""The JSON Schema of `comptroller.yaml` for editors, made from the models, and the flat list of all settings.

Rule: it describes the file, so durations, sizes and dates are text, and every number or truth value may be a reference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.settings.root import Settings
from gateway.settings.shape import section_at
from gateway.settings.unbuilt import UNBUILT_SETTINGS

Schema = dict[str, Any]

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}
_NUMBER_TEXT: Final[Schema] = {"type": "string", "pattern": r"^[0-9]+(_[0-9]+)*(\.[0-9]+)?$|\$\{"}
_INTEGER_TEXT: Final[Schema] = {"type": "string", "pattern": r"^[0-9]+(_[0-9]+)*$|\$\{"}
_BOUNDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
_LABELS = "label:<name>"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting of the file: `limits[].tokens`, its type and default in the file's form, and what it is for."""

    path: str
    type: str
    default: str
    description: str


def json_schema() -> Schema:
    """JSON Schema, draft 2020-12."""
    schema = Settings.model_json_schema(by_alias=True, mode="validation")
    definitions: dict[str, Schema] = schema["$defs"]
    price = definitions["UnknownPrice"]
    definitions["UnknownPrice"] = {"anyOf": [{"const": "deny"}, price | {"required": ["estimate"]}]}
    limit = definitions["Limit"]["properties"]
    definitions["Limit"]["patternProperties"] = {
        "^label:[^ ,*:]+$": {"type": "string"} | _described(limit.pop(_LABELS))
    }
    for row in UNBUILT_SETTINGS:
        kind = section_at(row.path[:-1])
        assert kind is not None
        owner = schema if kind is Settings else definitions[kind.__name__]
        owner["properties"][row.path[-1]] = {"description": f"Planned, not built yet: {row.what}.", "deprecated": True}
    return {"$schema": SCHEMA_ID, **_as_written(schema), "title": "comptroller.yaml"}


def _described(schema: Schema) -> Schema:
    return {"description": schema["description"]}


def _as_written(node: Any, *, named: bool = False) -> Any:
    """Adds the forms that the reader takes beside the plain ones. `named`: keys of `node` are names, not keywords."""
    if isinstance(node, list):
        return [_as_written(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {
        key: _as_written(value, named=key in ("properties", "$defs", "patternProperties") and not named)
        for key, value in node.items()
        if named or not _is_noise(key, value, node)
    }
    if named:
        return node
    if "type" in node:
        return _widened(node)
    if "anyOf" in node:
        node["anyOf"] = [inner for option in node["anyOf"] for inner in _alternatives(option)]
    return node


def _is_noise(key: str, value: Any, node: Schema) -> bool:
    """Titles made from names, docstrings that speak to programmers, and defaults that say nothing."""
    return (
        (key == "title" and isinstance(value, str))
        or (key == "description" and "properties" in node)
        or (key == "default" and value is None)
    )


def _alternatives(option: Schema) -> list[Schema]:
    alternatives: list[Schema] = option["anyOf"] if set(option) == {"anyOf"} else [option]
    return alternatives


def _widened(node: Schema) -> Schema:
    kind = node["type"]
    about: Schema = {key: node[key] for key in ("description", "default", "deprecated") if key in node}
    rest = {_BOUNDS.get(key, key): value for key, value in node.items() if key not in about}
    if kind in ("integer", "number"):
        return {"anyOf": [rest, _INTEGER_TEXT if kind == "integer" else _NUMBER_TEXT], **about}
    if kind == "boolean":
        return {"anyOf": [rest, _REFERENCE], **about}
    if node.get("format") == "secret":
        return {"type": "string", "pattern": r"\$\{|^none$", **about}
    if kind == "string" and "pattern" in node:
        return {"anyOf": [rest, _REFERENCE], **about}
    if kind == "array" and node["items"].get("$ref", "").endswith("/Price"):
        return {"anyOf": [node["items"], rest], **about}
    if kind in ("object", "array"):
        return {**node, "type": [kind, "null"]}
    return node


def setting_rows() -> Iterator[SettingRow]:
    """Every setting that is built, in the order of the models."""
    schema = Settings.model_json_schema(by_alias=True, mode="validation")
    yield from _rows(schema, schema["$defs"], "")


def _rows(node: Schema, definitions: dict[str, Schema], path: str) -> Iterator[SettingRow]:
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        inner, suffix = _inside(child, definitions)
        default = "required" if name in required else _default(child)
        written = here if name != _LABELS else f"{path}.{_LABELS}"
        yield SettingRow(written, _type(child, definitions), default, child.get("description", ""))
        if inner is not None and name != _LABELS:
            yield from _rows(inner, definitions, f"{here}{suffix}")


def _inside(node: Schema, definitions: dict[str, Schema]) -> tuple[Schema | None, str]:
    """The section inside a value, and how the path to its settings goes on."""
    for option in node.get("anyOf", [node]):
        if "$ref" in option:
            return definitions[option["$ref"].rpartition("/")[2]], ""
        if option.get("type") == "array":
            inner, suffix = _inside(option["items"], definitions)
            return inner, f"[]{suffix}"
        if isinstance(option.get("additionalProperties"), dict):
            inner, suffix = _inside(option["additionalProperties"], definitions)
            return inner, f".<name>{suffix}"
    return None, ""


def _default(node: Schema) -> str:
    value = node.get("default")
    if value is None or value in ({}, [], ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:_}" if isinstance(value, int) and value >= 100_000 else str(value)


def _type(node: Schema, definitions: dict[str, Schema]) -> str:
    options = [option for option in node.get("anyOf", [node]) if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(_word(option, definitions) for option in options))


def _word(node: Schema, definitions: dict[str, Schema]) -> str:
    if "enum" in node or "const" in node:
        return ", ".join(f"`{word}`" for word in node.get("enum", [node.get("const")]))
    if "$ref" in node:
        return "mapping"
    if node["type"] == "array":
        return f"list of {_word(node['items'], definitions)}"
    if node["type"] == "object":
        inner = node.get("additionalProperties")
        return f"mapping of {_type(inner, definitions)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`"}
    return str(node.get("format") or words.get(node["type"], node["type"]))
