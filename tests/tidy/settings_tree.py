"""Every setting that there is, by the path under which the documents name it: `server.port`, `keys[].name`,
`providers.<name>.kind`."""

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from gateway.settings.root import Settings
from gateway.settings.section import Section


def setting_paths() -> frozenset[str]:
    return frozenset(_below(Settings, ""))


def _below(kind: type[Section], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        path = f"{prefix}.{field.alias or name}".lstrip(".")
        inner = list(_sections(field.annotation, path))
        yield from (found for section, where in inner for found in _below(section, where))
        if not inner:
            yield path


def _sections(annotation: Any, path: str) -> Iterator[tuple[type[Section], str]]:
    """The sections that an annotation leads to, with the paths at which they stand."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _sections(arguments[0], path)
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _sections(argument, path)
    elif origin is Mapping:
        yield from _sections(arguments[1], f"{path}.<name>")
    elif origin is tuple:
        yield from _sections(arguments[0], f"{path}[]")
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, path
