"""Whose turn it is at a provider: weighted fair queueing over calls in flight, requests and tokens a minute.

Rules: a share below its guarantee goes before all that borrow; among equals who has least in flight for its weight,
then who was served least for its weight (start-time fair queueing). Idle capacity is lent; nothing in flight is taken
back, so a share that returns gets its own at the next free slot. What borrowers do leave free is what others used at
once lately, so that a quiet one does not wait for their calls to end. Within a share, keys take turns. No clock here:
`now_us` comes in and must not run backward.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from gateway.core.capacity import OTHERS, CapacityRules, ShareFigures
from gateway.core.congestion import Gate
from gateway.core.rate_shares import RateShares

LATELY_US = 30_000_000
"""A share counts as busy lately until one to two such periods after its last call."""

BORROWS = 2
_SERVICE_WEIGHT = 8
_NOBODY: Mapping[str, "deque[Ticket]"] = MappingProxyType({})
_COST_SCALE = 10**12


class Stage(Enum):
    WAITING = 1
    ADMITTED = 2
    GONE = 3


class Share:
    """One share's calls. `tag` = its place in the order by service, `lines` = its waiting calls by model."""

    __slots__ = ("_peaks", "_period", "in_flight", "lines", "name", "tag", "waiting", "waiting_tokens", "weight")

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.in_flight = self.waiting = self.waiting_tokens = self.tag = 0
        self.lines: dict[str, OrderedDict[str, deque[Ticket]]] = {}
        self._peaks = (0, 0)
        self._period = 0

    def busy_lately(self, now_us: int) -> int:
        """The most calls that it had at once in the last period or two."""
        period = now_us // LATELY_US
        if period != self._period:
            self._peaks = (self._peaks[1] if period == self._period + 1 else 0, 0)
            self._period = period
        before, current = self._peaks
        current = max(current, self.in_flight + self.waiting)
        self._peaks = (before, current)
        return max(before, current)


class Ticket:
    """One call, waiting or let in. `tokens` is what it is expected to use."""

    __slots__ = ("admitted_us", "flow", "gate", "number", "share", "stage", "tokens")

    def __init__(self, number: int, share: Share, gate: Gate, flow: str, tokens: int) -> None:
        self.number = number
        self.share = share
        self.gate = gate
        self.flow = flow
        self.tokens = tokens
        self.stage = Stage.WAITING
        self.admitted_us = 0

    @property
    def admitted(self) -> bool:
        """Let in and not yet over."""
        return self.stage is Stage.ADMITTED


class Bottleneck(NamedTuple):
    """What a call waits for: a resource (`concurrent`, `requests`, `tokens`, or `upstream`), what of it there is, what
    is taken, and what the call asks."""

    resource: str
    limit: int
    taken: int
    asked: int


class FairShare:
    """The turns at one provider."""

    def __init__(self, rules: CapacityRules) -> None:
        self.shares: dict[str, Share] = {}
        self.gates: dict[str, Gate] = {}
        self.in_flight = self.waiting = 0
        self._backlogged: dict[Share, None] = {}
        self._virtual = self._numbers = self.service_us = 0
        self.configure(rules)

    def configure(self, rules: CapacityRules) -> None:
        """New bounds and weights. Calls in flight and waiting keep their places; those of a share that is gone end
        under the name they began with."""
        named = {share.name: share.weight for share in rules.shares} | {OTHERS: rules.default_weight}
        before, self.shares = self.shares, {}
        for name, weight in named.items():
            share = self.shares[name] = before.get(name) or Share(name, weight)
            share.weight = weight
        self.rules = rules
        self._weight = rules.weight
        self._requests = None if rules.requests_per_minute is None else RateShares(rules.requests_per_minute, named)
        self._tokens = None if rules.tokens_per_minute is None else RateShares(rules.tokens_per_minute, named)

    # Calls

    def enter(self, share: str, model: str, flow: str, tokens: int, now_us: int) -> Ticket:
        """Takes its place in line; `admit` says whose turn it is. `flow` = who takes turns within a share."""
        into = self.shares[share]
        gate = self.gates.get(model)
        if gate is None:
            gate = self.gates[model] = Gate(model)
        self._numbers += 1
        ticket = Ticket(self._numbers, into, gate, flow, tokens)
        into.lines.setdefault(model, OrderedDict()).setdefault(flow, deque()).append(ticket)
        if not into.waiting:
            self._backlogged[into] = None
            into.tag = max(into.tag, self._virtual)
        into.waiting += 1
        into.waiting_tokens += tokens
        self.waiting += 1
        into.busy_lately(now_us)
        return ticket

    def admit(self, now_us: int) -> Ticket | None:
        """Lets the next call in, if there is one that may pass now. Call it until it gives none."""
        if not self.waiting or (self.rules.concurrent is not None and self.in_flight >= self.rules.concurrent):
            return None
        self._advance(now_us)
        best: tuple[tuple[int, float, int, int], Ticket] | None = None
        for share in self._backlogged:
            ticket = self._head(share, now_us)
            place = None if ticket is None else self._place(ticket, now_us)
            if ticket is not None and place is not None and (best is None or place < best[0]):
                best = (place, ticket)
        if best is None:
            return None
        self._let_in(best[1], now_us)
        return best[1]

    def withdraw(self, ticket: Ticket) -> None:
        """A waiting call goes away; harmless when repeated."""
        if ticket.stage is Stage.WAITING:
            self._take_out(ticket, served=False)
            ticket.stage = Stage.GONE

    def leave(self, ticket: Ticket, tokens_used: int | None, now_us: int) -> None:
        """An admitted call is over; 0 = the provider did no work, None = it was never sent. Harmless when repeated."""
        if ticket.stage is not Stage.ADMITTED:
            return
        ticket.stage = Stage.GONE
        share = ticket.share
        share.in_flight -= 1
        self.in_flight -= 1
        ticket.gate.left()
        if tokens_used:
            took_us = now_us - ticket.admitted_us
            self.service_us += (took_us - self.service_us) // (_SERVICE_WEIGHT if self.service_us else 1)
        if self._rated(share):
            self._advance(now_us)
            if self._requests is not None and tokens_used is None:
                self._requests.correct(share.name, -1)
            if self._tokens is not None:
                self._tokens.correct(share.name, (tokens_used or 0) - ticket.tokens)

    # What to expect

    def has_place(self, share: str, flow: str) -> bool:
        """Whether one more may wait: each share has its part of the line, and one of its keys at most half of that."""
        into = self.shares[share]
        part = -(-self.rules.line_max * into.weight // self._weight)
        if into.waiting >= part:
            return False
        return sum(len(flows.get(flow, ())) for flows in into.lines.values()) < max(1, part // 2)

    def stays_out(self, share: str, model: str, flow: str) -> bool:
        """Whether one more of this flow has no place, and could not be let in at once either: another of the same model
        stands before it. What `has_place` and `enter` would say, without a ticket."""
        into = self.shares.get(share)
        if into is None or not into.lines.get(model, _NOBODY).get(flow):
            return False
        return not self.has_place(share, flow)

    def wait_us(self, ticket: Ticket, now_us: int) -> int:
        """An honest guess of how long this waiting call will stand in line, at the pace of its guarantee and of its
        part of what nobody else uses. 0 where nothing is known of how long calls take."""
        self._advance(now_us)
        share, gate = ticket.share, ticket.gate
        ahead = self._ahead(ticket)
        active = sum(s.weight for s in self.shares.values() if s.waiting or s.in_flight or s is share)
        waits = [0]
        if self.rules.concurrent is not None and not (ahead == 0 and self._slot_for(share, now_us)):
            waits.append((ahead + 1) * self.service_us * active // (self.rules.concurrent * share.weight))
        if gate.full(now_us):
            waits.append((ahead + 1) * self.service_us // (gate.in_flight_max or 1))
        if self._rated(share):
            if self._requests is not None:
                waits.append(self._requests.wait_us(share.name, ahead, 1, of_weight=active))
            if self._tokens is not None:
                before = share.waiting_tokens * ahead // share.waiting
                waits.append(self._tokens.wait_us(share.name, before, ticket.tokens, of_weight=active))
        return max(waits) + max(0, gate.opens_at_us(ticket.tokens, now_us) - now_us)

    def bottleneck(self, ticket: Ticket, now_us: int) -> Bottleneck:
        """What a call that has to wait waits for first."""
        self._advance(now_us)
        share, gate, rules = ticket.share, ticket.gate, self.rules
        if gate.opens_at_us(ticket.tokens, now_us) > now_us:
            return Bottleneck("upstream", 0, 0, 1)
        if gate.full(now_us):
            return Bottleneck("concurrent", gate.in_flight_max or 0, gate.in_flight, 1)
        if self._requests is not None and not self._requests.covers(share.name, 1):
            return _of_rate("requests", self._requests, share.name, 1)
        if self._tokens is not None and not self._tokens.covers(share.name, ticket.tokens):
            return _of_rate("tokens", self._tokens, share.name, ticket.tokens)
        # What borrowers leave free counts as taken: it is not theirs.
        limit = rules.concurrent or self.in_flight
        return Bottleneck("concurrent", limit, limit, 1)

    def opens_at_us(self, now_us: int) -> int | None:
        """The earliest time at which a waiting call might pass although no other call ended; None = there is none."""
        if not self.waiting or (self.rules.concurrent is not None and self.in_flight >= self.rules.concurrent):
            return None
        self._advance(now_us)
        return min((at for share in self._backlogged for at in self._openings(share, now_us)), default=None)

    def figures(self) -> tuple[ShareFigures, ...]:
        slots = self.rules.concurrent
        return tuple(
            ShareFigures(
                share.name,
                share.weight,
                None if slots is None else slots * share.weight / self._weight,
                share.in_flight,
                share.waiting,
            )
            for share in self.shares.values()
        )

    # Inside

    def _rated(self, share: Share) -> bool:
        """Whether it has buckets: not one that a reload took away."""
        return self.shares.get(share.name) is share

    def _advance(self, now_us: int) -> None:
        for rate in (self._requests, self._tokens):
            if rate is not None:
                rate.advance(now_us)

    def _head(self, share: Share, now_us: int) -> Ticket | None:
        """The call of this share whose turn it is among those that the provider would take now."""
        heads = (head for head in _heads(share) if self._passable(head, now_us))
        return min(heads, key=lambda head: head.number, default=None)

    def _passable(self, head: Ticket, now_us: int) -> bool:
        gate = head.gate
        return not gate.full(now_us) and gate.opens_at_us(head.tokens, now_us) <= now_us

    def _place(self, ticket: Ticket, now_us: int) -> tuple[int, float, int, int] | None:
        """Its place among the heads of all shares, the smallest first; None = it may not pass now. First come those
        who have a whole slot of their own, then those with a part of one, then who borrows."""
        share = ticket.share
        if not self._slot_for(share, now_us):
            return None
        name, rank = share.name, self._rank(share)
        if self._rated(share):
            for rate, amount in ((self._requests, 1), (self._tokens, ticket.tokens)):
                if rate is not None:
                    if not rate.covers(name, amount):
                        return None
                    rank = rank if rate.own_covers(name, amount) else BORROWS
        load = share.in_flight / share.weight if self.rules.concurrent is not None else 0.0
        return rank, load, share.tag, ticket.number

    def _slot_for(self, share: Share, now_us: int) -> bool:
        """Whether a slot is free for this share: borrowers leave a little to those who were busy lately."""
        if self.rules.concurrent is None:
            return True
        free = self.rules.concurrent - self.in_flight
        if free <= 0 or self._rank(share) < BORROWS:
            return free > 0
        kept = sum(self._kept_for(other, now_us) for other in self.shares.values() if other is not share)
        return free > kept

    def _rank(self, share: Share) -> int:
        slots = self.rules.concurrent
        if slots is None or (share.in_flight + 1) * self._weight <= share.weight * slots:
            return 0
        return 1 if share.in_flight * self._weight < share.weight * slots else BORROWS

    def _kept_for(self, share: Share, now_us: int) -> int:
        """Slots that borrowers leave free for it: as many as it used at once lately, at most its guarantee."""
        slots = self.rules.concurrent or 0
        own = -(-slots * share.weight // self._weight)
        return max(0, min(own, share.busy_lately(now_us)) - share.in_flight)

    def _let_in(self, ticket: Ticket, now_us: int) -> None:
        share = ticket.share
        self._take_out(ticket, served=True)
        ticket.stage = Stage.ADMITTED
        ticket.admitted_us = now_us
        share.in_flight += 1
        self.in_flight += 1
        ticket.gate.took(ticket.tokens)
        self._virtual = max(self._virtual, share.tag)
        share.tag += max(1, self._cost(ticket) // share.weight)
        if self._rated(share):
            if self._requests is not None:
                self._requests.take(share.name, 1)
            if self._tokens is not None:
                self._tokens.take(share.name, ticket.tokens)

    def _cost(self, ticket: Ticket) -> int:
        """A call's part of a minute's requests or tokens, the larger one."""
        parts = [_COST_SCALE // self._requests.per_minute] if self._requests is not None else []
        if self._tokens is not None:
            parts.append(_COST_SCALE * ticket.tokens // self._tokens.per_minute)
        return max(parts, default=_COST_SCALE)

    def _take_out(self, ticket: Ticket, *, served: bool) -> None:
        """Out of the line. A flow that was served goes to the end, so that keys take turns."""
        share = ticket.share
        flows = share.lines[ticket.gate.model]
        line = flows[ticket.flow]
        line.remove(ticket)
        if not line:
            del flows[ticket.flow]
            if not flows:
                del share.lines[ticket.gate.model]
        elif served:
            flows.move_to_end(ticket.flow)
        share.waiting -= 1
        share.waiting_tokens -= ticket.tokens
        self.waiting -= 1
        if not share.waiting:
            del self._backlogged[share]

    def _ahead(self, ticket: Ticket) -> int:
        """How many of its share go before it, as keys take turns."""
        flows = ticket.share.lines[ticket.gate.model]
        line = flows[ticket.flow]
        before = len(line) - 1 if line[-1] is ticket else line.index(ticket)
        return min(ticket.share.waiting - 1, before * len(flows) + len(flows) - 1)

    def _openings(self, share: Share, now_us: int) -> Iterator[int]:
        for head in _heads(share):
            at_us = head.gate.opens_at_us(head.tokens, now_us)
            if self._rated(share):
                for rate, amount in ((self._requests, 1), (self._tokens, head.tokens)):
                    if rate is not None:
                        at_us = max(at_us, now_us + rate.earliest_us(share.name, amount))
            if at_us > now_us and not head.gate.full(now_us):
                yield at_us


def _heads(share: Share) -> Iterator[Ticket]:
    for flows in share.lines.values():
        yield next(iter(flows.values()))[0]


def _of_rate(unit: str, rate: RateShares, share: str, asked: int) -> Bottleneck:
    return Bottleneck(unit, rate.per_minute, max(0, rate.per_minute - rate.room_of(share)), asked)
