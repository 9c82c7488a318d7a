"""From a hold to an answer: the call goes to its upstream, and what comes back is relayed or read, and booked.

Rule 10: a stream ends with its client; a call that does not stream runs on whoever waits for it, and books the real
usage. What is ended from outside before anything came is booked with its prompt.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from gateway.core.attribution import Attribution
from gateway.core.call import Arrival, Caller
from gateway.core.catalog import Deployment, Model
from gateway.core.denial import Code, Denial, Refused
from gateway.core.ledger import Outcome
from gateway.core.media import Media
from gateway.core.model_ask import ModelAsk
from gateway.core.money import format_usd
from gateway.core.reply_headers import passable_headers
from gateway.core.retry_words import asks_again_at_numbers
from gateway.core.upstream import UpstreamError, UpstreamInvalid
from gateway.core.usage import Usage
from gateway.core.wire.neutral import Started
from gateway.pipeline.answer import Answer, ClientLeft, Streamed, Whole, governed_headers
from gateway.pipeline.authorize import (
    Granted,
)
from gateway.pipeline.flights import Flight, FlightEnded, Phase
from gateway.pipeline.forward import Sent, UpstreamSaidNo, forward_model, forward_unless_left, upstream_denial
from gateway.pipeline.loops import TOO_MANY, retry_after_s
from gateway.pipeline.plane import Plane
from gateway.pipeline.relay import Relay
from gateway.pipeline.remember import remember_reply
from gateway.pipeline.reserve import Reserved, counted_prompt, widest_factor
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.settle import Ended, settle_model, void_model
from gateway.pipeline.translate import left_out, translated_refusal, translated_reply

_JSON: Final = "application/json"
_UNBUFFERED: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Passing(NamedTuple):
    """A call that may pass to a model. `impatient` = it comes too soon after one that its upstream failed; `route` = by
    which rule it came here from the alias `routed_from`."""

    model: Model
    attribution: Attribution
    granted: Granted
    ask: ModelAsk
    impatient: bool
    routed_from: str = ""
    route: str = ""


def leave(plane: Plane, flight: Flight) -> None:
    plane.flights.land(flight)
    plane.sessions.leave(flight.live, plane.clock.now_us())


async def exchange(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    flight: Flight,
    passing: Passing,
    reserved: Reserved,
    warnings: list[str],
) -> Answer:
    """From the upstream to the answer. A call that does not stream runs on to its settlement whoever waits for it, so
    that what the provider works for is booked as it reports it (rule 10)."""
    answer: Answer | None = None
    try:
        answer = await _answer(plane, caller, arrival, flight, passing, reserved, warnings)
        return answer
    finally:
        if not isinstance(answer, Streamed):
            leave(plane, flight)
            reserved.leave_turn(None)


async def _answer(
    plane: Plane,
    caller: Caller,
    arrival: Arrival,
    flight: Flight,
    passing: Passing,
    reserved: Reserved,
    warnings: list[str],
) -> Answer:
    ask, live = passing.ask, flight.live
    sent = await _forward(plane, flight, ask, reserved, arrival)
    headers = governed_headers(plane, reserved.hold, live.id, warnings, ask.format.rates)
    _say_governed(headers, ask, reserved, ask.model.deployments[0] if isinstance(sent, Whole) else sent.deployment)
    if passing.route:
        headers["x-comptroller-routed"] = f"route={passing.route};from={passing.routed_from};to={passing.model.alias}"
    if passing.granted.stripped:
        headers["x-comptroller-stripped"] = passing.granted.stripped_header()
    if isinstance(sent, Whole):
        live.loops.withdraw(ask.request_digest)
        if sent.status != TOO_MANY:
            wait_s = retry_after_s(sent.headers.get("retry-after"))
            live.loops.upstream.failed(plane.clock.now_us(), wait_s, impatient=passing.impatient)
        return Whole(sent.status, {**headers, **sent.headers}, sent.body)
    headers.update(passable_headers(sent.reply.headers))
    if sent.format is not ask.format:
        request = ask.translated()
        hints = "" if request is None else ",".join(left_out(sent.format, request))
        headers["x-comptroller-translated"] = f"to={sent.format.name};left_out={hints}"
    if ask.stream and _is_event_stream(sent):
        quiet = asks_again_at_numbers(arrival.headers)
        relay = Relay(plane, caller.key_id, flight, ask, reserved, sent, arrival.at_ns, quiet=quiet)
        headers["content-type"] = ask.format.stream_type
        return Streamed(200, {**headers, **_UNBUFFERED}, relay.chunks(), relay.end)
    return await _complete(plane, caller, flight, ask, reserved, sent, arrival, headers)


async def _forward(plane: Plane, flight: Flight, ask: ModelAsk, reserved: Reserved, arrival: Arrival) -> Sent | Whole:
    """The upstream's reply; or its own refusal of the caller's request, with the hold given back."""
    try:
        if not ask.stream:
            return await forward_model(plane, ask, reserved)
        with flight:
            if arrival.left is not None:
                return await forward_unless_left(plane, ask, reserved, arrival.left)
            return await forward_model(plane, ask, reserved)
    except ClientLeft:
        if reserved.in_line():
            void_model(plane, reserved, "the client left while its call waited to be sent again", 499)
            raise
        ended = _book_left(plane, flight.live, ask, reserved, arrival.at_ns, Outcome.CUT_BY_CLIENT)
        await plane.background.shielded(ended)
        raise
    except FlightEnded as stopped:
        if stopped.phase is Phase.HELD or reserved.in_line():
            void_model(plane, reserved, "ended while it waited to be sent again", 499)
            raise
        ended = _book_left(plane, flight.live, ask, reserved, arrival.at_ns, Outcome.CUT_BY_STOP, flight.denial)
        await plane.background.shielded(ended)
        raise
    except UpstreamSaidNo as said_no:
        void_model(plane, reserved, f"the upstream answered {said_no.status}", said_no.status)
        headers, content = {"content-type": said_no.content_type, **said_no.headers}, said_no.body
        if said_no.format is not ask.format:
            content = translated_refusal(ask.format, said_no.format, said_no.status, content)
            headers["content-type"] = "application/json"
            headers.pop("x-amzn-errortype", None)
        return Whole(said_no.status, headers, content)
    except Refused as refused:
        void_model(plane, reserved, refused.denial.code.value, 502)
        raise
    except BaseException:
        void_model(plane, reserved, "interrupted before an answer", 500)
        raise


async def _book_left(
    plane: Plane,
    live: LiveSession,
    ask: ModelAsk,
    reserved: Reserved,
    started_ns: int,
    outcome: Outcome,
    denial: Denial | None = None,
) -> None:
    """A stream that ended before anything came: the provider has the prompt, so that is booked (rule 10)."""
    usage = await _estimate(plane, ask, reserved, "", outcome.value)
    waited_us = (plane.clock.monotonic_ns() - started_ns) // 1000
    ended = Ended(outcome, usage, 0, 499, waited_us, None, None, ask.kind.value, stream=True, denial=denial)
    settle_model(plane, live, reserved, ended, started_ns)


def _is_event_stream(sent: Sent) -> bool:
    """Some servers answer in one piece whatever they are asked for. A type that says nothing may be a stream."""
    return not sent.reply.headers.get("content-type", "").startswith(("application/json", "text/html"))


async def _complete(  # noqa: PLR0917 - the whole of what a finished call is booked with
    plane: Plane,
    caller: Caller,
    flight: Flight,
    ask: ModelAsk,
    reserved: Reserved,
    sent: Sent,
    arrival: Arrival,
    headers: dict[str, str],
) -> Whole:
    """A reply that comes whole. What the upstream already worked for is booked even if the reply is useless."""
    outcome, denial, body = Outcome.CUT_BY_UPSTREAM, None, b""
    replies, read = sent.format.replies, _Read({}, None, False, "", ask.media)
    try:
        body = await sent.reply.read()
        read = _read(ask, reserved, sent, body)
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
        usage = read.usage
        if usage is None:
            reason = "usage_invalid" if read.bad else "no_usage" if outcome is Outcome.OK else outcome.value
            usage = await plane.background.shielded(_estimate(plane, ask, reserved, read.text, reason))
        first_us = (plane.clock.monotonic_ns() - sent.sent_ns) // 1000
        stopped = flight.denial is not None and outcome is Outcome.OK
        if stopped:
            outcome = Outcome.CUT_BY_STOP
        ended = Ended(
            outcome,
            usage,
            sent.place,
            200 if denial is None else 502,
            first_us,
            None,
            replies.tier(read.reply),
            ask.kind.value,
            stream=ask.stream,
            denial=flight.denial if stopped else None,
            media=read.media,
        )
        settled = settle_model(plane, flight.live, reserved, ended, arrival.at_ns)
        calls = replies.calls(read.reply)
        remember_reply(plane, caller.key_id, flight.live, ask, usage, calls, outcome, read.text)
    if denial is not None:
        raise Refused(denial)
    headers["x-comptroller-cost-usd"] = format_usd(settled.posted.usd_micros)
    headers["content-type"] = _JSON if sent.format.task is None else sent.reply.headers.get("content-type", _JSON)
    return Whole(200, headers, _for_client(ask, sent, read.reply, body, reserved.call_id))


class _Read(NamedTuple):
    """What a whole reply says: `usage` None = to be estimated, `bad` = it reports what cannot be true."""

    reply: Mapping[str, Any]
    usage: Usage | None
    bad: bool
    text: str
    media: Media


def _read(ask: ModelAsk, reserved: Reserved, sent: Sent, body: bytes) -> _Read:
    """Raises UpstreamInvalid."""
    task, replies = sent.format.task, sent.format.replies
    if task is None:
        reply = _parsed(body)
        usage, bad = replies.usage(reply)
        return _Read(reply, usage, bad, replies.text(reply), replies.used(reply))
    try:
        result = task.reply(body, sent.reply.headers.get("content-type", ""), ask.media)
    except ValueError:
        raise UpstreamInvalid("the reply is not what was asked for") from None
    usage, media = result.usage, result.media
    if not result.bad and reserved.rates[sent.place].rates.media.covers(ask.media):
        # A model that is billed by a unit is not billed by tokens.
        usage = Usage(0, 0, 0, 0, 0, estimated="no_usage" if media is None else None)
    return _Read({}, usage, result.bad, result.text, ask.media if media is None else media)


def _for_client(ask: ModelAsk, sent: Sent, reply: Mapping[str, Any], body: bytes, call_id: str) -> bytes:
    """The reply as it came, or in the format that the client speaks."""
    if sent.format is ask.format:
        return body
    request = ask.translated()
    declared = () if request is None else request.tools
    return translated_reply(ask.format, sent.format, reply, declared, Started(call_id, ask.model.alias))


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamInvalid("the reply is not JSON") from None
    if not isinstance(reply, dict):
        raise UpstreamInvalid("the reply is not an object")
    return reply


async def _estimate(plane: Plane, ask: ModelAsk, reserved: Reserved, text: str, reason: str) -> Usage:
    prompt = min(reserved.prompt_tokens, await counted_prompt(plane, ask))
    output = math.ceil(await plane.tokens.count([text]) * widest_factor(ask)) if text else 0
    if ask.media.images or ask.media.sound_out:
        # Nothing of it is text; what was held for it is the stated estimate.
        output = reserved.size.output_tokens
    sound_in = min(prompt, ask.media.sound_tokens)
    sound_out = output if ask.media.sound_out else 0
    return Usage(prompt, 0, 0, output, 0, sound_in, sound_out, estimated=reason)


def _say_governed(headers: dict[str, str], ask: ModelAsk, reserved: Reserved, deployment: Deployment) -> None:
    if reserved.turn is not None and reserved.turn.waited_us:
        headers["x-comptroller-waited-ms"] = str(reserved.turn.waited_us // 1000)
    cap = reserved.size.send_cap
    if cap is not None:
        headers["x-comptroller-clamped"] = f"{ask.format.cap_field or deployment.cap_field}={cap}"
