"""Sessions: listed, shown, paused, resumed, stopped, closed. A change acts on the calls in flight of the session and of
all below it, and on the next ones, and is written down."""

from dataclasses import replace
from typing import Any

from gateway.core.alerts_of import session_alert
from gateway.core.attribution import attribute
from gateway.core.denial import time_shown
from gateway.core.identity import ABSENT
from gateway.core.ledger import Amounts
from gateway.core.report import AuditSearch, SessionRow
from gateway.core.session import TRANSITIONS, Session, SessionState
from gateway.management.children import close_tree
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.answer import view_object
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.standing import end_what_may_not_go_on
from gateway.ports import BooksUnavailable, Reports

LISTED_MAX = 10_000
SOUGHT_MAX = 1_000
DENIALS_SHOWN = 5


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
    """One session with its live counters, what is below it and its last denials."""
    live = await _live(plane, session_id)
    rows = await reports.sessions(key_id=live.session.key_id, state=None, limit=SOUGHT_MAX)
    row = next((row for row in rows if row.session.id == live.id), None) or _unbooked(plane, live)
    await _take_up_counters(plane, live)
    views = plane.limiter.views(plane.clock.now_us())
    denied = await reports.audit(AuditSearch(kind="denied", session_id=live.id, limit=DENIALS_SHOWN))
    return {
        **session_object(replace(row, session=live.session)),
        "in_flight": live.in_flight,
        "limits": [view_object(view) for view in views if view.scope == f"session:{live.id}"],
        "descendants": [_descendant_object(each) for each in await plane.books.descendants(live.id)],
        "denials": [{"at": time_shown(each.at_us), **dict(each.doc.get("denial", {}))} for each in denied],
    }


async def close_session(plane: Plane, session_id: str, reason: str, actor: str) -> dict[str, Any]:
    """With all below it. Raises Unknown, ManagementRefused and BooksUnavailable."""
    live = await _live(plane, session_id)
    if not live.written:
        raise ManagementRefused(f"session {session_id} has no admitted call yet")
    closed = await close_tree(plane, live, reason, actor)
    return {
        "id": live.id,
        "state": live.session.state.value,
        "reason": live.session.reason,
        "closed": closed,
        "ended": 0,
    }


async def set_state(plane: Plane, session_id: str, state: SessionState, reason: str, actor: str) -> dict[str, Any]:
    """Raises ManagementRefused for a change that the session's state does not allow; BooksUnavailable."""
    live = await _live(plane, session_id)
    before = live.session
    if not live.written:
        raise ManagementRefused(f"session {session_id} has no admitted call yet")
    if before.state is not state and state not in TRANSITIONS[before.state]:
        raise ManagementRefused(f"session {session_id} is {before.state.value} and cannot be {state.value}")
    entry = plane.sessions.change(live, state, reason, actor, plane.clock.now_us())
    try:
        await plane.books.commit(entry)
    except BooksUnavailable:
        # Calls went on meanwhile: only what was changed here is put back.
        live.session = replace(
            live.session, state=before.state, reason=before.reason, run_started_us=before.run_started_us
        )
        raise
    if state in (SessionState.PAUSED, SessionState.STOPPED):
        key = plane.keys.get(live.session.key_id)
        whose = None if key is None else attribute(key, plane.catalog.directory)
        plane.alerts.post(session_alert(state, live.id, actor, plane.clock.now_us(), whose))
    plane.refusals.judge_anew()
    return {"id": live.id, "state": state.value, "reason": reason, "closed": [], "ended": end_what_may_not_go_on(plane)}


def session_object(row: SessionRow) -> dict[str, Any]:
    """A session with what was booked on it, and on it and all below it (`tree_`); money in USD."""
    session, whole = row.session, row.posted.plus(row.below)
    return {
        "id": session.id,
        "state": session.state.value,
        "kind": session.mark.kind,
        "client_id": session.mark.client_id,
        "parent": session.parent_id,
        "depth": session.depth,
        "children": row.children,
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
        "tree_tokens": whole.input_tokens + whole.output_tokens,
        "tree_tool_calls": whole.tool_calls,
        "tree_cost_usd": whole.usd_micros / 1_000_000,
    }


def _descendant_object(session: Session) -> dict[str, Any]:
    return {"id": session.id, "parent": session.parent_id, "depth": session.depth, "state": session.state.value}


def _unbooked(plane: Plane, live: LiveSession) -> SessionRow:
    """A session on which nothing is booked yet, or which is older than those that were looked through."""
    key = plane.keys.get(live.session.key_id)
    named = (ABSENT,) * 4 if key is None else (key.user, key.team, key.agent, key.name)
    return SessionRow(live.session, Amounts(), 0, 0, *named)


async def _take_up_counters(plane: Plane, live: LiveSession) -> None:
    """Its counters may have left memory."""
    key = plane.keys.get(live.session.key_id)
    caller = None if key is None else plane.keys.caller(key.digest)
    if caller is None:
        return
    attribution = attribute(caller.key, plane.catalog.directory, roles=caller.roles)
    bindings = plane.limiter.bindings(attribution, live.id, live.lineage)
    await plane.limiter.load(bindings, live.id, plane.clock.now_us(), fresh_session=not live.written)


async def _live(plane: Plane, session_id: str) -> LiveSession:
    live = await plane.sessions.by_id(session_id)
    if live is None:
        raise Unknown(f"no session '{session_id[:128]}' is known")
    return live
