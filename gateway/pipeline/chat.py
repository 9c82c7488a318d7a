"""The straight line of a model call: identified at the edge, then authorize, reserve, forward, settle, record.

This file holds every branch of the line; the stations hold none of each other's.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from gateway.core.attribution import Attribution, attribute
from gateway.core.call import Arrival, Caller, Kind
from gateway.core.catalog import Model
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.denial import Code, Denial, Refused
from gateway.core.idempotency import HEADER
from gateway.core.ledger import Outcome
from gateway.core.model_ask import ModelAsk
from gateway.core.money import format_usd
from gateway.core.reply_headers import passable_headers
from gateway.core.session import MarkRefused, mark_of
from gateway.core.upstream import UpstreamError, UpstreamInvalid
from gateway.core.usage import Usage
from gateway.core.wire.openai_chat import ChatFacts
from gateway.core.wire.openai_embeddings import EmbeddingsFacts
from gateway.core.wire.openai_reply import reply_calls, reply_messages, reply_text, reply_usage
from gateway.pipeline.answer import Answer, ClientLeft, Streamed, Whole, governed_headers
from gateway.pipeline.authorize import (
    Granted,
    authorize_model,
    local_time,
    session_attributes,
    standing_context,
    usable_models,
    used_ratios,
)
from gateway.pipeline.child_session import session_of
from gateway.pipeline.denied import Trail, denied, refuse_at_the_door
from gateway.pipeline.forward import Sent, UpstreamSaidNo, forward_model, forward_unless_left, upstream_denial
from gateway.pipeline.idempotent import once
from gateway.pipeline.loops import TOO_MANY, UPSTREAM_FAULTS, is_impatient, judge_model_call, retry_after_s
from gateway.pipeline.plane import Plane
from gateway.pipeline.read_openai import (
    canonical_tools,
    chat_ask,
    chat_facts,
    embeddings_ask,
    embeddings_facts,
)
from gateway.pipeline.relay import Relay
from gateway.pipeline.remember import remember_reply
from gateway.pipeline.reroute import Reroute, reroute
from gateway.pipeline.reserve import Reserved, books_unavailable, counted_prompt, reserve_model, widest_factor
from gateway.pipeline.sessions import LiveSession, refuse_unless_open
from gateway.pipeline.settle import Ended, settle_model, void_model
from gateway.pipeline.trace_openai import sighting_of
from gateway.pipeline.turns import wait_for_turn
from gateway.ports import BooksUnavailable

ATTRIBUTIONS_KEPT = 256
_EVENT_STREAM: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


async def model_call(plane: Plane, caller: Caller, arrival: Arrival, kind: Kind) -> Answer:
    """A governed call. Raises Refused with the denial to answer with, once it is written down."""
    trail = Trail(plane.ids.new("call"), kind.value, caller)
    await refuse_at_the_door(plane, trail)
    try:
        if HEADER not in arrival.headers:
            return await _line(plane, caller, arrival, kind, trail)
        line = partial(_line, plane, caller, arrival, kind, trail)
        return await once(plane, caller.key_id, arrival.headers, (kind.value, arrival.body), trail.call_id, line)
    except Refused as refused:
        raise await denied(plane, trail, refused) from refused
    except BooksUnavailable as error:
        raise await denied(plane, trail, Refused(books_unavailable())) from error


class _Passing(NamedTuple):
    """A call that may pass to a model. `impatient` = it comes too soon after one that its upstream failed."""

    model: Model
    attribution: Attribution
    granted: Granted
    ask: ModelAsk
    impatient: bool


async def _line(plane: Plane, caller: Caller, arrival: Arrival, kind: Kind, trail: Trail) -> Answer:
    facts = chat_facts(arrival.body) if kind is Kind.CHAT else embeddings_facts(arrival.body)
    model = _model(plane, caller, facts.model)
    trail.stream = isinstance(facts, ChatFacts) and facts.stream
    trail.attribution = attribution_of(plane, caller, arrival, model)
    live = trail.live = await _session(plane, caller, arrival)
    plane.sessions.enter(live)
    answer: Answer | None = None
    reserved: Reserved | None = None
    try:
        refuse_unless_open(live)
        passing = await _admit(plane, caller, arrival, live, facts, model)
        try:
            passing, reserved, warnings = await _reserve(plane, caller, arrival, live, facts, passing, trail)
            answer = await _exchange(plane, caller, arrival, live, passing, reserved, warnings)
        except (Refused, ClientLeft) as error:
            live.loops.withdraw(passing.ask.request_digest)
            if isinstance(error, Refused) and error.denial.code in UPSTREAM_FAULTS:
                live.loops.upstream.failed(
                    plane.clock.now_us(), error.denial.retry_after_s, impatient=passing.impatient
                )
            raise
        return answer
    finally:
        if not isinstance(answer, Streamed):
            plane.sessions.leave(live, plane.clock.now_us())
            if reserved is not None:
                reserved.leave_turn(None)


async def _admit(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    facts: ChatFacts | EmbeddingsFacts,
    model: Model,
) -> _Passing:
    """Authorizes a call to this model and makes it ready. Raises Refused."""
    attribution = attribution_of(plane, caller, arrival, model)
    tools, stream = (facts.tools, facts.stream) if isinstance(facts, ChatFacts) else ((), False)
    context = await _context(plane, caller, arrival, live, attribution, stream=stream)
    granted = authorize_model(plane, caller, model.alias, canonical_tools(plane, tools), context)
    if isinstance(facts, ChatFacts):
        ask = chat_ask(plane, arrival, facts, model, granted.stripped, live.turns)
    else:
        ask = embeddings_ask(plane, arrival, facts, model)
    return _Passing(model, attribution, granted, ask, is_impatient(live, arrival, plane.clock.now_us()))


async def _reserve(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    facts: ChatFacts | EmbeddingsFacts,
    passing: _Passing,
    trail: Trail,
) -> tuple[_Passing, Reserved, list[str]]:
    """The loop check and the hold; at another model where one of them says so (rule 28). With warnings for a header."""
    warnings: list[str] = []

    async def hold(ready: _Passing) -> Reserved:
        turn = await wait_for_turn(plane, live, ready.ask, ready.attribution, arrival)
        try:
            return await reserve_model(plane, live, ready.ask, ready.attribution, trail.call_id, ready.granted, turn)
        except BaseException:
            if turn is not None:
                turn.leave(None)
            raise

    async def attempt(model: Model) -> tuple[_Passing, Reserved]:
        ready = await _admit(plane, caller, arrival, live, _for_model(facts, model), model)
        return ready, await hold(ready)

    try:
        if passing.ask.produces_output:
            seen = sighting_of(plane, passing.ask, arrival.body)
            warnings = await judge_model_call(plane, live, seen, passing.attribution, impatient=passing.impatient)
        return passing, await hold(passing), warnings
    except Reroute as hop:
        passing, reserved = await reroute(plane, hop, passing.model, attempt)
        trail.attribution = passing.attribution
        return passing, reserved, [*warnings, f"{hop.why}; answered by model {passing.model.alias}"]


def _for_model(facts: ChatFacts | EmbeddingsFacts, model: Model) -> ChatFacts | EmbeddingsFacts:
    """The same request to another model, whose tokens are counted otherwise."""
    return facts._replace(model=model.alias) if isinstance(facts, ChatFacts) else replace(facts, model=model.alias)


async def _exchange(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    live: LiveSession,
    passing: _Passing,
    reserved: Reserved,
    warnings: list[str],
) -> Answer:
    ask = passing.ask
    sent = await _forward(plane, live, ask, reserved, arrival)
    headers = governed_headers(plane, reserved.hold, live.id, warnings)
    _say_governed(headers, ask, reserved)
    if passing.granted.stripped:
        headers["x-comptroller-stripped"] = passing.granted.stripped_header()
    if isinstance(sent, Whole):
        live.loops.withdraw(ask.request_digest)
        if sent.status != TOO_MANY:
            wait_s = retry_after_s(sent.headers.get("retry-after"))
            live.loops.upstream.failed(plane.clock.now_us(), wait_s, impatient=passing.impatient)
        return Whole(sent.status, {**headers, **sent.headers}, sent.body)
    headers.update(passable_headers(sent.reply.headers))
    if ask.stream and _is_event_stream(sent):
        relay = Relay(plane, caller.key_id, live, ask, reserved, sent, arrival.at_ns)
        return Streamed(200, {**headers, **_EVENT_STREAM}, relay.chunks(), relay.end)
    return await _complete(plane, caller, live, ask, reserved, sent, arrival, headers)


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


def _model(plane: Plane, caller: Caller, alias: str) -> Model:
    model = plane.catalog.models.get(alias)
    if model is None:
        known = tuple(usable_models(plane, caller, standing_context(plane, caller))[:5])
        advice = f" You may use: {', '.join(known)}." if known else ""
        text = f"Model '{alias[:100]}' is not served here.{advice}"
        raise Refused(Denial(Code.MODEL_UNKNOWN, text, alternatives=known, field="model"))
    return model


async def _session(plane: Plane, caller: Caller, arrival: Arrival) -> LiveSession:
    try:
        mark = mark_of(arrival.headers, arrival.body)
    except MarkRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The session id is refused: {error}.")) from error
    return await session_of(plane, caller, mark)


async def _context(
    plane: Plane, caller: Caller, arrival: Arrival, live: LiveSession, attribution: Attribution, *, stream: bool
) -> PolicyContext:
    """What conditions may look at; limit values are those before the hold (rule 21)."""
    now_us = plane.clock.now_us()
    used_ratio = await used_ratios(plane, attribution, live, now_us)
    call: dict[str, AttributeValue] = session_attributes(plane, live, now_us)
    call["model.name"] = attribution.model
    call["model.tier"] = attribution.model_tier
    call["model.provider"] = attribution.provider
    call["call.stream"] = stream
    for name, value in arrival.tags:
        call[f"call.tags.{name}"] = value
    return PolicyContext(caller.principal, call, local_time(now_us, plane.policy_zone), None, used_ratio)


async def _forward(
    plane: Plane, live: LiveSession, ask: ModelAsk, reserved: Reserved, arrival: Arrival
) -> Sent | Whole:
    """The upstream's reply; or its own refusal of the caller's request, with the hold given back."""
    try:
        if ask.stream and arrival.left is not None:
            return await forward_unless_left(plane, ask, reserved, arrival.left)
        return await forward_model(plane, ask, reserved)
    except ClientLeft:
        if reserved.turn is not None and reserved.turn.in_line:
            void_model(plane, reserved, "the client left while its call waited to be sent again", 499)
            raise
        await plane.background.shielded(_book_left(plane, live, ask, reserved, arrival.at_ns))
        raise
    except UpstreamSaidNo as said_no:
        void_model(plane, reserved, f"the upstream answered {said_no.status}", said_no.status)
        headers = {"content-type": said_no.content_type}
        if said_no.retry_after is not None:
            headers["retry-after"] = said_no.retry_after
        return Whole(said_no.status, headers, said_no.body)
    except Refused as refused:
        void_model(plane, reserved, refused.denial.code.value, 502)
        raise
    except BaseException:
        void_model(plane, reserved, "interrupted before an answer", 500)
        raise


async def _book_left(plane: Plane, live: LiveSession, ask: ModelAsk, reserved: Reserved, started_ns: int) -> None:
    """A stream whose client left before anything came: the provider has the prompt, so that is booked (rule 10)."""
    usage = await _estimate(plane, ask, reserved, {}, Outcome.CUT_BY_CLIENT.value)
    waited_us = (plane.clock.monotonic_ns() - started_ns) // 1000
    ended = Ended(Outcome.CUT_BY_CLIENT, usage, 0, 499, waited_us, None, None, ask.kind.value, stream=True)
    settle_model(plane, live, reserved, ended, started_ns)


def _is_event_stream(sent: Sent) -> bool:
    """Some servers answer in one piece whatever they are asked for. A type that says nothing may be a stream."""
    return not sent.reply.headers.get("content-type", "").startswith(("application/json", "text/html"))


async def _complete(  # noqa: PLR0917 - the whole of what a finished call is booked with
    plane: Plane,
    caller: Caller,
    live: LiveSession,
    ask: ModelAsk,
    reserved: Reserved,
    sent: Sent,
    arrival: Arrival,
    headers: dict[str, str],
) -> Whole:
    """A reply that comes whole. What the upstream already worked for is booked even if the reply is useless."""
    reply: Mapping[str, Any] = {}
    outcome, denial, body = Outcome.CUT_BY_UPSTREAM, None, b""
    usage: Usage | None = None
    bad = False
    try:
        body = await sent.reply.read()
        reply = _parsed(body)
        usage, bad = reply_usage(reply)
        outcome = Outcome.OK
        if ask.stream:
            text = "The provider does not stream; send the request without `stream`."
            denial = Denial(Code.UPSTREAM_INVALID, text)
    except UpstreamError as error:
        denial = upstream_denial(error)
    finally:
        # A reply that was read to its end holds no connection; closing it neither waits nor needs protection.
        if outcome is Outcome.OK:
            await sent.reply.close()
        else:
            await plane.background.shielded(sent.reply.close())
        if usage is None:
            reason = "usage_invalid" if bad else "no_usage" if outcome is Outcome.OK else outcome.value
            usage = await plane.background.shielded(_estimate(plane, ask, reserved, reply, reason))
        first_us = (plane.clock.monotonic_ns() - sent.sent_ns) // 1000
        tier = reply.get("service_tier")
        ended = Ended(
            outcome,
            usage,
            sent.place,
            200 if denial is None else 502,
            first_us,
            None,
            tier if isinstance(tier, str) else None,
            ask.kind.value,
            stream=ask.stream,
        )
        settled = settle_model(plane, live, reserved, ended, arrival.at_ns)
        calls = [call for message in reply_messages(reply) for call in reply_calls(message)]
        remember_reply(plane, caller.key_id, live, ask, usage, calls, outcome, reply_text(reply))
    if denial is not None:
        raise Refused(denial)
    headers["x-comptroller-cost-usd"] = format_usd(settled.posted.usd_micros)
    headers["content-type"] = "application/json"
    return Whole(200, headers, body)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamInvalid("the reply is not JSON") from None
    if not isinstance(reply, dict):
        raise UpstreamInvalid("the reply is not an object")
    return reply


async def _estimate(plane: Plane, ask: ModelAsk, reserved: Reserved, reply: Mapping[str, Any], reason: str) -> Usage:
    prompt = min(reserved.prompt_tokens, await counted_prompt(plane, ask))
    text = reply_text(reply)
    output = math.ceil(await plane.tokens.count([text]) * widest_factor(ask)) if text else 0
    return Usage(prompt, 0, 0, output, 0, estimated=reason)


def _say_governed(headers: dict[str, str], ask: ModelAsk, reserved: Reserved) -> None:
    if reserved.turn is not None and reserved.turn.waited_us:
        headers["x-comptroller-waited-ms"] = str(reserved.turn.waited_us // 1000)
    cap = reserved.size.send_cap
    if cap is not None:
        deployment = ask.model.deployments[0]
        headers["x-comptroller-clamped"] = f"{deployment.cap_field}={cap}"
