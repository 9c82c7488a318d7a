"""Replies that are kept in memory for requests that come again with the same Idempotency-Key, and requests under way.

Rule: between looking for a request and taking its place nothing waits, so of any number of twins one is the first.
"""

import asyncio
from dataclasses import dataclass, field

from gateway.core.denial import Denial
from gateway.core.idempotency import KeyUsed, ReplayRules
from gateway.pipeline.kept_replies import KeptReplies, KeptReply

Address = tuple[str, str]
"""(id of the virtual key, digest of the Idempotency-Key)"""


@dataclass(slots=True)
class Flight:
    """A request under way. `done` gets its reply, what it was refused with, or None: look again, it left nothing."""

    body_digest: str
    done: asyncio.Future[KeptReply | Denial | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Replays:
    """`claims` holds what is to be written with the holds of calls, by call id. `rules` may be replaced."""

    def __init__(self, rules: ReplayRules) -> None:
        self.rules = rules
        self.claims: dict[str, KeyUsed] = {}
        self._kept: KeptReplies[Address] = KeptReplies()
        self._flights: dict[Address, Flight] = {}

    @property
    def bytes(self) -> int:
        """What is kept, about."""
        return self._kept.bytes

    def kept(self, at: Address, now_us: int) -> KeptReply | None:
        return self._kept.get(at, now_us - self.rules.kept_for_us)

    def flight(self, at: Address) -> Flight | None:
        return self._flights.get(at)

    def begin(self, at: Address, body_digest: str) -> Flight:
        """The first of its kind takes off; `land` must follow whatever happens."""
        flight = self._flights[at] = Flight(body_digest)
        return flight

    def land(self, at: Address, flight: Flight, result: KeptReply | Denial | None, *, keep: bool) -> None:
        """Tells the twins; with `keep`, those that come later too. Only the first landing counts."""
        if flight.done.done():
            return
        self._flights.pop(at, None)
        if keep and isinstance(result, KeptReply):
            self._kept.keep(at, result, self.rules.bytes_max)
        flight.done.set_result(result)

    def sweep(self, now_us: int) -> None:
        self._kept.sweep(now_us - self.rules.kept_for_us)
