"""What an agent does with its own key beside calling: open a child session, close its own, look at its own past."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.call import Caller
from gateway.core.denial import Refused, time_shown
from gateway.core.ledger import Amounts
from gateway.core.money import format_usd
from gateway.core.report import HistoryRow
from gateway.management.children import close_tree, open_child, refuse_unless_closable, wish_of
from gateway.management.quota import own_session
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import books_unavailable
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.tool_call import tool_session
from gateway.ports import BooksUnavailable, Reports

STEPS_S: Final[Mapping[str, int]] = {"hour": 3_600, "day": 86_400}
STEPS_MAX: Final = 400
STEPS_SHOWN: Final = 7


async def open_own_child(
    plane: Plane, caller: Caller, headers: Mapping[str, str], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Of the session that is named, else of the request's own. Raises Refused."""
    wish = wish_of(arguments)
    parent = await _meant(plane, caller, headers, arguments.get("session"))
    return await open_child(plane, caller, parent, wish, _actor(caller))


async def close_own(plane: Plane, caller: Caller, headers: Mapping[str, str], session: str | None) -> dict[str, Any]:
    """The session that is named, else the request's own, and what is below it. Raises Refused."""
    live = await _meant(plane, caller, headers, session)
    refuse_unless_closable(live)
    if not live.written:
        if not live.in_flight:
            plane.sessions.drop(live)
        return {"summary": "This session has no calls yet: nothing was open.", "session": live.id, "closed": []}
    try:
        closed = await close_tree(plane, live, "by its agent", _actor(caller))
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error
    below = len([each for each in closed if each != live.id])
    words = f" and {below} below it" if below else ""
    return {"summary": f"Session {live.id}{words} closed.", "session": live.id, "closed": closed}


async def history(plane: Plane, reports: Reports, caller: Caller, by: str, last: int | None) -> dict[str, Any]:
    """What this key used, by hour or by day in UTC, the current one included."""
    step_us = STEPS_S[by] * 1_000_000
    now_us = plane.clock.now_us()
    until_us = now_us - now_us % step_us + step_us
    since_us = until_us - min(last or STEPS_SHOWN, STEPS_MAX) * step_us
    rows = await reports.history(caller.key_id, STEPS_S[by], since_us, until_us)
    whole = Amounts()
    for row in rows:
        whole = whole.plus(row.posted)
    tokens = whole.input_tokens + whole.output_tokens
    return {
        "summary": (
            f"Since {time_shown(since_us)} this key used {tokens:,} tokens and {format_usd(whole.usd_micros)} USD "
            f"in {sum(row.calls for row in rows):,} calls; {sum(row.denied for row in rows):,} were refused."
        ),
        "by": by,
        "since": time_shown(since_us),
        "until": time_shown(until_us),
        "rows": [_history_object(row) for row in rows],
    }


def _history_object(row: HistoryRow) -> dict[str, Any]:
    return {
        "start": time_shown(row.start_us),
        "calls": row.calls,
        "denied": row.denied,
        "input_tokens": row.posted.input_tokens,
        "cached_input_tokens": row.posted.cached_input_tokens,
        "output_tokens": row.posted.output_tokens,
        "tool_calls": row.posted.tool_calls,
        "cost_usd": row.posted.usd_micros / 1_000_000,
    }


async def _meant(plane: Plane, caller: Caller, headers: Mapping[str, str], session: str | None) -> LiveSession:
    try:
        if session:
            return await own_session(plane, caller, headers, session)
        return await tool_session(plane, caller, headers, None)
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error


def _actor(caller: Caller) -> str:
    return f"key:{caller.key_name}"
