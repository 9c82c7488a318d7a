"""What counters say: why an ask does not fit on one, and how one is shown."""

import math
from collections.abc import Iterable, Mapping

from gateway.core.alert_threshold import Reached, mark_reached, period_start
from gateway.core.attribution import OPENER
from gateway.core.budget import Shortfall
from gateway.core.counter import NEVER_US, Counter, RateCounter
from gateway.core.hold import Binding, CounterView, PartView, Summary
from gateway.core.limit import TOKEN_UNITS, Mode, Unit
from gateway.core.reserved import NOTHING_KEPT, Kept, Part, kept, part_name, part_of
from gateway.core.sizing import Draw, Room
from gateway.core.window import WindowKind

CounterKey = tuple[str, str]
Places = Iterable[tuple[Binding, Counter]]
DRAWN = tuple(Draw)


def kept_from(b: Binding, counter: Counter, counters: Mapping[CounterKey, Counter], now_us: int) -> Kept:
    """What of a limit others keep from this call. A window that is over keeps nothing: no call begins in it now."""
    if not b.parts or counter.end_us <= now_us:
        return NOTHING_KEPT
    parts = [(part, counters.get(part.counter)) for part in b.parts]
    return kept(parts, b.amount, counter.spent(now_us), counter.held, now_us)


def shortfall(b: Binding, counter: Counter, asked: int, now_us: int, keeps: Kept = NOTHING_KEPT) -> Shortfall | None:
    if isinstance(counter, RateCounter):
        wait_us = counter.retry_after_us(now_us, b.amount)
        if not wait_us:
            return None
        spent = counter.spent(now_us)
        return Shortfall(b.limit, b.scope, b.amount, spent, 0, asked, now_us + wait_us, wait_us, b.granted)
    spent = counter.spent(now_us)
    if spent + counter.held + asked + keeps.now <= b.amount:
        return None
    # Holds of an owner on its own part take nothing from others.
    amount, held = b.amount - keeps.posted_alone, counter.held - (keeps.posted_alone - keeps.now)
    resets_us = counter.frees_at_us(asked, amount, now_us)
    alone = keeps.posted_alone
    return Shortfall(b.limit, b.scope, amount, spent, held, asked, resets_us, granted=b.granted, kept=alone)


def rooms(places: Places, counters: Mapping[CounterKey, Counter], now_us: int) -> tuple[Room, ...]:
    """What the hard limits on tokens and money leave for a call: the tightest of each kind of draw."""
    tightest = [NEVER_US] * len(DRAWN)
    for b, counter in places:
        if b.draw is not None and b.hard:
            left = counter.left(b.amount, now_us)
            if b.parts:
                left -= kept_from(b, counter, counters, now_us).now
            tightest[b.draw] = min(tightest[b.draw], left)
    return tuple([Room(draw, tightest[draw]) for draw in DRAWN if tightest[draw] < NEVER_US])


def shortfalls(
    places: Places,
    amounts: tuple[int, ...],
    softly: tuple[int, ...],
    counters: Mapping[CounterKey, Counter],
    now_us: int,
) -> tuple[Shortfall, ...]:
    """Every limit on which a call does not fit; those that refuse nothing are judged by `softly`."""
    found = []
    for b, counter in places:
        asked = amounts[b.index] if b.hard else softly[b.index]
        if asked and (b.parts or not counter.fits(asked, b.amount, now_us)):
            keeps = kept_from(b, counter, counters, now_us) if b.parts else NOTHING_KEPT
            if (short := shortfall(b, counter, asked, now_us, keeps)) is not None:
                found.append(short)
    return tuple(found)


def lacking(
    places: Places, amounts: tuple[int, ...], counters: Mapping[CounterKey, Counter], now_us: int
) -> tuple[Shortfall, ...]:
    """The hard limits on tokens and money that have no room for so much more."""
    found = [
        shortfall(b, counter, asked, now_us, kept_from(b, counter, counters, now_us))
        for b, counter in places
        if b.hard and b.draw is not None and (asked := amounts[b.index])
    ]
    return tuple([short for short in found if short is not None])


def view(b: Binding, counter: Counter, spent: int, keeps: Kept = NOTHING_KEPT) -> CounterView:
    """A counter as it binds one call, `spent` as it told."""
    limit = b.limit
    return CounterView(
        limit.name,
        b.scope,
        limit.unit,
        b.amount - keeps.posted_alone,
        spent,
        counter.held - (keeps.posted_alone - keeps.now),
        limit.window.text,
        None if counter.end_us >= NEVER_US else counter.end_us,
        b.granted,
        limit.action,
        limit.mode,
        keeps.posted_alone,
    )


def views_of(bindings: Iterable[Binding], counters: Mapping[CounterKey, Counter], now_us: int) -> list[CounterView]:
    """The counters of one call, in file order; those not in memory, themselves or a part of them, are left out."""
    found = []
    for b in bindings:
        counter = counters.get((b.limit.name, b.scope))
        if counter is None or counter.end_us <= now_us or b.limit.part_of:
            continue
        if all(part.counter in counters for part in b.parts):
            found.append(view(b, counter, counter.spent(now_us), kept_from(b, counter, counters, now_us)))
    return found


def live_views(counters: Mapping[CounterKey, Counter], now_us: int) -> list[CounterView]:
    """All live counters."""
    return [
        _live_view(counter, counters, now_us)
        for counter in counters.values()
        if (counter.end_us > now_us or counter.holds) and not counter.limit.part_of
    ]


def _live_view(counter: Counter, counters: Mapping[CounterKey, Counter], now_us: int) -> CounterView:
    """A counter by itself. The amount shown is the one that bound the last call on it."""
    limit = counter.limit
    return CounterView(
        limit.name,
        counter.scope,
        limit.unit.value,
        counter.amount,
        counter.spent(now_us),
        counter.held,
        limit.window.text,
        None if counter.end_us >= NEVER_US else counter.end_us,
        counter.granted,
        limit.action.value,
        limit.mode.value,
        parts=tuple(_part_view(counter, subject, share, counters, now_us) for subject, share in limit.reserved),
    )


def _part_view(
    counter: Counter, subject: str, share: int, counters: Mapping[CounterKey, Counter], now_us: int
) -> PartView:
    key, amount = (part_name(counter.limit, subject), counter.scope), part_of(counter.amount - counter.granted, share)
    own = counters.get(key)
    alone = [(Part(key, amount, own=False), own)]
    used = 0 if own is None else own.spent(now_us)
    return PartView(subject, amount, used, kept(alone, counter.amount, counter.spent(now_us), counter.held, now_us).now)


def summary(places: Places, amounts: tuple[int, ...], counters: Mapping[CounterKey, Counter], now_us: int) -> Summary:
    """What a reply says of its limits: what binds first, the first of requests and of tokens, marks reached."""
    first = requests = tokens = None
    least = math.inf
    reached: tuple[tuple[str, int], ...] = ()
    for b, counter in places:
        asked = amounts[b.index]
        limit = b.limit
        if not asked or limit.part_of:
            continue
        spent = counter.spent(now_us)
        left = b.amount - spent - counter.held
        if b.parts:
            left -= kept_from(b, counter, counters, now_us).now
        share = left / asked
        if share < least and limit.mode is not Mode.OBSERVE:
            first, least = (b, counter, spent), share
        if limit.alert_at and spent * 100 >= limit.alert_at[0] * b.amount > 0:
            reached = (*reached, (limit.name, spent * 100 // b.amount))
        if requests is None and limit.unit is Unit.REQUESTS:
            requests = (b, counter, spent)
        elif tokens is None and limit.unit in TOKEN_UNITS:
            tokens = (b, counter, spent)

    def seen(place: tuple[Binding, Counter, int] | None) -> CounterView | None:
        if place is None:
            return None
        b, counter, spent = place
        return view(b, counter, spent, kept_from(b, counter, counters, now_us) if b.parts else NOTHING_KEPT)

    tightest = seen(first)
    same = first is not None and tokens is not None and tokens[1] is first[1]
    return Summary(tightest, seen(requests), tightest if same else seen(tokens), reached)


def spare(counters: Mapping[tuple[str, str], Counter], now_us: int, idle_us: int, most: int) -> list[tuple[str, str]]:
    """Which may leave memory: nothing holds them and nobody used them for a while, or there are more than `most`."""
    free = {key: c for key, c in counters.items() if not c.holds and not only_here(c, now_us)}
    gone = [key for key, c in free.items() if c.end_us <= now_us or now_us - c.used_us > idle_us]
    over = len(counters) - len(gone) - most
    if over > 0:
        left = set(gone)
        gone += sorted((key for key in free if key not in left), key=lambda key: free[key].used_us)[:over]
    return gone


def only_here(counter: Counter, now_us: int) -> bool:
    """Openings by opener are read from the books at start only, so these counters must not leave with anything in."""
    return counter.limit.each == OPENER and counter.end_us > now_us and counter.spent(now_us) > 0


def marks_reached(b: Binding, counter: Counter, at_us: int) -> tuple[Reached, ...]:
    """The marks of a limit's `alert_at` that a settlement brought its counter to, each once."""
    spent = counter.spent(at_us)
    highest = mark_reached(b.limit.alert_at, b.amount, spent)
    new = [mark for mark in b.limit.alert_at if counter.told < mark <= highest]
    if new or b.limit.window.kind is WindowKind.ROLLING:
        # What fell below a mark as time went by may reach it again.
        counter.told = highest
    start_us = counter.start_us or period_start(b.limit.window, at_us)
    return tuple([Reached(b.limit, b.scope, mark, spent, b.amount, start_us) for mark in new])
