"""C6: the edges of windows on real calendars: ends of months, clocks that are set, leap days, time zones, rolling ones.

For each edge: a limit that is used up just before it refuses until the very microsecond, and says that instant; at it
there is room again; a call that is in flight across it is charged once, to the window in which it began, also after a
restart. Edges are written out as instants, worked out by hand.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from benchmarks.correctness.clock import ClockedNode, Told, at_us, clocked
from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site

CALLS = 3
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Edge:
    """`at` is the instant at which the window of `before` ends; `before` is a moment inside that window."""

    what: str
    window: str
    zone: str
    before: str
    at: str


EDGES = (
    Edge("end of a month of 31 days", "month", "UTC", "2025-01-31T23:59:58+00:00", "2025-02-01T00:00:00+00:00"),
    Edge("a February of 28 days", "month", "UTC", "2025-02-28T12:00:00+00:00", "2025-03-01T00:00:00+00:00"),
    Edge("a February of 29 days", "month", "UTC", "2024-02-28T23:59:59+00:00", "2024-03-01T00:00:00+00:00"),
    Edge("the leap day itself", "day", "UTC", "2024-02-29T10:00:00+00:00", "2024-03-01T00:00:00+00:00"),
    Edge("the end of a year", "month", "Europe/Berlin", "2024-12-31T23:59:59+01:00", "2025-01-01T00:00:00+01:00"),
    Edge("a day of 23 hours", "day", "Europe/Berlin", "2025-03-30T01:30:00+01:00", "2025-03-31T00:00:00+02:00"),
    Edge("a day of 25 hours", "day", "Europe/Berlin", "2025-10-26T02:30:00+02:00", "2025-10-27T00:00:00+01:00"),
    Edge(
        "a day of 25 hours, over there",
        "day",
        "America/New_York",
        "2024-11-03T01:30:00-04:00",
        "2024-11-04T00:00:00-05:00",
    ),
    Edge(
        "a month across the change of clocks",
        "month",
        "Europe/Berlin",
        "2025-03-31T23:00:00+02:00",
        "2025-04-01T00:00:00+02:00",
    ),
    Edge("a week begins on Monday", "week", "UTC", "2025-06-15T23:59:59+00:00", "2025-06-16T00:00:00+00:00"),
    Edge("a week across a year's end", "week", "Asia/Tokyo", "2024-12-31T12:00:00+09:00", "2025-01-06T00:00:00+09:00"),
    Edge("a zone of half an hour", "day", "Asia/Kolkata", "2025-05-05T23:00:00+05:30", "2025-05-06T00:00:00+05:30"),
    Edge("a zone of a quarter", "day", "Asia/Kathmandu", "2025-05-05T23:00:00+05:45", "2025-05-06T00:00:00+05:45"),
    Edge(
        "clocks that are set at midnight",
        "day",
        "Africa/Cairo",
        "2025-04-24T23:30:00+02:00",
        "2025-04-25T01:00:00+03:00",
    ),
    Edge("an hour", "hour", "UTC", "2025-05-05T11:59:59+00:00", "2025-05-05T12:00:00+00:00"),
    Edge("a minute", "minute", "UTC", "2025-05-05T11:59:30+00:00", "2025-05-05T12:00:00+00:00"),
    Edge(
        "five rolling hours, a bucket of five minutes",
        "5h",
        "UTC",
        "2025-05-05T10:02:00+00:00",
        "2025-05-05T15:05:00+00:00",
    ),
)
SMALL = ("a February of 29 days", "a day of 25 hours", "five rolling hours, a bucket of five minutes")


async def run(site: Site) -> Report:
    edges = [edge for edge in EDGES if not site.small or edge.what in SMALL]
    broken: list[str] = []
    for edge in edges:
        broken += [f"{edge.what}: {fault}" for fault in await _edge(site, edge)]
    broken += await _changed_in_mid_window(site)
    figure = (
        f"{len(edges)} edges: {len(broken)} faults; room opens at the instant that the denial named, and a call in "
        "flight across it is charged once, to the window in which it began"
    )
    return Report(figure, tuple(broken), {"edges": [edge.what for edge in edges]})


async def _edge(site: Site, edge: Edge) -> list[str]:
    site.upstream.reset()
    site.upstream.script(contains="across", delay_s=0.4)
    directory, edge_us = site.place(), at_us(edge.at)
    limit: dict[str, Any] = {"name": "edge", "each": "user", "window": edge.window}
    # Requests a minute or an hour are a rate, not a sum (rule 26).
    limit |= {"output_tokens": CALLS * 5} if edge.window in ("minute", "hour") else {"requests": CALLS}
    limits = [limit if edge.zone == "UTC" else {**limit, "timezone": edge.zone}]
    url = site.upstream.base_url
    broken: list[str] = []
    async with clocked(directory, limits, url, at_us(edge.before)) as node:
        for n in range(CALLS - 1):
            broken += differing(f"call {n} before the edge", (await node.chat(f"early {n}")).status, 200)
        across = asyncio.create_task(node.chat("across the edge"))
        await site.upstream.until(lambda stats: stats["in_flight"] == 1)
        node.clock.at_us = edge_us - 1
        broken += _refused(await _denied_in_the_end(node, across), edge)
        broken += _refused(await node.chat("too early"), edge)
    async with clocked(directory, limits, url, edge_us - 1) as node:
        broken += _refused(await node.chat("too early after a restart"), edge)
        broken += _counts(node, CALLS)
        node.clock.at_us = edge_us
        for n in range(CALLS):
            broken += differing(f"call {n} at the edge", (await node.chat(f"after {n}")).status, 200)
        broken += differing("one more at the edge", (await node.chat("too many")).status in (402, 429), True)
        broken += _counts(node, CALLS)
    async with clocked(directory, limits, url, edge_us) as node:
        broken += differing("after a restart, at the edge", (await node.chat("too many")).status in (402, 429), True)
        broken += _counts(node, CALLS)
    return broken


async def _denied_in_the_end(node: ClockedNode, across: "asyncio.Task[Told]") -> Told:
    """The call in flight ends beyond the edge; its window is full all the same, and the one before it was not freed."""
    edge_us = node.clock.at_us
    node.clock.at_us = edge_us + 1
    told = await across
    node.clock.at_us = edge_us
    assert told.status == 200, f"the call across the edge was answered {told.status} {told.code}"
    return await node.chat("right before the edge")


def _refused(told: Told, edge: Edge) -> list[str]:
    """The denial names the instant at which there is room again, to the second."""
    if told.status == 200:
        return ["let in before the edge"]
    if told.code not in ("budget_exhausted", "rate_limited"):
        return [f"refused with {told.code}"]
    resets = told.limit["resets_at"]
    faults = differing("resets_at", None if resets is None else at_us(resets.replace("Z", "+00:00")), at_us(edge.at))
    limit = told.limit
    adds_up = limit["spent"] + limit["held"] + limit["asked"] > limit["limit"] and limit["remaining"] == 0
    return faults if adds_up else [*faults, f"the figures do not add up: {limit}"]


def _counts(node: ClockedNode, calls: int) -> list[str]:
    view = node.counter("edge")
    if view is None:
        return ["the counter is gone"]
    per_call = 5 if view.unit == "output_tokens" else 1
    return differing("(spent, held)", (view.spent, view.held), (calls * per_call, 0))


async def _changed_in_mid_window(site: Site) -> list[str]:
    """A limit is a view (rule 11): lowered, raised and narrowed in mid-window it counts what was spent before."""
    site.upstream.reset()
    url, directory = site.upstream.base_url, site.place()

    def limit(amount: int, window: str = "day", **fields: Any) -> list[dict[str, Any]]:
        return [{"name": "edge", "each": "user", "requests": amount, "window": window, **fields}]

    steps: tuple[tuple[str, list[dict[str, Any]], int, int], ...] = (
        ("lowered", limit(2), 402, 3),
        ("raised", limit(4), 200, 4),
        ("used up", limit(4), 402, 4),
        ("another window", limit(5, "month"), 200, 5),
        ("a narrower selection", limit(6, model="small"), 200, 6),
        ("another time zone", limit(6, timezone="Asia/Tokyo"), 402, 6),
    )
    broken: list[str] = []
    async with clocked(directory, limit(10), url, at_us("2025-05-15T06:00:00+00:00")) as node:
        for n in range(3):
            broken += differing("a call before the change", (await node.chat(f"early {n}")).status, 200)
        for what, limits, status, spent in steps:
            broken += [f"{what}: {finding}" for finding in await node.reload(limits, url)]
            broken += differing(f"{what}: the next call", (await node.chat(what)).status, status)
            broken += [f"{what}: {fault}" for fault in _counts(node, spent)]
    return broken
