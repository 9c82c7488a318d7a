"""Turns what pydantic found into flaws in our own words, at paths of the file.

Rule: pydantic's own texts never reach a person; an unforeseen kind of error says only that the value does not fit.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from gateway.settings.document import Document
from gateway.settings.findings import Fault, Flaw, SettingPath, suggestion
from gateway.settings.shape import names_in, section_at
from gateway.settings.tree import shown
from gateway.settings.unbuilt import UNBUILT_SETTINGS

_MAPPING = "must be a mapping (`key: value`)"
_LIST = "must be a list"
_TEXT = "must be text"

_KINDS: Final[Mapping[str, Callable[[dict[str, Any]], str]]] = {
    "missing": lambda _: "is missing",
    "model_type": lambda _: _MAPPING,
    "model_attributes_type": lambda _: _MAPPING,
    "mapping_type": lambda _: _MAPPING,
    "dict_type": lambda _: _MAPPING,
    "tuple_type": lambda _: _LIST,
    "list_type": lambda _: _LIST,
    "string_type": lambda _: _TEXT,
    "none_required": lambda _: "must be empty",
    "greater_than": lambda context: f"must be above {context['gt']}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "too_long": lambda context: f"has more than {context['max_length']} entries",
}


def explain(error: ValidationError, document: Document) -> Iterator[tuple[SettingPath, Flaw, bool]]:
    """(path, flaw, whether it is about the key itself) for each error."""
    for detail in error.errors(include_url=False):
        kind, context = detail["type"], detail.get("ctx", {})
        path = _path(detail["loc"], document, missing=kind == "missing")
        cause = context.get("error")
        if isinstance(cause, Fault):
            yield from ((path, flaw, detail["loc"][-1:] == ("[key]",)) for flaw in cause.flaws)
        elif kind == "extra_forbidden":
            yield path, _unknown(path), True
        elif kind in ("literal_error", "enum"):
            yield path, _no_choice(detail), False
        else:
            words = _KINDS.get(kind)
            yield path, Flaw(words(context) if words is not None else "does not fit here"), False


def _path(location: tuple[str | int, ...], document: Document, *, missing: bool) -> SettingPath:
    """Pydantic's location without what it adds of its own: names of union members, positions in what is no list."""
    path: SettingPath = ()
    for index, part in enumerate(location):
        if (*path, part) in document.spots or (missing and index == len(location) - 1):
            path = (*path, part)
    return path


def _unknown(path: SettingPath) -> Flaw:
    word = str(path[-1]) if path else ""
    kind = section_at(path[:-1])
    known = list(names_in(kind)) if kind is not None else []
    known += [row.path[-1] for row in UNBUILT_SETTINGS if _covers(row.path[:-1], path[:-1])]
    return Flaw(f"`{word[:64]}` is not a setting here", suggestion(word, known))


def _covers(pattern: SettingPath, path: SettingPath) -> bool:
    return len(pattern) == len(path) and all(a in ("*", b) for a, b in zip(pattern, path, strict=True))


def _no_choice(detail: Any) -> Flaw:
    value = detail["input"]
    choices = [word.strip("'") for word in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    if not isinstance(value, str):
        return Flaw(f"must be one of {', '.join(choices)}")
    return Flaw(f"the value {shown(value)} is not possible here", suggestion(value, choices, otherwise="possible"))
