"""The session that a call's mark leads to. A child is reached only with its signed token (rule 16): the signature and
whom it is for are checked before anything is looked up. A sub-agent that its program marks has a child session without
a part of its own: all that is above it holds what it spends. Programs never close these, so where there may be no more
of them the call belongs to the session above."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.core.call import Caller
from gateway.core.child_token import TokenExpired, TokenRefused, read_token
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import KeyState, VirtualKey
from gateway.core.session import (
    CHILD,
    FINGERPRINT,
    IMPLICIT,
    Continuation,
    Session,
    SessionMark,
    SessionRules,
    SessionState,
    continue_session,
)
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession

SESSION_HEADER = "x-comptroller-session"


async def session_of(plane: Plane, caller: Caller, mark: SessionMark, said: Sequence[Any] = ()) -> LiveSession:
    """`said` = the messages of a conversation that is told by how it began. Raises Refused and BooksUnavailable."""
    if mark.kind == CHILD:
        return await _child(plane, caller, mark.client_id)
    if mark.parent:
        return await _sub_agent(plane, caller, mark)
    rules, sessions, now_us = plane.catalog.sessions, plane.sessions, plane.clock.now_us()
    if mark.kind == FINGERPRINT:
        own = sessions.host_of(caller.key_id, mark.kind, mark.client_id) == mark.client_id
        live = await sessions.conversation(caller.key_id, mark, said, rules, now_us, opens=own)
        if live is not None:
            return live
        mark = IMPLICIT
    return await sessions.resolve(caller.key_id, mark, rules, now_us)


async def _sub_agent(plane: Plane, caller: Caller, mark: SessionMark) -> LiveSession:
    rules, sessions, now_us = plane.catalog.sessions, plane.sessions, plane.clock.now_us()
    parent = await _above(plane, caller, mark)
    if sessions.host_of(caller.key_id, mark.kind, mark.client_id) != mark.client_id:
        return parent
    live = await sessions.find(caller.key_id, mark)
    if live is not None and not _begins(live, rules, now_us) and sessions.goes_on(live, rules, now_us):
        return live
    stored = await plane.books.descendants(parent.id) if parent.written else []
    parent = await _above(plane, caller, mark)  # in memory, unless it was let go meanwhile
    live = sessions.known(caller.key_id, mark)  # somebody else may have opened it meanwhile
    begins = live is None or _begins(live, rules, now_us)
    full = parent.session.depth >= rules.depth_max or _open_children(plane, parent, stored) >= rules.children_max
    if begins and full:
        sessions.take_in(caller.key_id, mark, parent.session.mark.client_id)
        return parent
    if live is not None and sessions.goes_on(live, rules, now_us):
        return live
    return sessions.open(caller.key_id, mark, parent, now_us)


def gives_way(plane: Plane, live: LiveSession | None, refused: Refused) -> bool:
    """Whether a first call of a marked sub-agent, or of a conversation told by how it began, was refused because its
    session would be one too many this hour; from here on it counts on its parent, or the key's own. Nothing of that
    call was held or written."""
    if live is None or live.written or refused.denial.code is not Code.SESSION_LIMIT:
        return False
    if live.session.mark.kind == FINGERPRINT:
        return plane.sessions.take_in(live.session.key_id, live.session.mark, IMPLICIT.client_id)
    if not live.above or live.session.mark.kind == CHILD:
        return False
    return plane.sessions.take_in(live.session.key_id, live.session.mark, live.above[0].session.mark.client_id)


def counted_elsewhere(mark: SessionMark, live: LiveSession) -> list[str]:
    """A warning for a header where a marked sub-agent, or a conversation told by how it began, has no session of its
    own."""
    if mark.kind == FINGERPRINT and live.session.mark.kind != FINGERPRINT:
        return ["this hour's new sessions are used up; this conversation counts on the session of its key"]
    if not mark.parent or live.session.mark.client_id == mark.client_id:
        return []
    return [f"sub-agent {mark.agent_part} has no session of its own here; it counts on its parent's"]


def _begins(live: LiveSession, rules: SessionRules, now_us: int) -> bool:
    """Whether a call makes it one more child that is open."""
    continuation = continue_session(live.session, rules, now_us, in_flight=live.in_flight)
    return continuation in (Continuation.REOPENS, Continuation.STARTS_AFRESH)


async def _above(plane: Plane, caller: Caller, mark: SessionMark) -> LiveSession:
    """The session above a sub-agent's, which goes on with all that is above it."""
    rules, sessions, now_us = plane.catalog.sessions, plane.sessions, plane.clock.now_us()
    above = sessions.host_of(caller.key_id, mark.kind, mark.parent)
    found = await sessions.find(caller.key_id, SessionMark(mark.kind, above))
    if found is not None and all(sessions.goes_on(each, rules, now_us) for each in reversed((found, *found.above))):
        return found
    return await sessions.resolve(caller.key_id, SessionMark(mark.kind, mark.root), rules, now_us)


def refuse_fan_out(plane: Plane, parent: LiveSession, stored: list[Session]) -> None:
    """Raises Refused if the parent has all the children open that it may have. `stored` = those below it as the books
    have them; those in memory are known better, so two who open one at the same time see each other."""
    rules, open_now = plane.catalog.sessions, _open_children(plane, parent, stored)
    if open_now >= rules.children_max:
        text = (
            f"This session has {open_now} child sessions open, and {rules.children_max} are allowed at once. "
            "Close one of them (session_close) or do the work here."
        )
        raise Refused(Denial(Code.SESSION_LIMIT, text))


def _open_children(plane: Plane, parent: LiveSession, stored: list[Session]) -> int:
    rules, now_us = plane.catalog.sessions, plane.clock.now_us()
    children = {each.id: each for each in stored if each.parent_id == parent.id}
    busy = set()
    for live in parent.children.values():
        children[live.id] = live.session
        if live.in_flight:
            busy.add(live.id)
    since_us = now_us - int(rules.idle_timeout_s * 1_000_000)
    return sum(_counts_as_open(each, since_us) or each.id in busy for each in children.values())


def _counts_as_open(session: Session, since_us: int) -> bool:
    if session.state is SessionState.PAUSED:
        return True
    return session.state is SessionState.OPEN and session.last_active_us >= since_us


async def _child(plane: Plane, caller: Caller, token: str) -> LiveSession:
    now_us = plane.clock.now_us()
    try:
        claims = read_token(plane.child_key, token, key_id=caller.key_id, agent=caller.key.agent, now_us=now_us)
    except TokenExpired as error:
        text = "The time of this child session is over. Have its parent open a new one."
        raise Refused(Denial(Code.SESSION_EXPIRED, text, field=SESSION_HEADER)) from error
    except TokenRefused as error:
        raise Refused(_refused(str(error))) from error
    if not _in_force(plane.keys.get(claims.key_id), now_us):
        text = "The key that opened this child session is no longer in force. Make no calls in it."
        raise Refused(Denial(Code.SESSION_STOPPED, text, field=SESSION_HEADER))
    live = await plane.sessions.by_id(claims.session_id)
    if live is None or not live.above or live.session.key_id != claims.key_id:
        raise Refused(_refused("this child session is not known here"))
    return await go_on_in_child(plane, live)


async def go_on_in_child(plane: Plane, live: LiveSession) -> LiveSession:
    """The child, open again where it was idle. Raises Refused if its time or its parent's room for children is over."""
    rules, now_us = plane.catalog.sessions, plane.clock.now_us()
    if live.session.state is not SessionState.OPEN:
        return live  # whatever it is instead refuses the call, with its reason
    continuation = continue_session(live.session, rules, now_us, in_flight=live.in_flight)
    if continuation is Continuation.REOPENS:
        stored = await plane.books.descendants(live.above[0].id)
        continuation = continue_session(live.session, rules, now_us, in_flight=live.in_flight)
        if continuation is Continuation.REOPENS:  # nobody else did it meanwhile
            refuse_fan_out(plane, live.above[0], stored)
            live.session = replace(live.session, run_started_us=now_us, last_active_us=now_us)
            live.pending = live.pending or "reopened"
            return live
    if continuation is Continuation.GOES_ON:
        return live
    text = f"Child session {live.id} has run for its whole wall time. Have its parent open a new one."
    raise Refused(Denial(Code.SESSION_EXPIRED, text))


def _in_force(key: VirtualKey | None, now_us: int) -> bool:
    if key is None or key.state is not KeyState.ACTIVE:
        return False
    return key.expires_at_us is None or now_us < key.expires_at_us


def _refused(why: str) -> Denial:
    return Denial(Code.REQUEST_MALFORMED, f"The session is refused: {why}.", field=SESSION_HEADER)
