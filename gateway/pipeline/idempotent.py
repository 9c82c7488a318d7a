"""A request with an Idempotency-Key: made once, charged once, answered as often as it comes.

Twins in flight wait for the first and get its reply. What comes later gets the kept reply; if that is gone, it is
refused with the name of the call, never made again. A call that cost nothing may be made again with the same key.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from gateway.core.denial import Denial, Refused
from gateway.core.idempotency import (
    HEADER,
    REPLAYED,
    KeyUsed,
    malformed,
    mismatch,
    reply_gone,
    well_formed,
)
from gateway.core.ledger import CallState
from gateway.pipeline.answer import Answer, Streamed, Whole
from gateway.pipeline.kept_replies import KeptReply, Recording, nothing_to_close, played
from gateway.pipeline.plane import Plane
from gateway.pipeline.replays import Address, Flight


async def once(
    plane: Plane,
    key_id: str,
    headers: Mapping[str, str],
    body: tuple[str, object],
    call_id: str,
    call: Callable[[], Awaitable[Answer]],
) -> Answer:
    """`body` is what is asked for, and its body. Raises Refused, BooksUnavailable and what `call` raises."""
    key = headers[HEADER]
    if not well_formed(key):
        raise Refused(malformed())
    at: Address = (key_id, _digest(plane, f"{key_id}\x00{key}".encode()))
    body_digest = _digest(plane, body[0].encode() + b"\x00" + _canonical(body[1]))
    while True:
        kept = plane.replays.kept(at, plane.clock.now_us())
        if kept is not None:
            return _replayed(kept, body_digest)
        flight = plane.replays.flight(at)
        if flight is None:
            break
        if flight.body_digest != body_digest:
            raise Refused(mismatch())
        result = await _landed(flight)
        if isinstance(result, Denial):
            raise Refused(result)
        if result is not None:
            return _replayed(result, body_digest)
    return await _first(plane, at, plane.replays.begin(at, body_digest), call_id, call)


async def _first(
    plane: Plane, at: Address, flight: Flight, call_id: str, call: Callable[[], Awaitable[Answer]]
) -> Answer:
    """Makes the call, unless the books know that it was made."""
    handed_over = False
    result: KeptReply | Denial | None = None
    try:
        await _refuse_if_made(plane, at, flight.body_digest)
        now_us = plane.clock.now_us()
        plane.replays.claims[call_id] = KeyUsed(*at, flight.body_digest, call_id, now_us)
        answer = await call()
        if isinstance(answer, Streamed):
            handed_over = True
            return _recorded(plane, at, flight, call_id, answer)
        result = _kept(plane, flight, call_id, answer)
        return answer
    except Refused as refused:
        result = refused.denial
        raise
    finally:
        plane.replays.claims.pop(call_id, None)
        if not handed_over:
            charged = isinstance(result, KeptReply) and result.status < 400
            plane.replays.land(at, flight, result, keep=charged)


async def _refuse_if_made(plane: Plane, at: Address, body_digest: str) -> None:
    earlier = await plane.made_calls.find(*at, plane.clock.now_us() - plane.replays.rules.kept_for_us)
    if earlier is None or earlier.state in (CallState.VOIDED, None):
        return
    if earlier.body_digest != body_digest:
        raise Refused(mismatch())
    raise Refused(reply_gone(earlier.call_id, earlier.state, earlier.usd_micros))


async def _landed(flight: Flight) -> KeptReply | Denial | None:
    """Whoever stops waiting does not stop the flight."""
    waiter = flight.done.get_loop().create_future()

    def tell(done: Any) -> None:
        if not waiter.done():
            waiter.set_result(done.result())

    flight.done.add_done_callback(tell)
    result: KeptReply | Denial | None = await waiter
    return result


def _replayed(kept: KeptReply, body_digest: str) -> Answer:
    if kept.body_digest != body_digest:
        raise Refused(mismatch())
    if kept.chunks is None:
        raise Refused(reply_gone(kept.call_id, CallState.SETTLED, None))
    headers = {**kept.headers, REPLAYED: "true"}
    if not kept.stream:
        return Whole(kept.status, headers, b"".join(kept.chunks))
    return Streamed(kept.status, headers, played(kept.chunks), nothing_to_close)


def _kept(plane: Plane, flight: Flight, call_id: str, answer: Whole) -> KeptReply:
    chunks = (answer.body,) if len(answer.body) <= plane.replays.rules.reply_bytes_max else None
    now_us = plane.clock.now_us()
    return KeptReply(flight.body_digest, call_id, now_us, answer.status, answer.headers, chunks, stream=False)


def _recorded(plane: Plane, at: Address, flight: Flight, call_id: str, answer: Streamed) -> Streamed:
    """A stream that is kept if it is read to its end; then its twins get it whole."""
    recording = Recording(plane.replays.rules.reply_bytes_max)

    async def close() -> None:
        result = None
        try:
            await answer.close()
            if recording.complete:
                now_us, parts = plane.clock.now_us(), recording.chunks()
                headers = answer.headers
                result = KeptReply(flight.body_digest, call_id, now_us, answer.status, headers, parts, stream=True)
        finally:
            plane.replays.land(at, flight, result, keep=True)

    return Streamed(answer.status, answer.headers, recording.passing(answer.chunks), close)


def _digest(plane: Plane, data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16, key=plane.digest_key).hexdigest()


def _canonical(body: object) -> bytes:
    """The same for bodies that say the same, whatever their spacing and the order of their names."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(body, sort_keys=True).encode("utf-8", "surrogatepass")
