"""Percentiles and medians, by nearest rank: every figure that is printed was really measured."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[float], percent: float) -> float:
    """`ordered` ascending and not empty."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Spread(median, ordered[0], ordered[-1])


def summary_us(seconds: list[float]) -> dict[str, float] | None:
    """Percentiles in microseconds of times in seconds."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    named = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
    return {name: round(percentile(ordered, percent) * 1e6, 1) for name, percent in named.items()}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares, y over x; two different x at least."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def pooled_ratio(
    rounds: Sequence[Sequence[float]], base: Sequence[Sequence[float]], percent: float = 99, *, resamples: int = 2000
) -> tuple[float, float, float]:
    """A percentile of all rounds together over that of the base, and the 95 % interval of that ratio: a percentile
    bootstrap (Efron 1979) that draws pairs of rounds, because calls of one round share what else the machine did. Both
    have as many rounds, in pairs made close in time, none of the base empty; the draws are always the same."""
    pairs = list(zip(rounds, base, strict=True))
    if not all(above for above, _ in pairs):
        return math.inf, math.inf, math.inf

    def ratio(drawn: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
        above, below = (sorted(value for pair in drawn for value in pair[side]) for side in (0, 1))
        return percentile(above, percent) / percentile(below, percent)

    draw = random.Random(10)
    found = sorted(ratio(draw.choices(pairs, k=len(pairs))) for _ in range(resamples))
    return ratio(pairs), percentile(found, 2.5), percentile(found, 97.5)
