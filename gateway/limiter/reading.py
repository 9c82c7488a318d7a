"""What counters say: why an ask does not fit on one, and how one is shown."""

from collections.abc import Iterable

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
        return Shortfall(b.limit, b.scope, b.amount, spent, 0, asked, now_us + wait_us, wait_us)
    spent = counter.spent(now_us)
    if spent + counter.held + asked <= b.amount:
        return None
    resets_us = counter.frees_at_us(asked, b.amount, now_us)
    return Shortfall(b.limit, b.scope, b.amount, spent, counter.held, asked, resets_us)


def view(b: Binding, counter: Counter, now_us: int) -> CounterView:
    """A counter as it binds one call."""
    resets_us = None if counter.end_us >= NEVER_US else counter.end_us
    spent = counter.spent(now_us)
    return CounterView(
        b.limit.name, b.scope, b.limit.unit.value, b.amount, spent, counter.held, b.limit.window.text, resets_us
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


def only_here(counter: Counter, now_us: int) -> bool:
    """Openings by opener are read from the books at start only, so these counters must not leave with anything in."""
    return counter.limit.each == OPENER and counter.end_us > now_us and counter.spent(now_us) > 0
