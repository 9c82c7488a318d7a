"""Reserved parts of a shared limit: how much of its room others may not use now.

Rules: what an owner has not used of its part is kept for it, so others can never use that up; an owner first uses its
own part and then what is free, like everybody. A part is lent only where keeping it would help nobody: in the last
tenth of a calendar window, falling to nothing at its end, and only while its owner is idle; its next call takes back at
once what was not spent. Where overruns or a lowered limit left less than all parts together, each is cut alike.
"""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.core.counter import NEVER_US, Counter
from gateway.core.limit import Limit, kind_and_value
from gateway.core.window import WindowKind

WHOLE = 10_000
LENT_FROM_LAST = 10
"""Lending begins when a tenth of the window is left."""

IDLE_AFTER = 100
"""An owner is idle when it began no call for a hundredth of the window and has none in flight."""

_NEVER_LENT = frozenset({WindowKind.ROLLING, WindowKind.SESSION, WindowKind.TOTAL})


class Part(NamedTuple):
    """One reserved part as it bears on one call. `counter` = where its owner's use is counted; `own` = the call's."""

    counter: tuple[str, str]
    amount: int
    own: bool


class Kept(NamedTuple):
    """What others keep from a call: now, and if no call were in flight."""

    now: int
    posted_alone: int


NOTHING_KEPT = Kept(0, 0)


class PartCounter(Counter):
    """What an owner has used. `seen_us` = when it last began a call; one that is loaded counts as seen just then."""

    __slots__ = ("seen_us",)

    def __init__(self, limit: Limit, scope: str, start_us: int, end_us: int, posted: int, seen_us: int) -> None:
        super().__init__(limit, scope, start_us, end_us, posted)
        self.seen_us = seen_us

    def hold(self, amount: int, now_us: int) -> None:
        super().hold(amount, now_us)
        if amount:
            self.seen_us = now_us

    def lent_down_to(self, part: int, now_us: int) -> int:
        """How much of a part is kept at most."""
        length_us = self.end_us - self.start_us
        left_us = max(0, self.end_us - now_us)
        if self.held or now_us - self.seen_us < length_us // IDLE_AFTER:
            return part
        return min(part, part * left_us * LENT_FROM_LAST // length_us)


def part_limits(limit: Limit) -> tuple[Limit, ...]:
    """What the owners of reserved parts use is counted like the limit itself, under a name of its own."""
    return tuple(
        Limit(
            part_name(limit, subject),
            limit.unit,
            NEVER_US,
            limit.window,
            limit.each,
            (*limit.where, kind_and_value(subject)),
            limit.timezone,
            mode=limit.mode,
            part_of=limit.name,
        )
        for subject, _ in limit.reserved
    )


def part_of(amount: int, share: int) -> int:
    """A part of an amount, rounded down. `share` in hundredths of a per cent."""
    return amount * share // WHOLE


def part_name(limit: Limit, subject: str) -> str:
    """No limit of an operator has a comma in its name."""
    return f"{limit.name},{subject}"


def lends(limit: Limit) -> bool:
    """Whether the window has an end at which what is kept would be lost."""
    return limit.window.kind not in _NEVER_LENT


def kept(parts: Iterable[tuple[Part, Counter | None]], amount: int, spent: int, held: int, now_us: int) -> Kept:
    """What of a limit's amount a call may not use because it is kept for others. A part whose counter is not known
    (None: a reload has just brought it) is kept whole."""
    own = others = own_posted = others_posted = 0
    for part, counter in parts:
        if counter is None:
            free = unposted = part.amount
        else:
            used = counter.spent(now_us)
            unposted = part.amount - used
            free = unposted - counter.held
            if isinstance(counter, PartCounter):
                most = counter.lent_down_to(part.amount, now_us)
                unposted, free = min(unposted, most), min(free, most)
            unposted, free = max(0, unposted), max(0, free)
        if part.own:
            own, own_posted = own + free, own_posted + unposted
        else:
            others, others_posted = others + free, others_posted + unposted
    now = _cut(others, own, amount - spent - held)
    alone = _cut(others_posted, own_posted, amount - spent)
    return Kept(now, max(now, min(alone, now + held)))


def _cut(others: int, own: int, left: int) -> int:
    """All parts cut alike where there is less left than all of them: else each owner would wait for the other."""
    if left <= 0:
        return 0
    return others if others + own <= left else others * left // (others + own)
