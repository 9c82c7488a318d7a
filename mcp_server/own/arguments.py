"""Arguments of an own tool against its input schema: the few words of JSON Schema that our schemas use."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.denial import Code, Denial, Refused

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list, tuple),
}


def check(name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raises Refused, naming the field. Null stands for a field that was left out."""
    for field in schema["required"]:
        if arguments.get(field) is None:
            raise _malformed(f"`{name}` needs `{field}`.", field)
    for field, value in arguments.items():
        if field not in schema["properties"]:
            raise _malformed(f"`{name}` knows no `{field[:64]}`.", field[:64])
        if value is not None and (objection := _objection(schema["properties"][field], value)) is not None:
            raise _malformed(f"`{field}` of `{name}` {objection}.", field)


def _objection(schema: Mapping[str, Any], value: object) -> str | None:
    kind = schema["type"]
    whole = kind == "integer" and isinstance(value, float) and value.is_integer()
    if isinstance(value, bool) is not (kind == "boolean") or not (whole or isinstance(value, _TYPES[kind])):
        return "has the wrong type"
    if "enum" in schema and value not in schema["enum"]:
        return f"must be one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, int | float):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            return f"must be from {schema.get('minimum', '-')} to {schema.get('maximum', 'any amount')}"
        if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
            return f"must be above {schema['exclusiveMinimum']}"
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        return f"has more than {schema['maxLength']} characters"
    return None


def _malformed(message: str, field: str) -> Refused:
    return Refused(Denial(Code.REQUEST_MALFORMED, message, field=field))
