"""Reads the value of an attribute or a literal while a call is judged.

Rule: None means unknown. A value of another type than the schema says, or a number that is none, is unknown too.
"""

import math
from collections.abc import Callable, Mapping

from gateway.core.condition_context import OF_PAIR, PolicyContext
from gateway.core.condition_schema import WEEKDAYS, Kind
from gateway.core.condition_types import Attribute, Literal, Operand

Reader = Callable[[PolicyContext], object]


def reader_of(operand: Operand) -> Reader:
    """A function that gives the value in a context, or None where it is unknown."""
    if isinstance(operand, Literal):
        value = operand.value
        return lambda _context: value
    return _attribute_reader(operand)


def _attribute_reader(attribute: Attribute) -> Reader:
    root = attribute.path[0]
    if root == "args":
        return _args_reader(attribute.path[1:])
    if root == "limit":
        return _limit_reader(attribute.path[1])
    if root == "time":
        return _TIME_READERS[attribute.path[1]]
    name = attribute.name
    if name in OF_PAIR:
        return _PAIR_READERS[name]
    is_kind = _KIND_TESTS[attribute.kind]

    def read_of_call(context: PolicyContext) -> object:
        value = context.call.get(name)
        return value if is_kind(value) else None

    def read_of_principal(context: PolicyContext) -> object:
        value = context.principal.get(name)
        return value if is_kind(value) else None

    return read_of_call if root in ("session", "model", "call") else read_of_principal


def _args_reader(path: tuple[str, ...]) -> Reader:
    def read(context: PolicyContext) -> object:
        value: object = context.args
        for step in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return value if value is not None and family_of(value) is not None else None

    return read


def _limit_reader(name: str) -> Reader:
    def read(context: PolicyContext) -> object:
        ratio = context.limit_used_ratio(name)
        return ratio if ratio is not None and _is_number(ratio) else None

    return read


_TIME_READERS: Mapping[str, Reader] = {
    "hour": lambda context: context.local_time.hour if context.local_time else None,
    "minute": lambda context: context.local_time.minute if context.local_time else None,
    "weekday": lambda context: WEEKDAYS[context.local_time.weekday()] if context.local_time else None,
    "date": lambda context: context.local_time.date().isoformat() if context.local_time else None,
}


def _tool_server(context: PolicyContext) -> object:
    server, separator, _ = (context.tool_name or "").partition("__")
    return server if separator else None


_PAIR_READERS: Mapping[str, Reader] = {
    "model.name": lambda context: context.model_name,
    "tool.name": lambda context: context.tool_name,
    "tool.server": _tool_server,
}


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_strings(value: object) -> bool:
    return isinstance(value, (tuple, list, frozenset)) and set(map(type, value)) <= {str}


def _is_string(value: object) -> bool:
    return type(value) is str


def _is_boolean(value: object) -> bool:
    return type(value) is bool


_KIND_TESTS: Mapping[Kind, Callable[[object], bool]] = {
    Kind.STRING: _is_string,
    Kind.NUMBER: _is_number,
    Kind.BOOLEAN: _is_boolean,
    Kind.STRINGS: _is_strings,
}


def is_of_kind(value: object, kind: Kind) -> bool:
    """Whether a value may stand for an attribute of this kind that a caller sets itself."""
    return _KIND_TESTS[kind](value)


def family_of(value: object) -> str | None:
    """Values compare within their family only; None is a value that never compares (null, NaN)."""
    if type(value) is str:
        return "string"
    if type(value) is bool:
        return "boolean"
    if _is_number(value):
        return "number"
    if isinstance(value, (list, tuple, frozenset)):
        return "list"
    return "object" if isinstance(value, Mapping) else None
