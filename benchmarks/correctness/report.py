"""What a benchmark of correctness found: the figure that is published, and every promise that did not hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """`figure` is one line for people; `broken` says what did not hold, empty = passed; `raw` is what it rests on."""

    figure: str
    broken: tuple[str, ...]
    raw: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        return not self.broken


def differing(what: str, found: object, expected: object) -> list[str]:
    """One line if the two differ."""
    return [] if found == expected else [f"{what}: {found!r}, not {expected!r}"]


def joined(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(line for lines in lists for line in lines)
