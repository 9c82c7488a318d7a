"""Sessions: listed, shown, paused, resumed, stopped. A change acts on the next call and is written down."""

from typing import Any

from gateway.core.denial import time_shown
from gateway.core.report import SessionRow
from gateway.core.session import TRANSITIONS, SessionState
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.answer import view_object
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession
from gateway.ports import Reports

LISTED_MAX = 1_000


async def list_sessions(
    plane: Plane, reports: Reports, *, key: str | None, state: str | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first; `key` is a key's id or name."""
    key_id = None
    if key is not None:
        found = plane.keys.get(key) or plane.keys.named(key)
        if found is None:
            raise Unknown(f"no key '{key}' is known")
        key_id = found.id
    rows = await reports.sessions(key_id=key_id, state=state, limit=min(limit, LISTED_MAX))
    return [session_object(row) for row in rows]


async def show_session(plane: Plane, reports: Reports, session_id: str) -> dict[str, Any]:
    """One session with its live counters."""
    live = await _live(plane, session_id)
    now_us = plane.clock.now_us()
    counters = [view_object(v) for v in plane.limiter.views(now_us) if v.scope == f"session:{live.id}"]
    rows = await reports.sessions(key_id=live.session.key_id, state=None, limit=LISTED_MAX)
    row = next((row for row in rows if row.session.id == live.id), None)
    shown = {"id": live.id, "state": live.session.state.value} if row is None else session_object(row)
    return {**shown, "reason": live.session.reason, "in_flight": live.in_flight, "limits": counters}


async def set_state(plane: Plane, session_id: str, state: SessionState, reason: str, actor: str) -> dict[str, Any]:
    """Raises ManagementRefused for a change that the session's state does not allow; BooksUnavailable."""
    live = await _live(plane, session_id)
    before = live.session
    if before.state is not state and state not in TRANSITIONS[before.state]:
        raise ManagementRefused(f"session {session_id} is {before.state.value} and cannot be {state.value}")
    entry = plane.sessions.change(live, state, reason, actor, plane.clock.now_us())
    try:
        await plane.books.commit(entry)
    except BaseException:
        live.session = before
        raise
    return {"id": live.id, "state": state.value, "reason": reason}


def session_object(row: SessionRow) -> dict[str, Any]:
    """A session with what was booked on it; money in USD."""
    session = row.session
    return {
        "id": session.id,
        "state": session.state.value,
        "kind": session.mark.kind,
        "client_id": session.mark.client_id,
        "key": row.key,
        "user": row.user,
        "team": row.team,
        "agent": row.agent,
        "opened_at": time_shown(session.opened_at_us),
        "last_active_at": time_shown(session.last_active_us),
        "reason": session.reason,
        "calls": row.calls,
        "denied": row.denied,
        "input_tokens": row.posted.input_tokens,
        "output_tokens": row.posted.output_tokens,
        "tool_calls": row.posted.tool_calls,
        "cost_usd": row.posted.usd_micros / 1_000_000,
    }


async def _live(plane: Plane, session_id: str) -> LiveSession:
    live = await plane.sessions.by_id(session_id)
    if live is None:
        raise Unknown(f"no session '{session_id}' is known")
    return live
