"""The limits that bind one kind of call, with the counters they were last found on.

It is a tuple of `Binding`s for everybody else; the limiter keeps beside it what saves looking things up again:
counters, and until when they are the right ones.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Self

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall, amounts_by_unit
from gateway.core.counter import Counter
from gateway.core.hold import Binding, Hold
from gateway.core.ledger import Amounts
from gateway.core.reserved import Kept
from gateway.core.session import Lineage
from gateway.limiter.past import negative
from gateway.limiter.reading import shortfall


class Bound(tuple[Binding, ...]):  # noqa: SLOT001 - a tuple subclass cannot have slots with values
    """`counters` stand in the order of the bindings, None = must be found again. They are right before `until_us`, as
    long as the limiter's `generation` (reloads, evictions) is the same; the bindings, as long as its `revision` is."""

    attribution: Attribution
    session_id: str
    lineage: Lineage
    revision: int
    counters: tuple[Counter, ...] | None
    until_us: int
    generation: int

    def __new__(
        cls, bindings: Iterable[Binding], attribution: Attribution, session_id: str, lineage: Lineage, revision: int
    ) -> Self:
        made = super().__new__(cls, bindings)
        made.attribution = attribution
        made.session_id = session_id
        made.lineage = lineage
        made.revision = revision
        made.counters = None
        made.until_us = 0
        made.generation = -1
        return made

    def found(self, counters: tuple[Counter, ...], generation: int) -> None:
        self.counters = counters
        self.until_us = min((counter.end_us for counter in counters), default=0)
        self.generation = generation


class OpenHold(Hold):
    """A hold with the counters it lies on; a counter that rolled over since is still the one to release. `moved` = some
    of them do not count what it is booked on now."""

    __slots__ = ("counters", "lineage", "moved")

    def __init__(
        self,
        call_id: str,
        at_us: int,
        attribution: Attribution,
        session_id: str,
        ask: Ask,
        bindings: tuple[Binding, ...],
        warnings: tuple[Shortfall, ...],
        *,
        counters: tuple[Counter, ...],
        lineage: Lineage,
    ) -> None:
        super().__init__(call_id, at_us, attribution, session_id, ask, bindings, warnings)
        self.counters = counters
        self.lineage = lineage
        self.moved = False

    def books(self, b: Binding) -> bool:
        """Whether what this call is settled with counts on a limit that it is held on."""
        if not self.moved:
            return True
        at = b.session_id or self.session_id
        return b.limit.binds(self.attribution, at) and b.limit.scope(self.attribution, at) == b.scope

    def lay_on(self, bound: Bound, kept: Collection[str]) -> Collection[Binding]:
        """Binds it as `bound` says, on the counters of those limits that were kept; returns what it has no place on."""
        now = {(b.limit.name, b.scope): b for b in bound}
        places = [
            (now.pop((b.limit.name, b.scope), b), counter)
            for b, counter in zip(self.bindings, self.counters, strict=True)
            if b.limit.name in kept
        ]
        self.bindings = tuple([b for b, _ in places])
        self.counters = tuple([counter for _, counter in places])
        return now.values()

    def shrink(self, less: Amounts) -> None:
        """Gives part of the hold back."""
        amounts = amounts_by_unit(Ask(less, concurrent=0))
        for b, counter in zip(self.bindings, self.counters, strict=True):
            if b.draw is not None:
                counter.raise_hold(-amounts[b.index])
        self.ask = Ask(self.ask.amounts.plus(negative(less)), self.ask.sessions, self.ask.concurrent)

    def move(
        self,
        bound: Bound,
        counters: tuple[Counter, ...],
        keeps_of: Callable[[Binding, Counter, int], Kept],
        now_us: int,
    ) -> bool:
        """Takes the places of `bound` that it does not have yet, all or none, and is booked there from now on."""
        held = {(b.limit.name, b.scope) for b in self.bindings}
        more = [
            (b, counter)
            for b, counter in zip(bound, counters, strict=True)
            if (b.limit.name, b.scope) not in held and counter.start_us <= self.at_us < counter.end_us
        ]
        amounts = amounts_by_unit(self.ask)
        for b, counter in more:
            asked = amounts[b.index]
            if asked and b.hard and shortfall(b, counter, asked, now_us, keeps_of(b, counter, now_us)) is not None:
                return False
        for b, counter in more:
            counter.hold(amounts[b.index], now_us)
        self.bindings = (*self.bindings, *(b for b, _ in more))
        self.counters = (*self.counters, *(counter for _, counter in more))
        self.attribution, self.moved = bound.attribution, True
        return True


def opened_hold(hold: Hold) -> OpenHold:
    if not isinstance(hold, OpenHold):
        raise TypeError("this hold was not taken here")
    return hold
