"""In which order the deployments of a model are tried.

Rule: a lower priority number comes first, whatever the balance; within one priority the balance decides, ties by the
order of the file. Weights take turns evenly (smooth weighted round robin), so nothing here is left to chance.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol


class Balance(StrEnum):
    """`order` = as written in the file."""

    ORDER = "order"
    WEIGHT = "weight"
    LEAST_LOADED = "least_loaded"
    CHEAPEST = "cheapest"


class Place(Protocol):
    """What balancing sees of a deployment."""

    @property
    def priority(self) -> int: ...

    @property
    def weight(self) -> int: ...


class Rotation:
    """Whose turn it is among the deployments of one model."""

    __slots__ = ("_credits",)

    def __init__(self, places: int) -> None:
        self._credits = [0] * places

    def order(self, places: Sequence[Place]) -> list[int]:
        """All places by priority; the first of the foremost priority is the one whose turn it is, and it has had it."""
        found = sorted(range(len(places)), key=lambda at: places[at].priority)
        foremost = [at for at in found if places[at].priority == places[found[0]].priority]
        for at in foremost:
            self._credits[at] += places[at].weight
        found.sort(key=lambda at: (places[at].priority, -self._credits[at]))
        self._credits[found[0]] -= sum(places[at].weight for at in foremost)
        return found


def least_loaded(places: Sequence[Place], in_flight: Callable[[int], int]) -> list[int]:
    """By calls in flight for each unit of weight; one that has room for more by its weight first."""
    return sorted(range(len(places)), key=lambda at: (places[at].priority, in_flight(at) / places[at].weight))


def cheapest(places: Sequence[Place], cost: Callable[[int], int]) -> list[int]:
    """`cost` = what the call costs at most at a place, in any unit of money."""
    return sorted(range(len(places)), key=lambda at: (places[at].priority, cost(at)))
