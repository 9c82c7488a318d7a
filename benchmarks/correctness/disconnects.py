"""C2: clients that leave a stream. Is what was streamed booked, and is any call missing from the books?"""

import asyncio
from dataclasses import dataclass
from typing import Any

from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site, keys, model
from benchmarks.correctness.words import name_in, spoken
from tests.support.clients import Answer, Crowd, ask, crowd
from tests.support.fixtures import LogRow
from tests.support.gateway import GatewayProcess

PACE_S = 0.01
LEAVES: tuple[tuple[str, float], ...] = (("chunk 1", 1), ("chunk 10", 10), ("50 %", 0.5), ("last but one", -1))
LATE_EVENTS = 2
"""A provider that is being closed may have written an event that its own log does not show yet."""


@dataclass(frozen=True, slots=True)
class Left:
    where: str
    read: int
    sent: int
    booked: int

    @property
    def error(self) -> float:
        return abs(self.booked - self.sent) / max(1, self.sent)


async def run(site: Site) -> Report:
    events, repeats = site.size(200, 40), site.size(16, 2)
    gateway = site.gateway(keys=keys(1), models={"words": model()})
    async with crowd(gateway) as clients:
        calls = [
            _leave(clients, f"{where}-{n}", _after(at, events), events) for where, at in LEAVES for n in range(repeats)
        ]
        answers = dict(await asyncio.gather(*calls))
    gateway.quiesce()
    await site.upstream.until(lambda stats: stats["in_flight"] == 0)
    sent = {_name(row): row for row in site.upstream.log()}
    found = [_booked(gateway, name, answer, sent[name]) for name, answer in answers.items()]
    rows = gateway.rows("SELECT call_id FROM calls")
    broken = differing("calls in the books", len(rows), len(sent))
    broken += differing("calls still held", gateway.held(), 0)
    for left in found:
        if not left.read <= left.booked <= left.sent + LATE_EVENTS:
            broken.append(f"left at {left.where}: read {left.read}, booked {left.booked}, sent {left.sent} tokens")
    booked, true = sum(left.booked for left in found), sum(left.sent for left in found)
    missing = len(sent) - len(rows)
    figure = (
        f"{len(found)} streams left by their clients: {missing} rows missing, "
        f"booked {booked} of {true} streamed tokens ({abs(booked - true) / true:.2%} off)"
    )
    raw = {"left": [(left.where, left.read, left.sent, left.booked) for left in found]}
    return Report(figure, tuple(broken), raw)


def _after(at: float, events: int) -> int:
    """Events to read before leaving; the first one only names the role."""
    if at < 0:
        return events
    return 1 + int(at * events) if at < 1 else int(at)


async def _leave(clients: Crowd, name: str, after: int, events: int) -> tuple[str, Answer]:
    body: dict[str, Any] = ask(spoken(name, events, pace_s=PACE_S), model="words", stream=True, max_tokens=2 * events)
    return name, await clients.chat(body, key="k0", session=name.replace(" ", "_"), leave_after=after)


def _name(row: LogRow) -> str:
    return name_in(row.json["messages"][0]["content"])


def _booked(gateway: GatewayProcess, name: str, answer: Answer, row: LogRow) -> Left:
    where = name.rpartition("-")[0]
    return Left(where, len(answer.text.split()), row.events, gateway.call(answer.call_id)["output_tokens"])
