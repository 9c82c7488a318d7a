"""What counters say: why an ask does not fit on one, and how one is shown."""

from collections.abc import Iterable, Mapping

from gateway.core.attribution import OPENER
from gateway.core.budget import Shortfall
from gateway.core.counter import NEVER_US, Counter, RateCounter
from gateway.core.hold import Binding, CounterView, Summary
from gateway.core.limit import TOKEN_UNITS, Unit


def shortfall(b: Binding, counter: Counter, asked: int, now_us: int) -> Shortfall | None:
    if isinstance(counter, RateCounter):
        wait_us = counter.retry_after_us(now_us, b.amount)
        if not wait_us:
            return None
        spent = counter.spent(now_us)
        return Shortfall(b.limit, b.scope, b.amount, spent, 0, asked, now_us + wait_us, wait_us, b.granted)
    spent = counter.spent(now_us)
    if spent + counter.held + asked <= b.amount:
        return None
    resets_us = counter.frees_at_us(asked, b.amount, now_us)
    return Shortfall(b.limit, b.scope, b.amount, spent, counter.held, asked, resets_us, granted=b.granted)


def lacking(places: Iterable[tuple[Binding, Counter]], amounts: tuple[int, ...], now_us: int) -> tuple[Shortfall, ...]:
    """The hard limits on tokens and money that have no room for so much more."""
    found = [
        shortfall(b, counter, asked, now_us)
        for b, counter in places
        if b.hard and b.draw is not None and (asked := amounts[b.limit.unit_index])
    ]
    return tuple([short for short in found if short is not None])


def view(b: Binding, counter: Counter, now_us: int) -> CounterView:
    """A counter as it binds one call."""
    resets_us = None if counter.end_us >= NEVER_US else counter.end_us
    spent = counter.spent(now_us)
    window = b.limit.window.text
    return CounterView(
        b.limit.name, b.scope, b.limit.unit.value, b.amount, spent, counter.held, window, resets_us, b.granted
    )


def live_view(counter: Counter, now_us: int) -> CounterView:
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
    )


def summary(places: Iterable[tuple[Binding, Counter]], amounts: tuple[int, ...], now_us: int) -> Summary:
    """What a reply says of its limits: what binds first, the first of requests and of tokens."""
    first = requests = tokens = None
    least = float("inf")
    for b, counter in places:
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
    return Summary(*(None if each is None else view(*each, now_us) for each in (first, requests, tokens)))


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
