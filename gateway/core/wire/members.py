"""What the objects of a request may hold where it is translated: each member is understood, left out and said, or
refused by its name. Formats give a table of their objects and a way through a request; this goes it."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.core.wire.untranslatable import untranslatable

NOTHING: tuple[Any, ...] = (None, "", [], {}, False)
"""Values with which a member says nothing."""
CACHE_MARKS = frozenset({"cache_control", "cachePoint"})
"""Said by their own name, wherever they stand."""


class Members(NamedTuple):
    """`field` = where clients look for the object; `hints` are left out, each said as the value says; `nothing` = more
    values with which a member says nothing."""

    field: str
    understood: frozenset[str]
    hints: Mapping[str, str]
    nothing: Mapping[str, tuple[Any, ...]]


def members(
    field: str, *understood: str, hints: Iterable[str] = (), nothing: Mapping[str, tuple[Any, ...]] | None = None
) -> Members:
    said = {name: name if name in CACHE_MARKS else f"{field}.{name}" for name in hints}
    return Members(field, frozenset(understood), MappingProxyType(said), MappingProxyType(dict(nothing or {})))


Found = Iterable[tuple[Members, Any]]


def left_out(found: Found, spelled: Callable[[str], str] = str) -> tuple[str, ...]:
    """What of these objects is left out, each once. `spelled` gives a member's name as the table has it. Raises
    FieldRefused for the first that may not be."""
    said: dict[str, None] = {}
    for known, holder in found:
        for written, value in holder.items() if isinstance(holder, Mapping) else ():
            name = spelled(written)
            if name in known.understood or value in NOTHING or value in known.nothing.get(name, ()):
                continue
            if name not in known.hints:
                raise untranslatable(known.field, f"`{known.field}.{written[:40]}`")
            said[known.hints[name]] = None
    return tuple(said)
