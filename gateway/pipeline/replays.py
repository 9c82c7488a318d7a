"""Replies that are kept in memory for requests that come again with the same Idempotency-Key, and requests under way.

Rule: between looking for a request and taking its place nothing waits, so of any number of twins one is the first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.denial import Denial
from gateway.core.idempotency import KeyUsed, ReplayRules

ENTRY_BYTES = 1_024
Address = tuple[str, str]
"""(id of the virtual key, digest of the Idempotency-Key)"""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """`chunks` is the body in the parts in which it was sent; None if it was too large to be kept."""

    body_digest: str
    call_id: str
    at_us: int
    status: int
    headers: Mapping[str, str]
    chunks: tuple[bytes, ...] | None
    stream: bool

    @property
    def bytes(self) -> int:
        return ENTRY_BYTES + sum(map(len, self.chunks or ()))


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
        self._kept: OrderedDict[Address, KeptReply] = OrderedDict()
        self._bytes = 0
        self._flights: dict[Address, Flight] = {}

    @property
    def bytes(self) -> int:
        """What is kept, about."""
        return self._bytes

    def kept(self, at: Address, now_us: int) -> KeptReply | None:
        found = self._kept.get(at)
        if found is not None and now_us - found.at_us >= self.rules.kept_for_us:
            self._drop(at)
            return None
        return found

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
            self._keep(at, result)
        flight.done.set_result(result)

    def sweep(self, now_us: int) -> None:
        """Lets go of what is too old; the oldest stand first."""
        while self._kept:
            at, oldest = next(iter(self._kept.items()))
            if now_us - oldest.at_us < self.rules.kept_for_us:
                return
            self._drop(at)

    def _keep(self, at: Address, reply: KeptReply) -> None:
        self._drop(at)
        self._kept[at] = reply
        self._bytes += reply.bytes
        while self._bytes > self.rules.bytes_max:
            self._drop(next(iter(self._kept)))

    def _drop(self, at: Address) -> None:
        dropped = self._kept.pop(at, None)
        if dropped is not None:
            self._bytes -= dropped.bytes


class Recording:
    """The parts of a reply as they pass, up to a bound; then only that there were too many."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max
        self._chunks: list[bytes] | None = []
        self.complete = False

    def take(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            self._chunks = None
        elif self._chunks is not None:
            self._chunks.append(chunk)

    def chunks(self) -> tuple[bytes, ...] | None:
        return None if self._chunks is None else tuple(self._chunks)
