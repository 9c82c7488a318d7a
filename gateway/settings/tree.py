"""The values of a configuration file before anything is known about their meaning, and ways to walk them.

Rule: a scalar stays the text that the file says. Whether `12:30`, `no`, `1_000` or `2027-01-01` is text, a number or a
date is decided by the setting that it stands for, so none of YAML's implicit types can surprise anybody.
"""

from collections.abc import Iterator, Mapping
from typing import Self, TypeAlias

from gateway.settings.findings import SettingPath


class Text(str):
    """A scalar. Every value that is read from a file is one; a plain `str` comes from a program.

    `bare`: without quotes, or put together from references, so that it may be read as a number or a truth value.
    `references`: the names and files it was taken from. `inline`: the defaults that the file gives for them.
    """

    __slots__ = ("bare", "inline", "references")

    bare: bool
    references: tuple[str, ...]
    inline: tuple[str, ...]

    def __new__(
        cls, text: str, *, bare: bool = True, references: tuple[str, ...] = (), inline: tuple[str, ...] = ()
    ) -> Self:
        self = super().__new__(cls, text)
        self.bare = bare
        self.references = references
        self.inline = inline
        return self


Value: TypeAlias = "Text | tuple[Value, ...] | dict[str, Value] | None"


def shown(value: object) -> str:
    """How a message may name a value: as it is only if it is short and stands in the file itself."""
    if isinstance(value, Text) and value.references:
        return f"(from {', '.join(value.references)})"
    if isinstance(value, str) and len(value) <= 40 and value.isprintable():
        return f"`{value}`"
    if isinstance(value, (int, float)):
        return f"`{value}`"
    return "this value"


def select(root: Value, pattern: SettingPath) -> Iterator[tuple[SettingPath, Value]]:
    """All values at `pattern`, with their paths; `*` stands for every key or list position."""
    return _select(root, pattern, ())


def _select(value: Value, pattern: SettingPath, path: SettingPath) -> Iterator[tuple[SettingPath, Value]]:
    if not pattern:
        yield path, value
        return
    head, rest = pattern[0], pattern[1:]
    for key, child in _children(value):
        if head in ("*", key):
            yield from _select(child, rest, (*path, key))


def _children(value: Value) -> Iterator[tuple[str | int, Value]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, tuple):
        yield from enumerate(value)


def without(root: Value, path: SettingPath) -> Value:
    """The tree without the value at `path`: a key is left out, a list item becomes null so that positions stay."""
    head, rest = path[0], path[1:]
    if isinstance(root, dict) and head in root:
        kept: dict[str, Value] = {}
        for key, child in root.items():
            if key != head:
                kept[key] = child
            elif rest:
                kept[key] = without(child, rest)
        return kept
    if isinstance(root, tuple):
        return tuple(
            child if index != head else without(child, rest) if rest else None for index, child in enumerate(root)
        )
    return root


def keys_of(root: Value, *path: str) -> tuple[str, ...]:
    """The keys of the mapping at `path`; none if there is no such mapping."""
    value = root
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return tuple(value) if isinstance(value, Mapping) else ()
