"""Which settings exist: walks the models along a path of the file."""

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from gateway.settings.findings import SettingPath
from gateway.settings.root import Settings
from gateway.settings.section import Section


def section_at(path: SettingPath) -> type[Section] | None:
    """The section that stands at `path`, if the models have one there; `*` is any name or position."""
    annotation: Any = Settings
    for part in path:
        annotation = _child(annotation, part)
    return _section(annotation)


def names_in(kind: type[Section]) -> tuple[str, ...]:
    """The keys of a section as the file writes them."""
    return tuple(field.alias or name for name, field in kind.model_fields.items())


def _child(annotation: Any, part: str | int) -> Any:
    kind = _section(annotation)
    if kind is not None and isinstance(part, str):
        fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
        return fields.get(part)
    for inner in _unwrapped(annotation):
        origin, arguments = get_origin(inner), get_args(inner)
        if origin is Mapping:
            return arguments[1]
        if origin is tuple:
            # A single value may stand where a list may: `price: {...}`.
            return arguments[0] if isinstance(part, int) or part == "*" else _child(arguments[0], part)
    return None


def _section(annotation: Any) -> type[Section] | None:
    for inner in _unwrapped(annotation):
        if isinstance(inner, type) and issubclass(inner, Section):
            return inner
    return None


def _unwrapped(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, without what is attached to them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [inner for part in get_args(annotation) for inner in _unwrapped(part)]
    return [annotation]
