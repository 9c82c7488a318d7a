"""Counters of one process, in memory. The ledger is the truth; this is a view on it that is fast enough for every call.

Rules: between two awaits nothing else runs, so reading rooms and taking holds need no lock; a counter that is not in
memory is loaded from the books, in order with their writes, before it is used; a counter with holds never leaves
memory; settlements that happen while a counter is being loaded are added to what is loaded.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from gateway.core.attribution import OPENER, Attribution
from gateway.core.budget import DRAWS, Ask, Shortfall, amount_of, amounts_by_unit
from gateway.core.counter import NEVER_US, Counter, RateCounter
from gateway.core.hold import Binding, CounterView, Hold, Summary
from gateway.core.ledger import Amounts
from gateway.core.limit import TOKEN_UNITS, Limit, Unit
from gateway.core.report import Totals
from gateway.core.sizing import Draw, Room
from gateway.limiter.bound import Bound, OpenHold, opened_hold
from gateway.limiter.past import negative, new_counter, recorded_kind, same_view, totals_ask, window_of
from gateway.ports import Books

TermsOf = Callable[[Attribution, Sequence[str]], tuple[tuple[str, str | None], ...]]
CounterKey = tuple[str, str]

BINDINGS_KEPT = 20_000
COUNTERS_KEPT = 50_000
DRAWN = tuple(Draw)


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
        self._late: dict[CounterKey, list[tuple[int, Amounts, int]]] = {}
        self._complete_since_us: dict[str, int] = {}
        self._started_us = started_us
        self._revision = 0
        self._generation = 0
        self._freed = asyncio.Event()

    def configure(self, limits: tuple[Limit, ...], key_limits: Mapping[str, tuple[Limit, ...]], now_us: int) -> None:
        """Takes over a new set of limits whole. A counter stays if its limit still counts the same thing."""
        old = {limit.name: limit for limit in self._every_limit()}
        self._limits, self._key_limits = limits, key_limits
        self._bindings.clear()
        self._revision += 1
        self._generation += 1
        kept = {limit.name for limit in self._every_limit() if same_view(old.get(limit.name), limit)}
        self._counters = {key: counter for key, counter in self._counters.items() if key[0] in kept}
        current = {limit.name: limit for limit in self._every_limit()}
        for name in current:
            if name not in kept:
                self._complete_since_us[name] = now_us
        self._complete_since_us = {n: at for n, at in self._complete_since_us.items() if n in current}
        for key, counter in self._counters.items():
            counter.limit = current[key[0]]

    def bindings(self, attribution: Attribution, session_id: str) -> Bound:
        """The limits that bind a call, in file order."""
        at = (attribution, session_id)
        found = self._bindings.get(at)
        if found is None:
            found = Bound(
                self._bind(limit, attribution, session_id)
                for limit in self._candidates(attribution)
                if limit.binds(attribution, session_id)
            )
            self._bindings[at] = found
            if len(self._bindings) > BINDINGS_KEPT:
                self._bindings.popitem(last=False)
        return found

    async def load(self, bindings: Sequence[Binding], session_id: str, now_us: int, *, fresh_session: bool) -> None:
        """Brings every counter of `bindings` into memory. Raises BooksUnavailable."""
        if self._ready(bindings, now_us):
            return
        while True:
            missing = [b for b in bindings if not self._present(b, now_us, fresh_session=fresh_session)]
            if not missing:
                break
            own = [b for b in missing if (b.limit.name, b.scope) not in self._loading]
            if own:
                await self._load_own(own, session_id, now_us)
            else:
                first = missing[0]
                await asyncio.shield(self._loading[first.limit.name, first.scope])
        if isinstance(bindings, Bound):
            bindings.found(self._counters_of(bindings), self._generation)

    def rooms(self, bindings: Sequence[Binding], now_us: int) -> tuple[Room, ...]:
        """What the hard limits on tokens and money leave for this call: the tightest of each kind of draw."""
        tightest = [NEVER_US] * len(Draw)
        for b, counter in zip(bindings, self._found(bindings, now_us), strict=True):
            if b.draw is not None and b.hard:
                left = b.amount - counter.spent(now_us) - counter.held
                tightest[b.draw] = min(tightest[b.draw], left)
        return tuple([Room(draw, tightest[draw]) for draw in DRAWN if tightest[draw] < NEVER_US])

    def shortfalls(self, bindings: Sequence[Binding], ask: Ask, now_us: int) -> tuple[Shortfall, ...]:
        """Every limit on which the ask does not fit now, soft ones too."""
        amounts = amounts_by_unit(ask)
        found = []
        for b, counter in zip(bindings, self._found(bindings, now_us), strict=True):
            asked = amounts[b.limit.unit_index]
            if asked and (short := _shortfall(b, counter, asked, now_us)) is not None:
                found.append(short)
        return tuple(found)

    def reserve(
        self,
        call_id: str,
        attribution: Attribution,
        session_id: str,
        bindings: tuple[Binding, ...],
        ask: Ask,
        now_us: int,
    ) -> Hold | tuple[Shortfall, ...]:
        """A hold on all limits, or every hard limit that refuses: check and take in one step."""
        short = self.shortfalls(bindings, ask, now_us)
        if short:
            refusing = tuple(s for s in short if s.limit.hard)
            if refusing:
                return refusing
        amounts = amounts_by_unit(ask)
        counters = self._found(bindings, now_us)
        for b, counter in zip(bindings, counters, strict=True):
            counter.hold(amounts[b.limit.unit_index], now_us)
        return OpenHold(
            call_id,
            now_us,
            attribution,
            session_id,
            ask,
            bindings,
            short,
            counters=counters,
            revision=self._revision,
        )

    def top_up(self, hold: Hold, more: Amounts, now_us: int) -> bool:
        """Raises a hold on its token and money limits, all or none (rule 5)."""
        amounts = amounts_by_unit(Ask(more, concurrent=0))
        metered = [
            (b, counter, amounts[b.limit.unit_index])
            for b, counter in zip(hold.bindings, opened_hold(hold).counters, strict=True)
            if b.draw is not None
        ]
        for b, counter, amount in metered:
            if b.hard and counter.spent(now_us) + counter.held + amount > b.amount:
                return False
        for _, counter, amount in metered:
            counter.raise_hold(amount)
        hold.ask = Ask(hold.ask.amounts.plus(more), hold.ask.sessions, hold.ask.concurrent)
        return True

    def shrink(self, hold: Hold, less: Amounts) -> None:
        """Gives back a top-up that could not be made durable."""
        amounts = amounts_by_unit(Ask(less, concurrent=0))
        for b, counter in zip(hold.bindings, opened_hold(hold).counters, strict=True):
            if b.draw is not None:
                counter.raise_hold(-amounts[b.limit.unit_index])
        hold.ask = Ask(hold.ask.amounts.plus(negative(less)), hold.ask.sessions, hold.ask.concurrent)

    def settle(self, hold: Hold, posted: Amounts) -> None:
        """The real amounts replace the hold."""
        self._end(hold, posted)

    def void(self, hold: Hold) -> None:
        """The hold is given back whole; only a session that it opened stays counted."""
        self._end(hold, Amounts())

    async def freed(self, timeout_s: float) -> bool:
        """Waits until some hold ends, at most so long."""
        event = self._freed
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def views(self, now_us: int) -> list[CounterView]:
        """All live counters. The amount shown is the one that bound the last call on it."""
        return [
            CounterView(
                limit.name,
                counter.scope,
                limit.unit.value,
                counter.amount,
                counter.spent(now_us),
                counter.held,
                limit.window.text,
                None if counter.end_us >= NEVER_US else counter.end_us,
            )
            for counter in self._counters.values()
            for limit in (counter.limit,)
            if counter.end_us > now_us or counter.holds
        ]

    def view(self, bindings: Sequence[Binding], now_us: int) -> list[CounterView]:
        """The counters of one call, in file order; those not in memory are left out."""
        found = []
        for b in bindings:
            counter = self._counters.get((b.limit.name, b.scope))
            if counter is not None and counter.end_us > now_us:
                found.append(_view(b, counter, now_us))
        return found

    def summary(self, hold: Hold) -> Summary:
        """What a reply says of its limits, rates as of the hold: what binds first, the first of requests and tokens."""
        now_us = hold.at_us
        amounts = amounts_by_unit(hold.ask)
        first = requests = tokens = None
        least = float("inf")
        for b, counter in zip(hold.bindings, opened_hold(hold).counters, strict=True):
            asked = amounts[b.limit.unit_index]
            if not asked:
                continue
            share = (b.amount - counter.spent(now_us) - counter.held) / asked
            if share < least:
                first, least = (b, counter), share
            if requests is None and b.limit.unit is Unit.REQUESTS:
                requests = (b, counter)
            elif tokens is None and b.limit.unit in TOKEN_UNITS:
                tokens = (b, counter)
        return Summary(*(None if each is None else _view(*each, now_us) for each in (first, requests, tokens)))

    def sweep(self, now_us: int, idle_us: int) -> int:
        """Lets counters leave memory that nothing holds and nobody used for a while. Returns how many left."""
        gone = [
            key
            for key, counter in self._counters.items()
            if not counter.holds and (counter.end_us <= now_us or now_us - counter.used_us > idle_us)
        ]
        spare = len(self._counters) - len(gone) - COUNTERS_KEPT
        if spare > 0:
            left = set(gone)
            idle = [k for k, c in self._counters.items() if not c.holds and k not in left]
            gone += sorted(idle, key=lambda k: self._counters[k].used_us)[:spare]
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
                    counter = new_counter(limit, scope, 0, limit.amount, Totals({}), now_us)
                    for at_us in times:
                        counter.post(1, at_us)
                    self._counters[(limit.name, scope)] = counter
        self._generation += 1

    def _every_limit(self) -> list[Limit]:
        return [*self._limits, *(limit for own in self._key_limits.values() for limit in own)]

    def _candidates(self, attribution: Attribution) -> list[Limit]:
        own = self._key_limits.get(attribution.key_id, ())
        return [
            limit
            for limit in (*self._limits, *own)
            if all(kind == "session" or attribution.matches(kind, value) for kind, value in limit.where)
        ]

    def _bind(self, limit: Limit, attribution: Attribution, session_id: str) -> Binding:
        kinds = tuple(recorded_kind(kind, attribution) for kind in limit.kinds())
        return Binding(
            limit,
            limit.scope(attribution, session_id),
            limit.amount_for(attribution, session_id),
            self._terms_of(attribution, kinds),
            hard=limit.hard,
            draw=DRAWS.get(limit.unit),
        )

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

    def _present(self, b: Binding, now_us: int, *, fresh_session: bool) -> bool:
        key = (b.limit.name, b.scope)
        counter = self._counters.get(key)
        if counter is not None:
            counter.amount = b.amount
            if counter.end_us > now_us:
                return True
        if key in self._loading:
            return False
        start_us, end_us = window_of(b.limit, now_us)
        known_from_us = self._complete_since_us.get(b.limit.name, self._started_us)
        nothing_yet = fresh_session and b.limit.each == "session"
        rolled = counter is not None and start_us >= counter.end_us and end_us < NEVER_US
        if (
            nothing_yet
            or rolled
            or start_us >= known_from_us
            or b.limit.unit is Unit.CONCURRENT
            or b.limit.each == OPENER
        ):
            self._counters[key] = new_counter(b.limit, b.scope, now_us, b.amount, Totals({}), now_us)
            return True
        return False

    async def _load_own(self, own: list[Binding], session_id: str, now_us: int) -> None:
        keys = [(b.limit.name, b.scope) for b in own]
        done = asyncio.get_running_loop().create_future()
        for key in keys:
            self._loading[key] = done
            self._late[key] = []
        try:
            found = await self._books.totals([totals_ask(b, session_id, now_us) for b in own])
            for b, key, totals in zip(own, keys, found, strict=True):
                counter = new_counter(b.limit, b.scope, now_us, b.amount, totals, now_us)
                for at_us, posted, sessions in self._late[key]:
                    if counter.start_us <= at_us < counter.end_us:
                        counter.post(amount_of(b.limit.unit, Ask(posted, sessions, 0)), at_us)
                self._counters[key] = counter
        finally:
            for key in keys:
                del self._loading[key], self._late[key]
            done.set_result(None)

    def _end(self, hold: Hold, posted: Amounts) -> None:
        if not hold.open:
            return
        hold.open = False
        opened = opened_hold(hold)
        booked = Ask(posted, hold.ask.sessions, 0)
        held, amounts = amounts_by_unit(hold.ask), amounts_by_unit(booked)
        for b, counter in zip(hold.bindings, opened.counters, strict=True):
            index = b.limit.unit_index
            counter.release(held[index])
            if amounts[index]:
                counter.post(amounts[index], hold.at_us)
        if self._late or opened.revision != self._revision:
            self._post_elsewhere(hold, opened, booked)
        self._freed.set()
        self._freed = asyncio.Event()

    def _post_elsewhere(self, hold: Hold, opened: OpenHold, booked: Ask) -> None:
        """A settlement also counts on counters that came up after its hold, and on those being loaded right now."""
        known = {id(counter) for counter in opened.counters}
        for b in self.bindings(hold.attribution, hold.session_id):
            key = (b.limit.name, b.scope)
            if key in self._late:
                self._late[key].append((hold.at_us, booked.amounts, booked.sessions))
                continue
            counter = self._counters.get(key)
            if counter is not None and id(counter) not in known and counter.start_us <= hold.at_us < counter.end_us:
                counter.post(amount_of(b.limit.unit, booked), hold.at_us)


def _shortfall(b: Binding, counter: Counter, asked: int, now_us: int) -> Shortfall | None:
    if isinstance(counter, RateCounter):
        wait_us = counter.retry_after_us(now_us, b.amount)
        if not wait_us:
            return None
        spent = counter.spent(now_us)
        return Shortfall(b.limit, b.scope, b.amount, spent, 0, asked, now_us + wait_us, wait_us)
    spent = counter.spent(now_us)
    if spent + counter.held + asked <= b.amount:
        return None
    resets_us = counter.frees_at_us(asked, b.amount, now_us)
    return Shortfall(b.limit, b.scope, b.amount, spent, counter.held, asked, resets_us)


def _view(b: Binding, counter: Counter, now_us: int) -> CounterView:
    resets_us = None if counter.end_us >= NEVER_US else counter.end_us
    spent = counter.spent(now_us)
    return CounterView(
        b.limit.name, b.scope, b.limit.unit.value, b.amount, spent, counter.held, b.limit.window.text, resets_us
    )
