"""The straight line of a model call: identified at the edge, then authorize, reserve, forward, settle, record.

This file holds every branch of the line; the stations hold none of each other's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.core.attribution import Attribution, attribute
from gateway.core.call import Arrival, Caller, Kind
from gateway.core.catalog import Model
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.denial import Code, Denial, Refused
from gateway.core.fingerprint import fingerprint_of
from gateway.core.idempotency import HEADER
from gateway.core.model_ask import CACHED
from gateway.core.session import IMPLICIT, MarkRefused, SessionMark, mark_of
from gateway.core.wire.facts import RequestFacts
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.task import TaskFacts
from gateway.pipeline.answer import Answer, ClientLeft
from gateway.pipeline.authorize import (
    authorize_model,
    local_time,
    session_attributes,
    standing_context,
    standing_grant,
    usable_models,
    used_ratios,
)
from gateway.pipeline.child_session import counted_elsewhere, gives_way, session_of
from gateway.pipeline.denied import Trail, denied, refuse_at_the_door
from gateway.pipeline.exchange import Passing, exchange, leave
from gateway.pipeline.flights import Phase
from gateway.pipeline.idempotent import once
from gateway.pipeline.loops import UPSTREAM_FAULTS, is_impatient, judge_model_call
from gateway.pipeline.plane import Plane
from gateway.pipeline.read_request import (
    canonical_tools,
    model_ask,
    request_facts,
    speakable,
    task_ask,
    task_facts,
)
from gateway.pipeline.reroute import Reroute, reroute
from gateway.pipeline.reserve import Reserved, books_unavailable, reserve_model
from gateway.pipeline.response_cache import Lookup, answer_kept, keeping, look_up
from gateway.pipeline.route import route_of
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.standing import refuse_unless_standing
from gateway.pipeline.trace import sighting_of
from gateway.pipeline.turns import wait_for_turn
from gateway.ports import BooksUnavailable

ATTRIBUTIONS_KEPT = 256


async def model_call(plane: Plane, caller: Caller, arrival: Arrival, kind: Kind) -> Answer:
    """A governed call. Raises Refused with the denial to answer with, once it is written down."""
    arrival = arrival._replace(kind=kind)
    asked = str(arrival.body.get("model"))
    trail = Trail(plane.ids.new("call"), kind.value, caller, headers=arrival.headers, body=arrival.body, asked=asked)
    await refuse_at_the_door(plane, trail)
    try:
        if HEADER not in arrival.headers:
            return await _line(plane, caller, arrival, kind, trail)
        line = partial(_line, plane, caller, arrival, kind, trail)
        wanted = (f"{kind.value} {arrival.format.name}", arrival.body)
        return await once(plane, caller.key_id, arrival.headers, wanted, trail.call_id, line)
    except Refused as refused:
        raise await denied(plane, trail, refused) from refused
    except BooksUnavailable as error:
        raise await denied(plane, trail, Refused(books_unavailable())) from error


async def _line(plane: Plane, caller: Caller, arrival: Arrival, kind: Kind, trail: Trail) -> Answer:
    """Once more with a sub-agent's call that would open one session too many: its parent's takes it."""
    while True:
        try:
            return await _pass(plane, caller, arrival, kind, trail)
        except Refused as refused:
            if not gives_way(plane, trail.live, refused):
                raise


async def _pass(plane: Plane, caller: Caller, arrival: Arrival, kind: Kind, trail: Trail) -> Answer:
    facts = request_facts(arrival) if kind is Kind.CHAT else task_facts(arrival)
    model = model_named(plane, caller, facts.model)
    trail.stream = isinstance(facts, RequestFacts) and facts.stream
    trail.attribution = attribution_of(plane, caller, arrival, model)
    mark, said = _mark(plane, arrival, kind)
    live = trail.live = await session_of(plane, caller, mark, said)
    plane.sessions.enter(live)
    flight = plane.flights.board(trail.call_id, live, caller.key)
    handed_over = False
    try:
        refuse_unless_standing(plane, live, caller.key)
        passing = await _admit_routed(plane, caller, arrival, live, facts, model)
        trail.attribution = passing.attribution
        found = _kept_answer(plane, arrival, facts, passing)
        if found is not None and found.reply is not None:
            passing = passing._replace(ask=found.ask)
        try:
            with flight:
                passing, reserved, warnings = await _reserve(plane, caller, arrival, live, facts, passing, trail)
            warnings = [*counted_elsewhere(mark, live), *warnings]
            if passing.ask.free == CACHED and found is not None and found.reply is not None:
                return answer_kept(plane, flight, passing, reserved, found.reply, arrival, warnings)
            flight.phase = Phase.SENT
            answering = exchange(plane, caller, arrival, flight, passing, reserved, warnings)
            if found is not None and found.alias == passing.model.alias:
                answering = keeping(plane, found, reserved, answering)
            handed_over = True
            return await (answering if trail.stream else flight.outlived(plane.background, answering, reserved.in_line))
        except (Refused, ClientLeft) as error:
            live.loops.withdraw(passing.ask.request_digest)
            if isinstance(error, Refused) and error.denial.code in UPSTREAM_FAULTS:
                live.loops.upstream.failed(
                    plane.clock.now_us(), error.denial.retry_after_s, impatient=passing.impatient
                )
            raise
    finally:
        if not handed_over:
            leave(plane, flight)


async def _admit_routed(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    facts: RequestFacts | TaskFacts,
    model: Model,
) -> Passing:
    """As `_admit`, at the model that a route leads to where one takes this call."""
    if not plane.catalog.routes or not isinstance(facts, RequestFacts):
        return await _admit(plane, caller, arrival, live, facts, model)

    async def context() -> PolicyContext:
        attribution = attribution_of(plane, caller, arrival, model)
        return await _context(plane, caller, arrival, live, attribution, facts)

    async def admit(to: Model) -> Passing:
        return await _admit(plane, caller, arrival, live, _for_model(facts, to), to)

    routed = await route_of(plane, model, context, admit)
    if routed is None:
        return await admit(model)
    route, passing = routed
    return passing._replace(routed_from=model.alias, route=route.name)


async def _admit(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    facts: RequestFacts | TaskFacts,
    model: Model,
) -> Passing:
    """Authorizes a call to this model and makes it ready. Raises Refused."""
    _refuse_unless_spoken(model, arrival, facts)
    attribution = attribution_of(plane, caller, arrival, model)
    canonical: Mapping[str, list[str]] = {}
    if isinstance(facts, RequestFacts):
        canonical = canonical_tools(plane, facts.tools, facts.provider_tools)
    granted = standing_grant(plane, caller, model.alias, canonical)
    if granted is None:
        context = await _context(plane, caller, arrival, live, attribution, facts)
        granted = authorize_model(plane, caller, model.alias, canonical, context)
    if isinstance(facts, RequestFacts):
        ask = model_ask(plane, arrival, facts, model, granted.stripped, live.turns)
    else:
        ask = task_ask(plane, arrival, facts, model)
    return Passing(model, attribution, granted, ask, is_impatient(live, arrival, plane.clock.now_us()))


async def _reserve(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    facts: RequestFacts | TaskFacts,
    passing: Passing,
    trail: Trail,
) -> tuple[Passing, Reserved, list[str]]:
    """The loop check and the hold; at another model where one of them says so (rule 28). With warnings for a header."""
    warnings: list[str] = []

    async def hold(ready: Passing, routed_from: str = "") -> Reserved:
        attribution = ready.attribution
        sent = ready.ask.free != CACHED
        turn = await wait_for_turn(plane, live, ready.ask, attribution, arrival) if sent else None
        try:
            return await reserve_model(
                plane, live, ready.ask, attribution, trail.call_id, ready.granted, turn, routed_from=routed_from
            )
        except BaseException:
            if turn is not None:
                turn.leave(None)
            raise

    async def attempt(model: Model) -> tuple[Passing, Reserved]:
        ready = await _admit(plane, caller, arrival, live, _for_model(facts, model), model)
        return ready, await hold(ready, passing.routed_from or passing.model.alias)

    try:
        if isinstance(facts, RequestFacts):
            seen = sighting_of(plane, passing.ask, arrival.body)
            warnings = await judge_model_call(plane, live, seen, passing.attribution, impatient=passing.impatient)
        return passing, await hold(passing, passing.routed_from), warnings
    except Reroute as hop:
        passing, reserved = await reroute(plane, hop, passing.model, attempt)
        trail.attribution = passing.attribution
        return passing, reserved, [*warnings, f"{hop.why}; answered by model {passing.model.alias}"]


def _kept_answer(plane: Plane, arrival: Arrival, facts: RequestFacts | TaskFacts, passing: Passing) -> Lookup | None:
    if passing.model.cache is None:
        return None
    tools = isinstance(facts, RequestFacts) and bool(facts.tools or facts.provider_tools)
    return look_up(plane, arrival, passing, declares_tools=tools)


def _for_model(facts: RequestFacts | TaskFacts, model: Model) -> RequestFacts | TaskFacts:
    """The same request to another model, whose tokens are counted otherwise."""
    return facts._replace(model=model.alias) if isinstance(facts, RequestFacts) else replace(facts, model=model.alias)


def _refuse_unless_spoken(model: Model, arrival: Arrival, facts: RequestFacts | TaskFacts) -> None:
    wire = arrival.format
    translatable = isinstance(facts, RequestFacts)
    if not any(speakable(wire, deployment, translatable=translatable) for deployment in model.deployments):
        if not translatable and wire.task is None:
            text = f"Model '{model.alias}' makes no embeddings here."
            raise Refused(Denial(Code.FIELD_UNSUPPORTED, text, field="model"))
        spoken = {name for each in model.deployments for name in each.speaks}
        formats = [FORMATS[name] for name in spoken]
        served = ", ".join(sorted(each.title for each in formats if each.task is None or wire.task is not None))
        text = f"Model '{model.alias}' is not served in the {wire.title} format; it is in {served}."
        raise Refused(Denial(Code.FIELD_UNSUPPORTED, text, field="model"))


def attribution_of(plane: Plane, caller: Caller, arrival: Arrival, model: Model) -> Attribution:
    """Whom the call is booked on, worked out once per key, model and tags."""
    at = (model.alias, arrival.end_user, arrival.tags)
    found = caller.attributions.get(at)
    if found is None:
        found = attribute(
            caller.key,
            plane.catalog.directory,
            model=model.alias,
            model_tier=model.tier,
            provider=model.deployments[0].provider,
            end_user=arrival.end_user,
            roles=caller.roles,
            tags=arrival.tags,
        )
        if len(caller.attributions) >= ATTRIBUTIONS_KEPT:
            caller.attributions.clear()
        caller.attributions[at] = found
    return found


def model_named(plane: Plane, caller: Caller, alias: str) -> Model:
    """Raises Refused (`model_unknown`)."""
    model = plane.catalog.models.get(alias)
    if model is None:
        known = tuple(usable_models(plane, caller, standing_context(plane, caller))[:5])
        advice = f" You may use: {', '.join(known)}." if known else ""
        text = f"Model '{alias[:100]}' is not served here.{advice}"
        raise Refused(Denial(Code.MODEL_UNKNOWN, text, alternatives=known, field="model"))
    return model


def _mark(plane: Plane, arrival: Arrival, kind: Kind) -> tuple[SessionMark, Sequence[Any]]:
    """With the messages of a conversation that is told by how it began."""
    try:
        mark = mark_of(arrival.headers, arrival.body)
        if mark is IMPLICIT and plane.catalog.sessions.fingerprint and kind is Kind.CHAT:
            return fingerprint_of(plane.digest_key, arrival.format, arrival.headers, arrival.body) or (mark, ())
        return mark, ()
    except MarkRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The session id is refused: {error}.")) from error


async def _context(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    attribution: Attribution,
    facts: RequestFacts | TaskFacts,
) -> PolicyContext:
    """What conditions may look at; limit values are those before the hold (rule 21)."""
    now_us = plane.clock.now_us()
    used_ratio = await used_ratios(plane, attribution, live, now_us)
    call: dict[str, AttributeValue] = session_attributes(plane, live, now_us)
    call["model.name"] = attribution.model
    call["model.tier"] = attribution.model_tier
    call["model.provider"] = attribution.provider
    tools, stream = (facts.tools, facts.stream) if isinstance(facts, RequestFacts) else ((), False)
    call["call.stream"] = stream
    call["call.tool_count"] = len(tools)
    call["call.input_bytes"] = arrival.body_bytes
    for name, value in arrival.tags:
        call[f"call.tags.{name}"] = value
    return PolicyContext(caller.principal, call, local_time(now_us, plane.policy_zone), None, used_ratio)
