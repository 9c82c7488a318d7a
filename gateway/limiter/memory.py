"""Counters of one process, in memory. The ledger is the truth; this is a view on it that is fast enough for every call.

Rules: between two awaits nothing else runs, so reading rooms and taking holds need no lock; a counter that is not in
memory is loaded from the books, in order with their writes, before it is used; a counter with holds never leaves
memory; settlements that happen while a counter is being loaded are added to what is loaded.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from gateway.core.alert_threshold import Reached
from gateway.core.attribution import OPENER, Attribution
from gateway.core.budget import Ask, Shortfall, amounts_by_unit
from gateway.core.child_part import CHILD_PARTS
from gateway.core.counter import Counter
from gateway.core.grant import Grants
from gateway.core.hold import Binding, CounterView, Hold, Summary
from gateway.core.ledger import Amounts
from gateway.core.limit import Limit, Unit
from gateway.core.report import Totals
from gateway.core.reserved import Kept, part_limits
from gateway.core.session import Lineage
from gateway.core.sizing import Room
from gateway.core.throttling import Paces, waits
from gateway.limiter.binding import bindings_of
from gateway.limiter.bound import Bound, OpenHold, opened_hold
from gateway.limiter.parts import TermsOf
from gateway.limiter.past import begins_empty, counter_of_openings, new_counter, post_late, same_view, totals_ask
from gateway.limiter.raised import Raised
from gateway.limiter.reading import (
    CounterKey,
    kept_from,
    lacking,
    live_views,
    marks_reached,
    rooms,
    shortfalls,
    spare,
    summary,
    views_of,
)
from gateway.ports import Books

BINDINGS_KEPT = 4_000
COUNTERS_KEPT = 50_000


class MemoryLimiter:
    """See `gateway.ports.Limiter`."""

    def __init__(self, books: Books, terms_of: TermsOf, started_us: int) -> None:
        self._books = books
        self._terms_of = terms_of
        self._limits: tuple[Limit, ...] = ()
        self._key_limits: Mapping[str, tuple[Limit, ...]] = {}
        self._counters: dict[CounterKey, Counter] = {}
        self._bindings: OrderedDict[tuple[Attribution, str], Bound] = OrderedDict()
        self._loading: dict[CounterKey, asyncio.Future[None]] = {}
        self._late: dict[CounterKey, list[tuple[int, tuple[int, ...]]]] = {}
        self._complete_since_us: dict[str, int] = {}
        self._started_us = started_us
        self._named: dict[str, Limit] = {}
        self._open: dict[int, OpenHold] = {}
        self._unplaced: dict[CounterKey, list[tuple[OpenHold, Binding]]] = {}
        self._revision = 0
        self._generation = 0
        self._freed: asyncio.Event | None = None
        self._raised = Raised()
        self._paces = Paces()

    def configure(self, limits: tuple[Limit, ...], key_limits: Mapping[str, tuple[Limit, ...]], now_us: int) -> None:
        """Takes over a new set of limits whole. A counter stays if its limit still counts the same thing; calls in
        flight are held on the new counters too, and are bound by the new amounts from their next top-up on."""
        self._limits, self._key_limits = limits, key_limits
        old, self._named = self._named, {limit.name: limit for limit in self._every_limit()}
        kept = {name for name, limit in self._named.items() if same_view(old.get(name), limit)}
        self._bindings.clear()
        self._unplaced.clear()
        self._revision += 1
        self._generation += 1
        self._counters = {key: counter for key, counter in self._counters.items() if key[0] in kept}
        for key, counter in self._counters.items():
            counter.limit = self._named[key[0]]
        self._complete_since_us = {
            name: self._complete_since_us.get(name, self._started_us) if name in kept else now_us
            for name in self._named
        }
        for hold in self._open.values():
            self._rebind(hold, kept)
        self._wake()

    def grant(self, grants: Grants, now_us: int) -> None:
        """Takes over all raises for a time, those to come too."""
        if self._raised.take(grants, now_us):
            self._raise()

    def drawn(self) -> Mapping[CounterKey, tuple[int, int]]:
        return self._raised.drawn()

    def bindings(self, attribution: Attribution, session_id: str, lineage: Lineage) -> Bound:
        """The limits that bind a call, in file order. A session's lineage never changes."""
        at = (attribution, session_id)
        found = self._bindings.get(at)
        if found is None:
            limits = (*self._limits, *self._key_limits.get(attribution.key_id, ()))
            each = bindings_of(limits, attribution, session_id, lineage, self._terms_of)
            found = Bound(self._raised.bind(each), attribution, session_id, lineage, self._revision)
            self._bindings[at] = found
            if len(self._bindings) > BINDINGS_KEPT:
                self._bindings.popitem(last=False)
        return found

    async def load(self, bindings: Sequence[Binding], session_id: str, now_us: int, *, fresh_session: bool) -> None:
        """Brings every counter of `bindings` into memory. Raises BooksUnavailable."""
        self._turn(now_us)
        if self._ready(bindings, now_us):
            return
        while True:
            bound = self._current(bindings)
            fresh = session_id if fresh_session else None
            missing = [b for b in bound if not self._present(b, now_us, fresh)]
            if not missing:
                break
            own = [b for b in missing if (b.limit.name, b.scope) not in self._loading]
            if own:
                await self._load_own(own, now_us)
            else:
                first = missing[0]
                await asyncio.shield(self._loading[first.limit.name, first.scope])
            fresh_session = False  # by now another call may have opened it
        if isinstance(bound, Bound):
            bound.found(self._counters_of(bound), self._generation)

    def rooms(self, bindings: Sequence[Binding], now_us: int) -> tuple[Room, ...]:
        """What the hard limits on tokens and money leave for this call: the tightest of each kind of draw."""
        self._turn(now_us)
        bindings = self._current(bindings)
        return rooms(zip(bindings, self._found(bindings, now_us), strict=True), self._counters, now_us)

    def shortfalls(
        self, bindings: Sequence[Binding], ask: Ask, now_us: int, least: Ask | None = None
    ) -> tuple[Shortfall, ...]:
        """Every limit on which the ask does not fit now, soft ones too: on these `least` is judged, if given."""
        self._turn(now_us)
        bindings = self._current(bindings)
        amounts = amounts_by_unit(ask)
        softly = amounts if least is None else amounts_by_unit(least)
        places = zip(bindings, self._found(bindings, now_us), strict=True)
        return shortfalls(places, amounts, softly, self._counters, now_us)

    def reserve(
        self,
        call_id: str,
        attribution: Attribution,
        session_id: str,
        bindings: tuple[Binding, ...],
        ask: Ask,
        now_us: int,
        least: Ask | None = None,
        *,
        slowed: bool = False,
    ) -> Hold | tuple[Shortfall, ...]:
        """A hold on all limits, or every limit that stands in its way: check and take in one step. Those that slow down
        do so where none refuses and the call was not `slowed` yet; soft ones judge the `least` that it asks for."""
        self._turn(now_us)
        bound = self._current(bindings)
        counters, amounts = self._found(bound, now_us), amounts_by_unit(ask)
        softly = amounts if least is None else amounts_by_unit(least)
        short = shortfalls(zip(bound, counters, strict=True), amounts, softly, self._counters, now_us)
        if short:
            refusing = tuple(s for s in short if s.limit.hard) or tuple(s for s in short if waits(s, slowed=slowed))
            if refusing:
                return refusing
        at_us = now_us
        for b, counter in zip(bound, counters, strict=True):
            counter.hold(amounts[b.index], now_us)
            # Another call may have begun the next window while this one was waiting for its counters.
            at_us = max(at_us, counter.start_us)
        lineage = bindings.lineage if isinstance(bindings, Bound) else ()
        hold = OpenHold(call_id, at_us, attribution, session_id, ask, bound, short, counters=counters, lineage=lineage)
        self._open[id(hold)] = hold
        self._raised.draw(bound, counters, now_us)
        return hold

    def pace(self, slowing: tuple[Shortfall, ...], now_us: int) -> int:
        """How long a call past limits that slow down waits, in microseconds."""
        return self._paces.wait_us(slowing, now_us)

    def top_up(self, hold: Hold, more: Amounts, now_us: int) -> bool:
        """Raises a hold on its token and money limits, all or none (rule 5)."""
        self._turn(now_us)
        amounts = amounts_by_unit(Ask(more, concurrent=0))
        places = zip(hold.bindings, opened_hold(hold).counters, strict=True)
        metered = [(b, counter, amounts[b.index]) for b, counter in places if b.draw is not None]
        if lacking([(b, counter) for b, counter, _ in metered], amounts, self._counters, now_us):
            return False
        for _, counter, amount in metered:
            counter.raise_hold(amount)
        self._raised.draw(hold.bindings, opened_hold(hold).counters, now_us)
        hold.ask = Ask(hold.ask.amounts.plus(more), hold.ask.sessions, hold.ask.concurrent)
        return True

    async def move(self, hold: Hold, attribution: Attribution, now_us: int) -> bool:
        """Holds a call on another attribution's limits too, all or none. Raises BooksUnavailable."""
        bound = self.bindings(attribution, hold.session_id, opened_hold(hold).lineage)
        await self.load(bound, hold.session_id, now_us, fresh_session=False)
        bound = self.bindings(attribution, hold.session_id, opened_hold(hold).lineage)
        return hold.open and opened_hold(hold).move(bound, self._found(bound, now_us), self._keeps, now_us)

    def lacking(self, hold: Hold, more: Amounts, now_us: int) -> tuple[Shortfall, ...]:
        """The hard limits that have no room for raising this hold, on the counters that it lies on."""
        self._turn(now_us)
        amounts = amounts_by_unit(Ask(more, concurrent=0))
        places = zip(hold.bindings, opened_hold(hold).counters, strict=True)
        return lacking(places, amounts, self._counters, now_us)

    def shrink(self, hold: Hold, less: Amounts) -> None:
        """Gives back a top-up that could not be made durable."""
        opened_hold(hold).shrink(less)

    def settle(self, hold: Hold, posted: Amounts) -> tuple[Reached, ...]:
        """The real amounts replace the hold. Returns the marks of `alert_at` that limits reached by it."""
        return self._end(hold, posted, hold.ask.sessions)

    def void(self, hold: Hold, *, written: bool = True) -> None:
        """The hold is given back whole; only a session that it opened stays counted, if that was `written`."""
        self._end(hold, Amounts(), hold.ask.sessions if written else 0)

    async def freed(self, timeout_s: float) -> bool:
        """Waits until some hold ends or the limits change, at most so long."""
        if self._freed is None:
            self._freed = asyncio.Event()
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._freed.wait(), timeout_s)
        return False

    def views(self, now_us: int) -> list[CounterView]:
        """All live counters."""
        self._turn(now_us)
        return live_views(self._counters, now_us)

    def view(self, bindings: Sequence[Binding], now_us: int) -> list[CounterView]:
        """The counters of one call, in file order; those not in memory are left out."""
        self._turn(now_us)
        return views_of(self._current(bindings), self._counters, now_us)

    def summary(self, hold: Hold) -> Summary:
        """What a reply says of its limits, rates as of the hold."""
        places = zip(hold.bindings, opened_hold(hold).counters, strict=True)
        return summary(places, amounts_by_unit(hold.ask), self._counters, hold.at_us)

    def sweep(self, now_us: int, idle_us: int) -> int:
        """Lets counters leave memory that nothing holds and nobody used for a while. Returns how many left."""
        gone = spare(self._counters, now_us, idle_us, COUNTERS_KEPT)
        for key in gone:
            counter = self._counters.pop(key)
            if counter.end_us > now_us:
                self._complete_since_us[key[0]] = now_us
        if gone:
            self._generation += 1
        return len(gone)

    def take_up_sessions(self, opened: Mapping[str, Sequence[int]], now_us: int) -> None:
        """Session openings of the last hour, read once at start, for limits on new sessions per opener."""
        for limit in self._every_limit():
            if limit.unit is Unit.SESSIONS and limit.each == OPENER:
                for scope, times in opened.items():
                    self._put((limit.name, scope), counter_of_openings(limit, scope, times, now_us))
        self._generation += 1

    def _every_limit(self) -> list[Limit]:
        own = (limit for limits in self._key_limits.values() for limit in limits)
        parts = (part for limit in self._limits for part in part_limits(limit))
        return [*self._limits, *own, *parts, *CHILD_PARTS.values()]

    def _keeps(self, b: Binding, counter: Counter, now_us: int) -> Kept:
        return kept_from(b, counter, self._counters, now_us)

    def _ready(self, bindings: Sequence[Binding], now_us: int) -> bool:
        return (
            isinstance(bindings, Bound)
            and bindings.counters is not None
            and bindings.generation == self._generation
            and now_us < bindings.until_us
        )

    def _found(self, bindings: Sequence[Binding], now_us: int) -> tuple[Counter, ...]:
        """The counters of loaded bindings."""
        if isinstance(bindings, Bound) and bindings.counters is not None and bindings.generation == self._generation:
            return bindings.counters
        return self._counters_of(bindings)

    def _counters_of(self, bindings: Sequence[Binding]) -> tuple[Counter, ...]:
        return tuple([self._counters[b.limit.name, b.scope] for b in bindings])

    def _present(self, b: Binding, now_us: int, fresh_session: str | None) -> bool:
        key = (b.limit.name, b.scope)
        counter = self._counters.get(key)
        if counter is not None:
            counter.amount, counter.granted = b.amount, b.granted
            if counter.end_us > now_us:
                return True
        if key in self._loading:
            return False
        known_from_us = self._complete_since_us.get(b.limit.name, self._started_us)
        if b.session_id == fresh_session or begins_empty(b.limit, counter, known_from_us, now_us):
            self._put(key, new_counter(b.limit, b.scope, now_us, b.amount, Totals({}), now_us))
            return True
        return False

    async def _load_own(self, own: list[Binding], now_us: int) -> None:
        keys, revision = [(b.limit.name, b.scope) for b in own], self._revision
        done = asyncio.get_running_loop().create_future()
        for key in keys:
            self._loading[key] = done
            self._late[key] = []
        try:
            found = await self._books.totals([totals_ask(b, now_us) for b in own])
            if revision != self._revision:
                return  # a reload came in between, and what was settled meanwhile was not kept for these limits
            for b, key, totals in zip(own, keys, found, strict=True):
                counter = new_counter(b.limit, b.scope, now_us, b.amount, totals, now_us)
                post_late(counter, [(at_us, amounts[b.limit.unit_index]) for at_us, amounts in self._late[key]])
                self._put(key, counter)
        finally:
            for key in keys:
                del self._loading[key], self._late[key]
            done.set_result(None)

    def _end(self, hold: Hold, posted: Amounts, sessions: int) -> tuple[Reached, ...]:
        if not hold.open:
            return ()
        reached: tuple[Reached, ...] = ()
        hold.open = False
        opened = opened_hold(hold)
        del self._open[id(opened)]
        booked = Ask(posted, sessions, 0)
        held, amounts = amounts_by_unit(hold.ask), amounts_by_unit(booked)
        for b, counter in zip(hold.bindings, opened.counters, strict=True):
            index = b.index
            counter.release(held[index])
            if amounts[index] and opened.books(b):
                counter.post(amounts[index], hold.at_us)
                if b.limit.alert_at:
                    reached += marks_reached(b, counter, hold.at_us)
        if self._late:
            # The books were asked before this settlement reaches them.
            for b in self.bindings(hold.attribution, hold.session_id, opened.lineage):
                if (late := self._late.get((b.limit.name, b.scope))) is not None and b.counts:
                    late.append((hold.at_us, amounts))
        self._wake()
        return reached

    def _turn(self, now_us: int) -> None:
        """Grants begin and end by the clock, to the microsecond."""
        if self._raised.turned(now_us):
            self._raise()

    def _raise(self) -> None:
        """Other amounts bind from here on: calls to come, waiting ones, and those in flight at their next top-up."""
        self._bindings.clear()
        self._unplaced.clear()
        self._revision += 1
        self._generation += 1
        for key, counter in self._counters.items():
            counter.grant(self._raised.amounts.get(key, 0))
        for hold in self._open.values():
            self._rebind(hold, self._named)
        self._wake()

    def _wake(self) -> None:
        if self._freed is not None:
            self._freed.set()
            self._freed = None

    def _rebind(self, hold: OpenHold, kept: Collection[str]) -> None:
        """Lays a call in flight on the limits of now: on counters that stayed at once, on others when they come up."""
        for b in hold.lay_on(self.bindings(hold.attribution, hold.session_id, hold.lineage), kept):
            self._unplaced.setdefault((b.limit.name, b.scope), []).append((hold, b))

    def _put(self, key: CounterKey, counter: Counter) -> None:
        """A counter comes up; calls that were in flight when its limit came are held on it."""
        counter.granted = self._raised.amounts.get(key, 0)
        self._counters[key] = counter
        for hold, b in self._unplaced.pop(key, ()):
            if hold.open and counter.start_us <= hold.at_us < counter.end_us:
                counter.hold(amounts_by_unit(hold.ask)[b.index], counter.used_us)
                hold.bindings = (*hold.bindings, b)
                hold.counters = (*hold.counters, counter)

    def _current(self, bindings: Sequence[Binding]) -> tuple[Binding, ...]:
        """The bindings of the same call under the limits of now: a reload may lie between two of its steps."""
        if isinstance(bindings, Bound):
            if bindings.revision == self._revision:
                return bindings
            return self.bindings(bindings.attribution, bindings.session_id, bindings.lineage)
        return tuple(bindings)
