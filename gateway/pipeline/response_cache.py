"""Answers of models that the operator lets be kept: the same request again is answered from memory, charged at zero.

A hit is a call like any other: identified, authorized, judged for loops, held and counted as a request, written down.
Only tokens and money are zero. Requests with tools are left out: what an agent does next must not be a memory.
"""

import hashlib
import json
from collections.abc import Awaitable, Mapping
from typing import NamedTuple

import orjson

from gateway.core.call import Arrival
from gateway.core.catalog import OUTPUT_TOKENS_ASSUMED
from gateway.core.estimate import Weight
from gateway.core.ledger import Outcome
from gateway.core.media import NO_MEDIA
from gateway.core.model_ask import CACHED, ModelAsk
from gateway.core.money import format_usd
from gateway.core.response_cache import CACHE, SAVED, CacheRules, circle
from gateway.core.usage import Usage
from gateway.pipeline.answer import Answer, Streamed, Whole, governed_headers
from gateway.pipeline.exchange import Passing
from gateway.pipeline.flights import Flight
from gateway.pipeline.kept_replies import KeptReply, Recording, nothing_to_close, played
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import Reserved
from gateway.pipeline.settle import Ended, settle_model

_LARGEST = 16
"""No reply takes more than this part of the memory."""
_KEPT_HEADERS = ("content-type", "x-comptroller-translated")
_NOTHING = Usage(0, 0, 0, 0, 0)


class Lookup(NamedTuple):
    """Where an answer is or will be kept. `ask` = the call as it is held where there is one, free but for a request;
    `keep` = whether a new answer may be kept."""

    at: str
    alias: str
    reply: KeptReply | None
    ask: ModelAsk
    keep: bool


def look_up(plane: Plane, arrival: Arrival, passing: Passing, *, declares_tools: bool) -> Lookup | None:
    """None = no answer to this request is kept or will be. A client that says `cache-control: no-cache` gets a new
    answer, one that says `no-store` leaves none behind."""
    rules, ask = passing.model.cache, passing.ask
    if rules is None or declares_tools or arrival.form is not None:
        return None
    wishes = arrival.headers.get("cache-control", "")
    at = _address(plane, rules, arrival, passing)
    reply = None
    if "no-cache" not in wishes and "no-store" not in wishes:
        reply = plane.responses.get(at, plane.clock.now_us() - rules.kept_for_us)
    return Lookup(at, passing.model.alias, reply, ask if reply is None else _free(ask), "no-store" not in wishes)


async def keeping(plane: Plane, found: Lookup, reserved: Reserved, answering: Awaitable[Answer]) -> Answer:
    """The answer, which is kept once it came whole and was booked as the provider reported it."""
    answer = await answering
    if answer.status != 200 or not found.keep or _shortened(found.ask, reserved):
        return answer
    answer.headers[CACHE] = "miss"
    bytes_max = plane.catalog.cache_bytes_max // _LARGEST
    if isinstance(answer, Whole):
        if len(answer.body) <= bytes_max:
            _keep(plane, found, reserved, answer.headers, (answer.body,), stream=False)
        return answer
    recording, close = Recording(bytes_max), answer.close

    async def closed() -> None:
        await close()
        parts = recording.chunks()
        if recording.complete and parts is not None:
            _keep(plane, found, reserved, answer.headers, parts, stream=True)

    return Streamed(answer.status, answer.headers, recording.passing(answer.chunks), closed)


def answer_kept(
    plane: Plane,
    flight: Flight,
    passing: Passing,
    reserved: Reserved,
    kept: KeptReply,
    arrival: Arrival,
    warnings: list[str],
) -> Answer:
    """Books a hit and gives the answer. Nothing waits in between."""
    live, ask = flight.live, passing.ask
    headers = governed_headers(plane, reserved.hold, live.id, warnings, ask.format.rates)
    ended = Ended(
        Outcome.OK,
        _NOTHING,
        0,
        200,
        0,
        None,
        None,
        ask.kind.value,
        stream=kept.stream,
        saved_usd_micros=kept.usd_micros,
    )
    settle_model(plane, live, reserved, ended, arrival.at_ns)
    live.used_model(ask.model.alias)
    parts = kept.chunks or ()
    live.loops.answered(ask.request_digest, kept.body_digest.encode(), plane.clock.now_us())
    headers |= {**kept.headers, CACHE: "hit", SAVED: format_usd(kept.usd_micros)}
    if kept.stream:
        return Streamed(200, headers, played(parts), nothing_to_close)
    headers["x-comptroller-cost-usd"] = format_usd(0)
    return Whole(200, headers, b"".join(parts))


def _shortened(ask: ModelAsk, reserved: Reserved) -> bool:
    """Whether this caller's budget left less room than was asked for: the next caller may have more."""
    cap, most = reserved.size.send_cap, ask.model.output_tokens_max or OUTPUT_TOKENS_ASSUMED
    return cap is not None and cap < min(ask.client_max_tokens or most, most)


def _keep(
    plane: Plane,
    found: Lookup,
    reserved: Reserved,
    headers: Mapping[str, str],
    parts: tuple[bytes, ...],
    *,
    stream: bool,
) -> None:
    rules = _rules_now(plane, found.alias)
    if rules is None or not reserved.reported:
        return
    said = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
    digest = hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
    now_us = plane.clock.now_us()
    reply = KeptReply(digest, reserved.call_id, now_us, 200, said, parts, stream, reserved.usd_micros)
    plane.responses.keep(found.at, reply, plane.catalog.cache_bytes_max)


def _rules_now(plane: Plane, alias: str) -> CacheRules | None:
    """A configuration that no longer keeps answers is not given one by a call that began before it."""
    model = plane.catalog.models.get(alias)
    return None if model is None else model.cache


def _address(plane: Plane, rules: CacheRules, arrival: Arrival, passing: Passing) -> str:
    """A digest over all that could make another answer, and over who may be given this one."""
    ask = passing.ask
    around = [circle(rules.shared_by, passing.attribution), plane.catalog.revision, ask.model.alias]
    around += [ask.format.name, ask.kind.value, ask.path, ask.stream, ask.headers]
    hashed = hashlib.blake2b(digest_size=16, key=plane.digest_key)
    hashed.update(orjson.dumps(around))
    hashed.update(_canonical(arrival.body))
    return hashed.hexdigest()


def _canonical(body: object) -> bytes:
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(body, sort_keys=True).encode("utf-8", "surrogatepass")


def _free(ask: ModelAsk) -> ModelAsk:
    """The same call, which sends nothing and is billed by nobody."""
    return ask._replace(
        prompt=ask.prompt._replace(weight=Weight(0, 0, 0)),
        texts=lambda: (),
        continues=None,
        client_max_tokens=None,
        produces_output=False,
        sliceable=False,
        thinking_tokens=0,
        uncounted=(),
        media=NO_MEDIA,
        free=CACHED,
    )
