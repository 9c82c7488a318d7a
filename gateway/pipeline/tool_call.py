"""The straight line of a tool call: stations, session, budgets and ledger of a model call (rules 15, 18-20, 25)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from gateway.core.attribution import Attribution, attribute
from gateway.core.budget import Ask, only_waiting
from gateway.core.call import Caller, Kind
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.denial import Code, Denial, Refused
from gateway.core.hold import Hold
from gateway.core.ledger import Amounts, CallSettled, CallVoided, HoldPlaced, Outcome
from gateway.core.record import CallRecord
from gateway.core.session import CHILD, IMPLICIT, MarkRefused, SessionMark, mark_of
from gateway.core.tool import ToolAsk, ToolDone
from gateway.core.upstream import UpstreamError
from gateway.pipeline.answer import view_object
from gateway.pipeline.authorize import authorize_tool, lists_tool, local_time, session_attributes, used_ratios
from gateway.pipeline.child_session import go_on_in_child, session_of
from gateway.pipeline.denied import Trail, denied, refuse_at_the_door
from gateway.pipeline.flights import Flight, FlightEnded, Phase
from gateway.pipeline.forward import upstream_denial
from gateway.pipeline.loops import judge_tool_call, watched
from gateway.pipeline.observed import observed, words, would_deny
from gateway.pipeline.plane import Plane
from gateway.pipeline.remember import tool_digest
from gateway.pipeline.reserve import WAITS_S, books_unavailable, commit_hold, refused_by, slowed
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.standing import refuse_unless_standing
from gateway.pipeline.tags import tags_of
from gateway.pipeline.thresholds import tell_reached
from gateway.pipeline.throttle import throttle
from gateway.ports import BooksUnavailable

T = TypeVar("T")


async def tool_call(plane: Plane, caller: Caller, ask: ToolAsk, send: Callable[[], Awaitable[T]]) -> ToolDone[T]:
    """Authorizes, holds, awaits `send()` at most once, settles; being cancelled settles too. Raises Refused."""
    trail = Trail(plane.ids.new("call"), Kind.TOOL.value, caller, headers=ask.headers, asked=ask.name)
    await refuse_at_the_door(plane, trail)
    try:
        return await _line(plane, caller, ask, send, trail)
    except Refused as refused:
        raise await denied(plane, trail, refused) from refused
    except BooksUnavailable as error:
        raise await denied(plane, trail, Refused(books_unavailable())) from error


async def tool_session(plane: Plane, caller: Caller, headers: Mapping[str, str], digest: bytes | None) -> LiveSession:
    """The session of an MCP request (rule 15): child token, own header or client mark, the session whose latest reply
    issued this very call, the key's only active session, the key's implicit session."""
    try:
        mark = mark_of(headers, {})
    except MarkRefused as error:
        raise Refused(_mark_refused(error)) from error
    if mark.kind == IMPLICIT.kind:
        issued = None if digest is None else plane.sessions.issuer(caller.key_id, digest)
        found = None if issued is None else await plane.sessions.by_id(issued[0])
        if found is None or not await _goes_on(plane, found):
            active = _unmarked(plane, caller)
            found = active[0] if len(active) == 1 and await _goes_on(plane, active[0]) else None
        if found is not None:
            return found
    return await session_of(plane, caller, mark)


async def _goes_on(plane: Plane, live: LiveSession) -> bool:
    if live.above:
        await go_on_in_child(plane, live)
        return True
    return plane.sessions.goes_on(live, plane.catalog.sessions, plane.clock.now_us())


async def tool_lister(plane: Plane, caller: Caller, headers: Mapping[str, str]) -> Callable[[str], bool]:
    """Tells of each canonical name whether a caller may see that tool: judged in the session of the request and with
    its models, arguments unknown (rules 15, 21). Opens no session. Raises Refused."""
    try:
        mark, tags = mark_of(headers, {}), tags_of(headers)
        live = await _known_session(plane, caller, mark)
        attribution = attribute(caller.key, plane.catalog.directory, roles=caller.roles, tags=tags)
        context = await tool_context(plane, caller, live, attribution, None)
    except MarkRefused as error:
        raise Refused(_mark_refused(error)) from error
    except BooksUnavailable as error:
        raise Refused(books_unavailable()) from error
    models = () if live is None else tuple(live.models)
    return lambda name: lists_tool(plane, caller, name, models, context)


async def _known_session(plane: Plane, caller: Caller, mark: SessionMark) -> LiveSession | None:
    if mark.kind == CHILD:
        return await session_of(plane, caller, mark)
    if mark.kind == IMPLICIT.kind:
        active = _unmarked(plane, caller)
        if len(active) == 1:
            return active[0]
    return plane.sessions.known(caller.key_id, mark)


def _mark_refused(error: MarkRefused) -> Denial:
    return Denial(Code.REQUEST_MALFORMED, f"The session id is refused: {error}.")


def _unmarked(plane: Plane, caller: Caller) -> list[LiveSession]:
    """The active sessions of a key that a request without a mark may mean: a child is reached with its token only."""
    active = plane.sessions.active(caller.key_id, plane.catalog.sessions, plane.clock.now_us())
    return [live for live in active if not live.above]


async def _line(
    plane: Plane, caller: Caller, ask: ToolAsk, send: Callable[[], Awaitable[T]], trail: Trail
) -> ToolDone[T]:
    digest = tool_digest(ask.name, ask.arguments)
    tags = tags_of(ask.headers)
    trail.attribution = attribution = attribute(
        caller.key, plane.catalog.directory, tool=ask.name, roles=caller.roles, tags=tags
    )
    live = trail.live = await tool_session(plane, caller, ask.headers, digest)
    plane.sessions.enter(live)
    flight = plane.flights.board(trail.call_id, live, caller.key)
    try:
        refuse_unless_standing(plane, live, caller.key)
        issued = plane.sessions.issuer(caller.key_id, digest)
        models = (issued[1],) if issued is not None and issued[0] == live.id else tuple(live.models)
        context = await tool_context(plane, caller, live, attribution, ask.arguments)
        decision = authorize_tool(plane, caller, ask.name, models, context)
        with flight:
            warnings = await judge_tool_call(plane, live, ask, digest, attribution)
        with watched(live, ask, digest, plane.clock.now_us()) as watch:
            with flight:
                hold = await _hold(plane, live, attribution, ask, trail.call_id)
                hold.would_deny = would_deny(hold, decision.would_deny)
                await commit_hold(plane, live, hold, _placed(plane, live, hold, ask, digest, decision.rule))
            flight.phase = Phase.SENT
            watch.sent()
            result = await _send(plane, flight, hold, ask, send)
            watch.answered(ask.read(result))
        first = plane.limiter.summary(hold).first
        remaining = None if first is None else view_object(first)
        return ToolDone(result, hold.call_id, live.id, remaining, (*warnings, *words(hold)))
    finally:
        plane.flights.land(flight)
        plane.sessions.leave(live, plane.clock.now_us())


async def tool_context(
    plane: Plane,
    caller: Caller,
    live: LiveSession | None,
    attribution: Attribution,
    arguments: Mapping[str, Any] | None,
) -> PolicyContext:
    """What conditions may look at; limit values are those before the hold (rule 21)."""
    now_us = plane.clock.now_us()
    call: dict[str, AttributeValue] = {} if live is None else session_attributes(plane, live, now_us)
    call.update((f"call.tags.{name}", value) for name, value in attribution.tags)
    used_ratio = await used_ratios(plane, attribution, live, now_us)
    return PolicyContext(caller.principal, call, local_time(now_us, plane.policy_zone), arguments, used_ratio)


async def _hold(plane: Plane, live: LiveSession, attribution: Attribution, ask: ToolAsk, call_id: str) -> Hold:
    """The call's price, one request and one tool call on every limit that binds, all or none."""
    amounts = Amounts(usd_micros=ask.price_usd_micros, requests=1, tool_calls=1)
    bindings = plane.limiter.bindings(attribution, live.id, live.lineage)
    started_ns = plane.clock.monotonic_ns()
    slowed_us = 0
    while True:
        now_us = plane.clock.now_us()
        await plane.limiter.load(bindings, live.id, now_us, fresh_session=not live.written)
        asked = Ask(amounts, sessions=live.opens)
        taken = plane.limiter.reserve(call_id, attribution, live.id, bindings, asked, now_us, slowed=slowed_us > 0)
        if isinstance(taken, Hold):
            return taken
        if not any(s.limit.hard for s in taken):
            wait_us, denial = slowed(plane, taken, slowed_us, now_us)
            await throttle(live, wait_us / 1e6, denial)
            slowed_us += wait_us
            continue
        left_s = WAITS_S - (plane.clock.monotonic_ns() - started_ns) / 1e9
        if only_waiting(taken) and left_s > 0:
            await plane.limiter.freed(left_s)
            continue
        raise refused_by(plane, taken, now_us)


def _placed(plane: Plane, live: LiveSession, hold: Hold, ask: ToolAsk, digest: bytes, rule: str | None) -> HoldPlaced:
    return HoldPlaced(
        call_id=hold.call_id,
        at_us=hold.at_us,
        session_id=live.id,
        attribution=hold.attribution,
        kind=Kind.TOOL.value,
        held=hold.ask.amounts,
        prompt_tokens=0,
        prompt_usd_micros=ask.price_usd_micros,
        usual_output_tokens=0,
        stream=False,
        sliced=False,
        upstream_model="",
        policy_version=plane.policy.version,
        rule=rule,
        request_digest=digest.hex(),
        warnings=tuple(s.limit.name for s in hold.warnings if not observed(s)),
        would_deny=hold.would_deny,
    )


async def _send(plane: Plane, flight: Flight, hold: Hold, ask: ToolAsk, send: Callable[[], Awaitable[T]]) -> T:
    """A call that may have reached its tool is charged, also when it was cancelled: tools have side effects."""
    sent_ns = plane.clock.monotonic_ns()
    live = flight.live
    try:
        with flight:
            result = await send()
    except FlightEnded as ended:
        _settle(plane, live, hold, ask, Outcome.CUT_BY_STOP, sent_ns, ended.denial)
        raise
    except UpstreamError as error:
        if getattr(error, "sent", True):
            _settle(plane, live, hold, ask, Outcome.UPSTREAM_ERROR, sent_ns)
        else:
            plane.limiter.void(hold)
            plane.books.post(CallVoided(hold.call_id, plane.clock.now_us(), "the tool server was not reached", 502))
        raise Refused(upstream_denial(error)) from error
    except BaseException:
        _settle(plane, live, hold, ask, Outcome.CUT_BY_CLIENT, sent_ns)
        raise
    _settle(plane, live, hold, ask, Outcome.OK, sent_ns)
    return result


def _settle(
    plane: Plane,
    live: LiveSession,
    hold: Hold,
    ask: ToolAsk,
    outcome: Outcome,
    sent_ns: int,
    denial: Denial | None = None,
) -> None:
    posted = Amounts(usd_micros=ask.price_usd_micros, requests=1, tool_calls=1)
    upstream_us = (plane.clock.monotonic_ns() - sent_ns) // 1000
    tell_reached(plane, plane.limiter.settle(hold, posted), hold.attribution, plane.clock.now_us())
    plane.spending.booked(hold.attribution, ask.price_usd_micros, plane.clock.now_us())
    plane.books.post(
        CallSettled(
            call_id=hold.call_id,
            at_us=plane.clock.now_us(),
            started_at_us=hold.at_us,
            session_id=live.id,
            attribution=hold.attribution,
            outcome=outcome,
            usage=None,
            posted=posted,
            meters=(("tool_call", 1, ask.price_usd_micros),) if ask.price_usd_micros else (),
            estimated=None,
            overrun=None,
            price_source="config" if ask.price_usd_micros else "",
            status=200,
            ours_us=0,
            upstream_us=upstream_us,
            first_byte_us=None,
            denial=None if denial is None else denial.machine(),
        )
    )
    plane.telemetry.finished(_record(live, hold, outcome, ask, upstream_us))


def _record(live: LiveSession, hold: Hold, outcome: Outcome, ask: ToolAsk, upstream_us: int) -> CallRecord:
    fields: dict[str, Any] = dict.fromkeys(
        ("input_tokens", "cached_input_tokens", "output_tokens", "ours_us", "first_byte_us"), 0
    )
    return CallRecord(
        call_id=hold.call_id,
        kind=Kind.TOOL.value,
        session_id=live.id,
        key_id=hold.attribution.key_id,
        model="-",
        provider=ask.server,
        tool=ask.name,
        outcome=outcome.value,
        code="",
        status=200,
        stream=False,
        cost_usd_micros=ask.price_usd_micros,
        estimated="",
        overrun=False,
        upstream_us=upstream_us,
        would_deny=hold.would_deny,
        **fields,
    )
