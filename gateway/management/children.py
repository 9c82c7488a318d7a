"""Child sessions: opened by their parent, capped at a part of its budget, closed with all that is below them (rule 16).

Rules: a part is a cap, nothing is set aside for it, and closing frees only what calls hold; depth, children open at
once, new sessions an hour and time are limited; nothing about a child is said before it is durable.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.attribution import Attribution, attribute
from gateway.core.budget import Ask, refusal
from gateway.core.call import Caller
from gateway.core.child_part import CHILD_PARTS, PART_UNITS
from gateway.core.child_token import ChildClaims, make_token
from gateway.core.denial import Code, Denial, Refused, time_shown
from gateway.core.hold import Binding, Hold
from gateway.core.identity import ABSENT
from gateway.core.ledger import Amounts, Entry, SessionChanged
from gateway.core.limit import Unit
from gateway.core.money import MoneyInvalid, usd_to_micros
from gateway.core.session import (
    CHILD,
    Continuation,
    Part,
    Session,
    SessionMark,
    SessionState,
    continue_session,
)
from gateway.core.window import WindowKind
from gateway.pipeline.answer import view_object
from gateway.pipeline.child_session import SESSION_HEADER, refuse_fan_out
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import books_unavailable
from gateway.pipeline.sessions import LiveSession, put_back, refuse_unless_open
from gateway.ports import BooksUnavailable

_LASTING = frozenset({WindowKind.SESSION, WindowKind.TOTAL})


@dataclass(frozen=True, slots=True)
class ChildWish:
    """What a parent wants for its child. `amounts` in the integers of their units; `share` = percent of what the parent
    has left, of every unit that is limited for it; `agent` = whose keys may use the child beside the opener's own;
    `life_s` = at most so long."""

    amounts: Mapping[Unit, int] = field(default_factory=dict)
    share: int | None = None
    agent: str = ABSENT
    life_s: float | None = None


def wish_of(asked: Mapping[str, Any]) -> ChildWish:
    """From the arguments of a tool or the body of a request, checked for their types. Raises Refused."""
    amounts: dict[Unit, int] = {}
    for unit in PART_UNITS:
        amount = asked.get(unit.value)
        if amount is not None:
            amounts[unit] = _micros(amount) if unit is Unit.USD else int(amount)
    agent = asked.get("agent") or ABSENT
    if not agent.isprintable():
        raise Refused(Denial(Code.REQUEST_MALFORMED, "`agent` is no name of an agent.", field="agent"))
    share, life_s = asked.get("share"), asked.get("expires_in_s")
    return ChildWish(amounts, None if share is None else int(share), agent, life_s)


def _micros(amount: float) -> int:
    try:
        return usd_to_micros(amount)
    except MoneyInvalid as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"`usd`: {error}.", field="usd")) from error


async def open_child(plane: Plane, opener: Caller, parent: LiveSession, wish: ChildWish, actor: str) -> dict[str, Any]:
    """The child with its token, which is told this once. Raises Refused; then there is no child."""
    try:
        plane.sessions.enter(parent)
        try:
            child, expires_at_us = await _opened(plane, opener, parent, wish, actor)
        finally:
            plane.sessions.leave(parent, plane.clock.now_us())
        claims = ChildClaims(child.id, opener.key_id, wish.agent, expires_at_us)
        return await _told(plane, opener, child, make_token(plane.child_key, claims), claims)
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error


async def close_tree(plane: Plane, live: LiveSession, reason: str, actor: str) -> list[str]:
    """Closes a session and everything open below it, in one step; the ids of what was closed. Calls in flight go on.
    A child never opens again, another session does when its client comes back. Raises BooksUnavailable."""
    below = await plane.books.descendants(live.id)
    loaded = [await plane.sessions.by_id(each.id) for each in below]
    tree = {each.id: each for each in (live, *_in_memory(live), *loaded) if each is not None}
    ending = [each for each in tree.values() if each is live or each.session.state is not SessionState.STOPPED]
    ending = [each for each in ending if each.written and each.session.state is not SessionState.CLOSED]
    before = [(each, each.session) for each in ending]
    now_us = plane.clock.now_us()
    entries = [plane.sessions.change(each, SessionState.CLOSED, reason, actor, now_us) for each in ending]
    try:
        await plane.books.commit(*entries)
    except BooksUnavailable:
        for each, session in before:
            each.session = replace(each.session, state=session.state, reason=session.reason)
        raise
    return [each.id for each in ending]


def refuse_unless_closable(live: LiveSession) -> None:
    """Raises Refused where closing would let an agent out of what people or a loop verdict hold it in."""
    if not live.above and live.session.state is SessionState.CLOSED:
        return
    refuse_unless_open(live)


async def _opened(
    plane: Plane, opener: Caller, parent: LiveSession, wish: ChildWish, actor: str
) -> tuple[LiveSession, int]:
    rules = plane.catalog.sessions
    _refuse_unusable(plane, parent)
    if parent.session.depth >= rules.depth_max:
        text = f"Sessions are nested at most {rules.depth_max} deep, and this one is there. Do the work in it."
        raise Refused(Denial(Code.SESSION_LIMIT, text))
    attribution = attribute(opener.key, plane.catalog.directory, roles=opener.roles)
    parts = await _parts(plane, parent, attribution, wish)
    stored = await plane.books.descendants(parent.id)
    every = plane.limiter.bindings(attribution, parent.id, parent.lineage)
    bindings = tuple(b for b in every if b.limit.unit is Unit.SESSIONS)
    await plane.limiter.load(bindings, parent.id, plane.clock.now_us(), fresh_session=False)
    # From here to the commit nothing waits: what is checked is still true when the child is in memory.
    _refuse_unusable(plane, parent)
    refuse_fan_out(plane, parent, stored)
    now_us = plane.clock.now_us()
    expires_at_us = _expiry(plane, parent, wish, now_us)
    session_id = plane.ids.new("ses")
    hold = _counted(plane, parent, attribution, bindings, session_id, now_us)
    ancestors = (parent.id, *parent.session.ancestors)
    mark = SessionMark(CHILD)
    session = Session(session_id, opener.key_id, mark, SessionState.OPEN, now_us, now_us, now_us, "", ancestors, parts)
    child = plane.sessions.take_up(LiveSession(session, written=False, parent=parent))
    await _write_down(plane, parent, child, hold, attribution, actor)
    return child, expires_at_us


def _refuse_unusable(plane: Plane, parent: LiveSession) -> None:
    refuse_unless_open(parent)
    session, now_us = parent.session, plane.clock.now_us()
    # One call fewer in flight: the opening itself keeps nothing alive. A root that idled goes on with this call.
    goes_on = continue_session(session, plane.catalog.sessions, now_us, in_flight=parent.in_flight - 1)
    going_on = goes_on is Continuation.GOES_ON or (goes_on is Continuation.REOPENS and not parent.above)
    if session.state is not SessionState.OPEN or not going_on:
        over = "was closed" if session.state is SessionState.CLOSED else "is over"
        raise Refused(Denial(Code.SESSION_EXPIRED, f"Session {session.id} {over}; it opens no child."))


def _expiry(plane: Plane, parent: LiveSession, wish: ChildWish, now_us: int) -> int:
    """A child ends with the runs of its ancestors at the latest, or opening one would prolong them. Raises Refused."""
    wall_us = int(plane.catalog.sessions.wall_time_s * 1_000_000)
    ends = [each.session.run_started_us + wall_us for each in (parent, *parent.above)]
    if wish.life_s is not None:
        ends.append(now_us + int(wish.life_s * 1_000_000))
    if min(ends) <= now_us:
        raise Refused(Denial(Code.SESSION_EXPIRED, f"Session {parent.id} has no time left; it opens no child."))
    return min(ends)


async def _parts(plane: Plane, parent: LiveSession, attribution: Attribution, wish: ChildWish) -> tuple[Part, ...]:
    """What the child may use at most: never more than its parent has left."""
    every = plane.limiter.bindings(attribution, parent.id, parent.lineage)
    binding = tuple(b for b in every if b.session_id and b.hard and b.limit.window.kind in _LASTING)
    binding = tuple(b for b in binding if b.limit.unit in PART_UNITS)
    now_us = plane.clock.now_us()
    await plane.limiter.load(binding, parent.id, now_us, fresh_session=not parent.written)
    left: dict[Unit, int] = {}
    for view in plane.limiter.view(binding, now_us):
        unit = Unit(view.unit)
        left[unit] = min(view.remaining, left.get(unit, view.remaining))
    wanted = dict(wish.amounts)
    if wish.share is not None:
        shares = {unit: max(1, room * wish.share // 100) for unit, room in left.items()}
        wanted = {**shares, **{unit: min(amount, shares.get(unit, amount)) for unit, amount in wanted.items()}}
    if not wanted:
        named = ", ".join(unit.value for unit in PART_UNITS)
        text = f"Say what part of this session's budget the child may use: an amount of {named}, or a `share` of it."
        raise Refused(Denial(Code.REQUEST_MALFORMED, text, field="share"))
    _refuse_exhausted(plane, binding, wanted, now_us)
    return tuple(Part(unit, min(wanted[unit], left.get(unit, wanted[unit]))) for unit in PART_UNITS if unit in wanted)


def _refuse_exhausted(plane: Plane, binding: tuple[Binding, ...], wanted: Iterable[Unit], now_us: int) -> None:
    units = set(wanted)
    least = Amounts(
        input_tokens=int(Unit.TOKENS in units),
        usd_micros=int(Unit.USD in units),
        requests=int(Unit.REQUESTS in units),
        tool_calls=int(Unit.TOOL_CALLS in units),
    )
    short = plane.limiter.shortfalls(binding, Ask(least, concurrent=0), now_us)
    if short:
        raise Refused(refusal(short, now_us, plane.pace.remaining_s()))


def _counted(
    plane: Plane,
    parent: LiveSession,
    attribution: Attribution,
    bindings: tuple[Binding, ...],
    session_id: str,
    now_us: int,
) -> Hold:
    """The child counts as a new session of its opener; so does a parent that no call was let into yet."""
    asked = Ask(Amounts(), sessions=1 + parent.opens, concurrent=0)
    taken = plane.limiter.reserve(session_id, attribution, parent.id, bindings, asked, now_us)
    if isinstance(taken, Hold):
        return taken
    raise Refused(refusal(taken, now_us, plane.pace.remaining_s()))


async def _write_down(
    plane: Plane, parent: LiveSession, child: LiveSession, hold: Hold, attribution: Attribution, actor: str
) -> None:
    now_us = child.session.opened_at_us
    opening = parent.take_pending()
    changes = [*((each.session, action) for each, action in opening), (child.session, "opened")]
    entries: list[Entry] = [SessionChanged(now_us, each, action, actor, attribution) for each, action in changes]
    try:
        await plane.books.commit(*entries)
    except BaseException as error:
        # Cancelled, it may have been written: then it counts as opened, and nobody has its token.
        put_back(opening)
        plane.limiter.void(hold, written=isinstance(error, asyncio.CancelledError))
        plane.sessions.drop(child)
        raise
    child.is_written()
    child.pending = None
    plane.limiter.settle(hold, Amounts())


async def _told(plane: Plane, opener: Caller, child: LiveSession, token: str, claims: ChildClaims) -> dict[str, Any]:
    attribution = attribute(opener.key, plane.catalog.directory, roles=opener.roles)
    now_us = plane.clock.now_us()
    every = plane.limiter.bindings(attribution, child.id, child.lineage)
    parts = tuple(b for b in every if b.session_id == child.id and b.limit in CHILD_PARTS.values())
    await plane.limiter.load(parts, child.id, now_us, fresh_session=False)
    views = plane.limiter.view(parts, now_us)
    whose = "" if claims.agent == ABSENT else f" or a key of agent '{claims.agent}'"
    return {
        "summary": f"Child session {child.id} is open: send its token in {SESSION_HEADER} with this key{whose}.",
        "session": child.id,
        "parent": child.session.parent_id,
        "depth": child.session.depth,
        "token": token,
        "header": SESSION_HEADER,
        "agent": None if claims.agent == ABSENT else claims.agent,
        "expires_at": time_shown(claims.expires_at_us),
        "limits": [view_object(view) for view in views],
    }


def _in_memory(live: LiveSession) -> list[LiveSession]:
    return [below for child in live.children.values() for below in (child, *_in_memory(child))]
