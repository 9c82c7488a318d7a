"""What a station hands back to the edge: a whole reply, or a stream; and the headers of every governed reply."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.core.denial import amount_shown, time_shown
from gateway.core.hold import CounterView, Hold
from gateway.core.money import format_usd
from gateway.core.value import value
from gateway.core.wire.format import RateHeaders
from gateway.pipeline.observed import words
from gateway.pipeline.plane import Plane

Headers = dict[str, str]


class ClientLeft(Exception):
    """The client went away before there was anything to answer: nobody is there to hear it."""


@value
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


def governed_headers(plane: Plane, hold: Hold, session_id: str, warnings: Sequence[str], rates: RateHeaders) -> Headers:
    """Call, session, what binds first, and the rates in the client's own convention."""
    headers = {"x-comptroller-call": hold.call_id, "x-comptroller-session": session_id}
    now_us = plane.clock.now_us()
    summary = plane.limiter.summary(hold)
    if summary.first is not None:
        first = summary.first
        headers["x-comptroller-remaining"] = remaining_words(
            first.name, first.unit, first.remaining, first.resets_at_us
        )
    for word, view in (("requests", summary.requests), ("tokens", summary.tokens)):
        if view is not None:
            headers |= rates(word, view.limit, view.remaining, view.resets_at_us, now_us)
    said = [*warnings, *words(hold), *(f"limit {name} is {percent} % used" for name, percent in summary.reached)]
    if said:
        headers["x-comptroller-warning"] = "; ".join(said)
    return headers


def remaining_words(name: str, unit: str, remaining: int, resets_at_us: int | None) -> str:
    """The value of `x-comptroller-remaining`. `remaining` in the limit's unit."""
    left = format_usd(remaining) if unit == "usd" else str(remaining)
    return f"limit={name};unit={unit};remaining={left};resets={time_shown(resets_at_us) or 'never'}"


def view_object(view: CounterView) -> dict[str, object]:
    """A counter in the shape of CONTRACT.md section 2 (`limits list --json`); usd in dollars."""
    return {
        "name": view.name,
        "scope": view.scope,
        "unit": view.unit,
        "limit": amount_shown(view.unit, view.limit),
        "granted": amount_shown(view.unit, view.granted),
        "spent": amount_shown(view.unit, view.spent),
        "held": amount_shown(view.unit, view.held),
        "remaining": amount_shown(view.unit, view.remaining),
        "window": view.window,
        "resets_at": time_shown(view.resets_at_us),
    }
