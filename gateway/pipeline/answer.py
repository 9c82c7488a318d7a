"""What a station hands back to the edge: a whole reply, or a stream; and the headers of every governed reply."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.budget import Ask, amount_of
from gateway.core.denial import amount_shown, time_shown
from gateway.core.hold import CounterView, Hold
from gateway.core.limit import TOKEN_UNITS, Unit
from gateway.core.money import format_usd
from gateway.pipeline.plane import Plane

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Whole:
    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Streamed:
    """`close` must be awaited whether or not `chunks` was read to its end, or at all: that is what settles the call."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]


Answer = Whole | Streamed


def governed_headers(plane: Plane, hold: Hold, session_id: str, warnings: Sequence[str]) -> Headers:
    """Call, session, what binds first, and the rate headers of the OpenAI convention."""
    headers = {"x-comptroller-call": hold.call_id, "x-comptroller-session": session_id}
    now_us = plane.clock.now_us()
    views = plane.limiter.view(hold.bindings, now_us)
    first = binds_first(views, hold.ask)
    if first is not None:
        headers["x-comptroller-remaining"] = remaining_header(first)
    _rate_headers(headers, views, now_us)
    said = [*warnings, *(f"limit {s.limit.name} would have refused" for s in hold.warnings)]
    if said:
        headers["x-comptroller-warning"] = "; ".join(said)
    return headers


def binds_first(views: Sequence[CounterView], ask: Ask) -> CounterView | None:
    """The counter with the smallest remaining/asked, ties by file order (rule 30)."""
    best: CounterView | None = None
    least = float("inf")
    for view in views:
        asked = amount_of(Unit(view.unit), ask)
        if asked and (share := view.remaining / asked) < least:
            best, least = view, share
    return best


def remaining_header(view: CounterView) -> str:
    remaining = format_usd(view.remaining) if view.unit == Unit.USD else str(amount_shown(view.unit, view.remaining))
    return f"limit={view.name};unit={view.unit};remaining={remaining};resets={time_shown(view.resets_at_us) or 'never'}"


def view_object(view: CounterView) -> dict[str, object]:
    """A counter in the shape of CONTRACT.md section 2 (`limits list --json`); usd in dollars."""
    return {
        "name": view.name,
        "scope": view.scope,
        "unit": view.unit,
        "limit": amount_shown(view.unit, view.limit),
        "spent": amount_shown(view.unit, view.spent),
        "held": amount_shown(view.unit, view.held),
        "remaining": amount_shown(view.unit, view.remaining),
        "window": view.window,
        "resets_at": time_shown(view.resets_at_us),
    }


def _rate_headers(headers: Headers, views: Sequence[CounterView], now_us: int) -> None:
    named: Mapping[str, CounterView | None] = {
        "requests": next((v for v in views if v.unit == Unit.REQUESTS), None),
        "tokens": next((v for v in views if v.unit in TOKEN_UNITS), None),
    }
    for word, view in named.items():
        if view is None:
            continue
        headers[f"x-ratelimit-limit-{word}"] = str(view.limit)
        headers[f"x-ratelimit-remaining-{word}"] = str(view.remaining)
        if view.resets_at_us is not None:
            headers[f"x-ratelimit-reset-{word}"] = f"{max(0, view.resets_at_us - now_us) // 1_000_000}s"
