"""Between authorization and the hold: a call waits for its turn at a provider whose capacity is shared out.

Rules: a call that waits for its first turn holds no money and no tokens; what no wait cures (a final refusal by a
limit) is told before it waits (rule 30); a client that leaves gives up its place at once; a turn is given back exactly
once however the call ends. Providers without a `capacity` section have no turns and cost nothing here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.core.attribution import Attribution
from gateway.core.capacity import CapacityFigures, CapacityRules, ModelFigures, patience_us
from gateway.core.catalog import Deployment
from gateway.core.denial import Code, Denial, LimitFacts, Refused
from gateway.core.fair_share import FairShare, Ticket
from gateway.core.provider_signal import signal_of
from gateway.ports import Clock, UpstreamReply

ATTRIBUTIONS_KEPT = 4096
RETRIES_MAX = 3
BUSY: Final = frozenset({429, 529})
"""Statuses by which a provider says that it is asked too much; 529 is Anthropic's."""

_TIMER_S_MIN = 0.001

Left = Callable[[], Awaitable[object]]


class Lane:
    """The turns at one provider: the scheduler, whoever waits, one timer, and sums for metrics."""

    def __init__(self, rules: CapacityRules, clock: Clock) -> None:
        self.fair = FairShare(rules)
        self.admitted = self.waited = self.waited_us = self.refused = self.upstream_refusals = 0
        self._clock = clock
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._shares: dict[Attribution, str] = {}

    @property
    def rules(self) -> CapacityRules:
        return self.fair.rules

    def now_us(self) -> int:
        return self._clock.monotonic_ns() // 1000

    def wall_us(self) -> int:
        return self._clock.now_us()

    def configure(self, rules: CapacityRules) -> None:
        if rules != self.rules:
            self.fair.configure(rules)
            self._shares.clear()
            self.pump()

    def share_of(self, attribution: Attribution) -> str:
        found = self._shares.get(attribution)
        if found is None:
            if len(self._shares) >= ATTRIBUTIONS_KEPT:
                self._shares.clear()
            found = self._shares[attribution] = self.rules.share_of(attribution)
        return found

    def enter(self, attribution: Attribution, model: str, tokens: int) -> Ticket:
        """A place in line; its stage says whether it was let in at once."""
        share = self.share_of(attribution)
        ticket = self.fair.enter(share, model, attribution.key_id, tokens, self.now_us())
        self.pump()
        return ticket

    def pump(self) -> None:
        """Lets in whoever may pass now, and comes back when time alone will let others pass."""
        now_us = self.now_us()
        while (ticket := self.fair.admit(now_us)) is not None:
            self.admitted += 1
            waiter = self._waiting.pop(ticket, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            at_us = self.fair.opens_at_us(now_us)
            if at_us is not None:
                delay_s = max(_TIMER_S_MIN, (at_us - now_us) / 1e6)
                self._timer = asyncio.get_running_loop().call_later(delay_s, self.pump)

    def withdraw(self, ticket: Ticket) -> None:
        """Its place is free at once; who stood behind it may be able to pass."""
        if not ticket.admitted:
            self.fair.withdraw(ticket)
            self.pump()

    def leave(self, ticket: Ticket, tokens_used: int | None) -> None:
        if ticket.admitted:
            self.fair.leave(ticket, tokens_used, self.now_us())
            self.pump()

    async def wait(self, ticket: Ticket, timeout_s: float, left: Left | None) -> bool:
        """Waits for its turn, which the ticket tells. True = the client left meanwhile; being cancelled gives the
        place, or the turn, back."""
        since_us = self.now_us()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = waiter
        watching = None if left is None else asyncio.ensure_future(left())
        self.pump()
        try:
            both = {waiter} if watching is None else {waiter, watching}
            await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return watching is not None and watching.done()
        except BaseException:
            self.leave(ticket, None)
            raise
        finally:
            if watching is not None:
                watching.cancel()
            self._waiting.pop(ticket, None)
            waiter.cancel()
            self.withdraw(ticket)
            self.waited += 1
            self.waited_us += self.now_us() - since_us

    def figures(self) -> CapacityFigures:
        now_us = self.now_us()
        models = tuple(
            ModelFigures(g.model, g.in_flight, g.in_flight_max, max(0, g.paused_until_us - now_us) / 1e6)
            for g in self.fair.gates.values()
        )
        return CapacityFigures(
            self.rules.provider,
            self.rules,
            self.fair.in_flight,
            self.fair.waiting,
            self.fair.figures(),
            models,
            self.admitted,
            self.waited,
            self.waited_us,
            self.refused,
            self.upstream_refusals,
        )


class FullLine(NamedTuple):
    """A line that had no place for a call: whose part of it, at which model, and of which key."""

    lane: Lane
    share: str
    model: str
    key_id: str

    @property
    def full(self) -> bool:
        """Whether it has none for another such call now. As exact as standing in line would be, and cheap."""
        return self.lane.fair.stays_out(self.share, self.model, self.key_id)

    def turned_away(self) -> None:
        """Counts a call that was refused by it without standing in it."""
        self.lane.refused += 1


class LineFull(Refused):
    """Refused because every line that the call could stand in is full."""

    def __init__(self, denial: Denial, lines: tuple[FullLine, ...]) -> None:
        super().__init__(denial)
        self.lines = lines


class Turn:
    """One call's way through the lanes of its deployments. `places` = the order in which they are to be tried,
    `place` = the one it was let in for, `tokens` = what the call will probably use, `client_left` = why it was
    refused."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        deployments: Sequence[Deployment],
        attribution: Attribution,
        headers: Mapping[str, str],
        left: Left | None,
        places: Sequence[int],
    ) -> None:
        self.places = places
        self.place = self.tokens = 0
        self.waited_us = 0
        self.client_left = False
        self._lanes = lanes
        self._deployments = deployments
        self._attribution = attribution
        self._headers = headers
        self._left = left
        self._until_us: int | None = None
        self._lane: Lane | None = None
        self._ticket: Ticket | None = None
        self._retries = self._first = 0

    @property
    def in_line(self) -> bool:
        """Whether it waits between two attempts: nobody works for the call then."""
        return self._lane is not None and self._ticket is None

    async def come(self, before_waiting: Callable[[], Awaitable[None]]) -> None:
        """A turn at the first deployment that takes the call at once, as refusals of a provider lead to the next, too;
        else at the first whose line is short enough. Raises Refused; so may `before_waiting`."""
        try:
            await self._come(before_waiting)
        finally:
            self._left = None  # whoever forwards the call watches the client from here on

    async def _come(self, before_waiting: Callable[[], Awaitable[None]]) -> None:
        places = self.places
        if any(self._at_once(place) for place in places):
            self._first = self.place
            return
        await before_waiting()
        first: Refused | None = None
        full: list[FullLine] = []
        try:
            for place in places:
                try:
                    await self._stand(place)
                except Refused as refused:
                    if self.client_left:
                        raise
                    first = first or refused
                    full += refused.lines if isinstance(refused, LineFull) else ()
                else:
                    self._first = place
                    return
            if first is not None:
                raise LineFull(first.denial, tuple(full)) if len(full) == len(places) else first
        finally:
            # An exception that a frame of its own traceback names is a cycle, and holds all that the call knew: under
            # a flood of refusals the collector stopped every call for 50 ms a second.
            first = None

    async def at(self, place: int) -> None:
        """Before an attempt: the turn at this deployment, in place of the one at another. Raises Refused."""
        if place == self.place and (self._lane is None or self._ticket is not None):
            return
        self.leave(0)
        if not self._at_once(place):
            await self._stand(place)

    async def again(self) -> bool:
        """After a provider's refusal: waits in line once more, where the call was first sent to, if that can cure it in
        time. False = it cannot."""
        first = self._first
        if self._deployments[first].provider not in self._lanes or self._retries == RETRIES_MAX:
            return False
        self._retries += 1
        self.leave(0)
        try:
            await self._stand(first)
        except Refused:
            return False
        return True

    async def aside(self, wait: Awaitable[object]) -> None:
        """Waits for something else without keeping anybody's slot, then for a turn again. Raises Refused."""
        place, had = self.place, self._ticket is not None
        self.leave(None)
        await wait
        if had and not self._at_once(place):
            await self._stand(place)

    def heard(self, reply: UpstreamReply) -> None:
        """What the provider's answer says about its limits steers the lane."""
        lane, ticket = self._lane, self._ticket
        if lane is None or ticket is None:
            return
        now_us, gate = lane.now_us(), ticket.gate
        signal = signal_of(reply.headers, lane.wall_us())
        gate.heard(signal, now_us)
        if reply.status in BUSY:
            lane.upstream_refusals += 1
            gate.refused(ticket.admitted_us, signal.retry_after_us, lane.rules.concurrent, now_us)
        elif reply.status < 400:
            gate.succeeded()

    def leave(self, tokens_used: int | None) -> None:
        """Gives the turn back; harmless when repeated. `tokens_used` as of FairShare.leave."""
        lane, ticket, self._ticket = self._lane, self._ticket, None
        if lane is not None and ticket is not None:
            lane.leave(ticket, tokens_used)

    def _at_once(self, place: int) -> bool:
        self.place = place
        deployment = self._deployments[place]
        self._lane = lane = self._lanes.get(deployment.provider)
        if lane is None:
            return True
        ticket = lane.enter(self._attribution, deployment.upstream_model, self.tokens)
        if ticket.admitted:
            self._ticket = ticket
            return True
        lane.withdraw(ticket)
        return False

    async def _stand(self, place: int) -> None:
        """Waits in line. Raises Refused where the line is full, or longer than this call may wait."""
        self.place = place
        deployment = self._deployments[place]
        self._lane = lane = self._lanes.get(deployment.provider)
        if lane is None:
            return
        since_us = lane.now_us()
        if self._until_us is None:
            self._until_us = since_us + patience_us(self._headers, lane.rules.wait_us, lane.fair.service_us)
        share = lane.share_of(self._attribution)
        fits = lane.fair.has_place(share, self._attribution.key_id)
        ticket = lane.enter(self._attribution, deployment.upstream_model, self.tokens)
        if not ticket.admitted:
            left_us = self._until_us - since_us
            expected_us = lane.fair.wait_us(ticket, since_us)
            if not fits or left_us <= 0 or expected_us > left_us:
                denial = self._denial(lane, ticket, expected_us)
                if fits:
                    raise Refused(denial)
                line = FullLine(lane, share, deployment.upstream_model, self._attribution.key_id)
                raise LineFull(denial, (line,))
            try:
                self.client_left = await lane.wait(ticket, left_us / 1e6, self._left)
            finally:
                self.waited_us += lane.now_us() - since_us
            if not ticket.admitted:
                raise Refused(self._denial(lane, ticket, max(expected_us, 1_000_000)))
        self._ticket = ticket

    def _denial(self, lane: Lane, ticket: Ticket, expected_us: int) -> Denial:
        facts = lane.fair.bottleneck(ticket, lane.now_us())
        lane.withdraw(ticket)
        lane.refused += 1
        provider, share, after_s = lane.rules.provider, ticket.share.name, max(1.0, expected_us / 1e6)
        what = {
            "upstream": f"Provider '{provider}' asked for a pause",
            "concurrent": f"All places of provider '{provider}' that calls of {share} may take are taken",
            "requests": f"The requests a minute of provider '{provider}' that calls of {share} may send are used up",
            "tokens": f"The tokens a minute of provider '{provider}' that calls of {share} may use are used up",
        }[facts.resource]
        limit = LimitFacts(
            name=f"capacity.{provider}",
            scope=f"provider:{provider}",
            unit=facts.resource if facts.resource != "upstream" else "requests",
            limit=facts.limit,
            spent=0,
            held=facts.taken,
            asked=facts.asked,
            resets_at_us=None,
        )
        code = Code.CONCURRENCY_LIMITED if facts.resource == "concurrent" else Code.RATE_LIMITED
        text = f"{what}, and waiting would take longer than this call may; retry in about {after_s:.0f} s."
        return Denial(code, text, limit=limit, retry_after_s=after_s)


class Capacity:
    """The lanes of all providers that have a capacity."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, Lane] = {}

    def configure(self, rules: Sequence[CapacityRules]) -> None:
        """In force from now on, for calls that wait too. What a provider without rules kept waiting is let in."""
        named = {each.provider: each for each in rules}
        for provider in [name for name in self._lanes if name not in named]:
            self._lanes.pop(provider).configure(CapacityRules(provider))
        for provider, each in named.items():
            lane = self._lanes.get(provider)
            if lane is None:
                self._lanes[provider] = Lane(each, self._clock)
            else:
                lane.configure(each)

    def turn(
        self,
        deployments: Sequence[Deployment],
        attribution: Attribution,
        headers: Mapping[str, str],
        left: Left | None,
        order: Callable[[], Sequence[int]],
    ) -> Turn | None:
        """None = no deployment's provider has a capacity to share. `order` = the places in the order to try them."""
        if not self._lanes or not any(each.provider in self._lanes for each in deployments):
            return None
        return Turn(self._lanes, deployments, attribution, headers, left, order())

    def figures(self) -> list[CapacityFigures]:
        return [lane.figures() for lane in self._lanes.values()]
