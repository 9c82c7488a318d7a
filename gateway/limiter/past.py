"""How a counter begins: which stretch of the books it is a view on, what to ask them, what to make of the answer."""

from collections.abc import Iterable

from gateway.core.alert_threshold import mark_reached
from gateway.core.attribution import OPENER, Attribution
from gateway.core.budget import Ask, amount_of
from gateway.core.counter import NEVER_US, Counter, RateCounter, RollingCounter, rate_of, rated
from gateway.core.hold import Binding
from gateway.core.ledger import Amounts
from gateway.core.limit import Limit, Unit
from gateway.core.report import Totals, TotalsAsk
from gateway.core.reserved import PartCounter, lends
from gateway.core.window import WindowKind, bounds

_SECOND_US = 1_000_000


def same_view(old: Limit | None, new: Limit) -> bool:
    """Whether a counter of `old` is still right for `new`: amount, action, mode and overrides do not matter to it."""
    if old is None:
        return False
    view = ("unit", "window", "each", "where", "timezone", "burst")
    return all(getattr(old, name) == getattr(new, name) for name in view)


def recorded_kind(kind: str, attribution: Attribution) -> str:
    return attribution.value(OPENER).partition(":")[0] if kind == OPENER else kind


def window_of(limit: Limit, now_us: int) -> tuple[int, int]:
    """[start, end) of the counter that a call at `now_us` falls on; sums without end start at 0."""
    if (
        limit.unit is Unit.CONCURRENT
        or rated(limit)
        or limit.window.kind in (WindowKind.ROLLING, WindowKind.SESSION, WindowKind.TOTAL)
    ):
        return 0, NEVER_US
    return bounds(limit.window, limit.timezone, now_us)


def begins_empty(limit: Limit, before: Counter | None, known_from_us: int, now_us: int) -> bool:
    """Whether a counter need not be asked for: its window began while this process watched, or the books have none of
    it. `before` = the counter of the window before, if it is in memory."""
    start_us, end_us = window_of(limit, now_us)
    rolled = before is not None and start_us >= before.end_us and end_us < NEVER_US
    return rolled or start_us > known_from_us or limit.unit is Unit.CONCURRENT or limit.each == OPENER


def post_late(counter: Counter, late: Iterable[tuple[int, int]]) -> None:
    """Adds what was settled while the books were asked: (time of the hold, amount)."""
    for at_us, amount in late:
        if counter.start_us <= at_us < counter.end_us:
            counter.post(amount, at_us)


def new_counter(limit: Limit, scope: str, at_us: int, amount: int, totals: Totals, now_us: int) -> Counter:
    counter: Counter
    if rated(limit):
        seen = [
            min(start + _SECOND_US, now_us)
            for start, sums in sorted(totals.buckets.items())
            for _ in range(sums.requests)
        ]
        counter = RateCounter(limit, scope, amount, seen)
    else:
        posted = {start: amount_of(limit.unit, Ask(sums, 0, 0)) for start, sums in totals.buckets.items()}
        if limit.unit is Unit.SESSIONS:
            # Openings come as one figure; in a rolling window they count as of now, which forgets none too early.
            posted = {now_us - now_us % (limit.window.bucket_us or 1): totals.sessions_opened}
        if limit.window.kind is WindowKind.ROLLING:
            counter = RollingCounter(limit, scope, posted)
        else:
            start_us, end_us = window_of(limit, at_us)
            if limit.part_of and lends(limit):
                counter = PartCounter(limit, scope, start_us, end_us, sum(posted.values()), now_us)
            else:
                counter = Counter(limit, scope, start_us, end_us, sum(posted.values()))
    counter.amount = amount
    if limit.alert_at and limit.window.kind is WindowKind.ROLLING:
        # It may have been here for hours; a calendar window's alerts are told apart by their ids instead.
        counter.told = mark_reached(limit.alert_at, amount, counter.spent(now_us))
    counter.used_us = now_us
    return counter


def counter_of_openings(limit: Limit, scope: str, times_us: Iterable[int], now_us: int) -> Counter:
    """How many sessions one opener began."""
    counter = new_counter(limit, scope, now_us, limit.amount, Totals({}), now_us)
    post_late(counter, [(at_us, 1) for at_us in times_us])
    return counter


def totals_ask(b: Binding, now_us: int) -> TotalsAsk:
    limit, in_session = b.limit, b.session_id or None
    if rated(limit):
        rate = rate_of(limit, b.amount)
        past_us = max(rate.period_us, rate.burst * rate.interval_us)
        return TotalsAsk(b.terms, in_session, now_us - past_us, None, _SECOND_US)
    if limit.window.kind is WindowKind.ROLLING:
        start_us = now_us - limit.window.length_us - limit.window.bucket_us
        return TotalsAsk(b.terms, in_session, start_us, None, limit.window.bucket_us)
    start_us, end_us = window_of(limit, now_us)
    return TotalsAsk(b.terms, in_session, start_us or None, None if end_us >= NEVER_US else end_us)


def negative(amounts: Amounts) -> Amounts:
    return Amounts(
        -amounts.input_tokens,
        -amounts.output_tokens,
        -amounts.cached_input_tokens,
        -amounts.usd_micros,
        -amounts.requests,
        -amounts.tool_calls,
    )
