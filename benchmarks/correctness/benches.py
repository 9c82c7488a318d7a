"""The benchmarks of correctness in their order, each with the time in which it must be done."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from benchmarks.correctness import (
    crashes,
    disconnects,
    false_usage,
    machine,
    neighbours,
    overshoot,
    price_truth,
    route_completeness,
    tree_race,
    window_edges,
)
from benchmarks.correctness.report import Report
from benchmarks.correctness.site import Site


@dataclass(frozen=True, slots=True)
class Bench:
    """`in_tests=False`: times on a machine that runs tests beside prove nothing, and another test does it small."""

    name: str
    title: str
    run: Callable[[Site], Coroutine[Any, Any, Report]]
    seconds_max: int = 300
    in_tests: bool = True


BENCHES = (
    Bench("C1", "overshoot: many calls at once against room for twenty", overshoot.run),
    Bench("C1T", "the same in a tree of sessions", tree_race.run),
    Bench("M", "the ledger, the limits and a tree of sessions against a plain model", machine.run, 600, in_tests=False),
    Bench("C2", "clients that leave a stream", disconnects.run),
    Bench("C3", "missing and false reports of usage", false_usage.run),
    Bench("C4", "kill -9 with calls in flight", crashes.run),
    Bench("C6", "edges of windows on real calendars", window_edges.run),
    Bench("C7", "every route, and what no route serves", route_completeness.run),
    Bench("C8", "usage as reported, against invoices by hand", price_truth.run),
    Bench("C9", "runaway agents, and honest ones", neighbours.runaways, 900),
    Bench("C10", "a quiet tenant beside a noisy one", neighbours.tenants, 600, in_tests=False),
)
