"""A stream on its way back: relayed as it comes, metered, governed, and settled however it ends.

Rules 1, 10, 32: events pass through byte for byte, only the usage chunk that we asked for ourselves is kept back; a
client that leaves closes the upstream at once and what was streamed is booked; our own end is an error event.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from gateway.core.denial import Code, Denial, Refused
from gateway.core.ledger import Outcome
from gateway.core.model_ask import ModelAsk
from gateway.core.retry_words import quiet_figures, quiet_words
from gateway.core.sse import SseTooLarge
from gateway.core.upstream import UpstreamError, UpstreamFailed, UpstreamInvalid
from gateway.core.usage import Usage
from gateway.core.wire.eventstream import FrameBroken
from gateway.core.wire.format import Framed, StreamEnd
from gateway.core.wire.neutral import Started
from gateway.core.wire.openai_reply import DONE
from gateway.pipeline.flights import Flight, FlightEnded
from gateway.pipeline.forward import Sent, upstream_denial
from gateway.pipeline.plane import Plane
from gateway.pipeline.remember import remember_reply
from gateway.pipeline.reserve import Reserved, counted_prompt
from gateway.pipeline.settle import Ended, settle_model
from gateway.pipeline.standing import pause_by_limit
from gateway.pipeline.topup import Governor
from gateway.pipeline.translate import BROKE_OFF, ProviderFailed, StreamTranslation

AFTER_DONE_S = 0.2


class Relay:
    """One stream between an upstream and a client."""

    def __init__(
        self,
        plane: Plane,
        key_id: str,
        flight: Flight,
        ask: ModelAsk,
        reserved: Reserved,
        sent: Sent,
        started_ns: int,
        *,
        quiet: bool = False,
    ) -> None:
        self._plane = plane
        self._quiet = quiet
        self._key_id = key_id
        self._flight = flight
        self._live = flight.live
        self._ask = ask
        self._reserved = reserved
        self._sent = sent
        self._started_ns = started_ns
        self._meter = sent.format.meter()
        self._ending = ask.format.ending()
        self._translation = None if sent.format is ask.format else _translation(ask, sent, self._ending, reserved)
        self._decoder = sent.format.decoder()
        self._governor = Governor(plane, reserved, self._meter, ask.model.token_factor, sent.deployment.upstream_model)
        self._outcome: Outcome | None = None
        self._done = False
        self._first_us: int | None = None
        self._ended = False
        self._cut_with: Denial | None = None
        self._estimating: asyncio.Task[Usage] | None = None
        flight.on_end = self._stopped

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes for the client."""
        upstream, flight = self._sent.reply.chunks(), self._flight
        try:
            flight.attend()
            async for data in upstream:
                out = self._take(data)
                # Cutting an answer whose end is here saves nothing.
                if not (self._done or self._governor.calm) and not await self._governor.go_on():
                    raise Refused(self._governor.denial())
                flight.look_away()
                if out:
                    yield out
                if self._done:
                    await self._read_out(upstream)
                    break
                flight.attend()
            else:
                flight.look_away()
                if out := self._passed(self._decoder.flush()):
                    yield out
                if self._translation is not None and self._complete and (out := self._translation.finish()):
                    yield out
            if not self._complete:
                raise UpstreamFailed(BROKE_OFF, sent=True)
            self._outcome = Outcome.OK
        except (Refused, UpstreamError, SseTooLarge, FrameBroken, asyncio.CancelledError) as error:
            async for last in self._cut(self._why(error)):
                yield last
        finally:
            # Protected from the cancellation that a leaving client causes: closing and booking must happen.
            await asyncio.shield(self._plane.background.spawn(self.end()))

    async def end(self) -> None:
        """Closes the upstream and books the call; harmless when repeated. For streams that were never started too."""
        if self._ended:
            return
        self._ended = True
        self._plane.flights.land(self._flight)
        # Both name each other: left so, every stream would be garbage that only the collector finds.
        self._flight.on_end = None
        outcome = self._outcome or (Outcome.OK if self._complete else Outcome.CUT_BY_CLIENT)
        try:
            await self._sent.reply.close()
        finally:
            try:
                self._settle(self._meter.reported or await self._estimated(outcome), outcome)
            finally:
                self._reserved.leave_turn(None)

    def _why(self, error: BaseException) -> Denial:
        """What the client is told of an end that is not the answer's own. Raises a cancellation that only tells that it
        left."""
        flight = self._flight
        if isinstance(error, asyncio.CancelledError):
            if not flight.interrupted() or flight.denial is None:
                raise error
            return flight.denial
        flight.look_away()
        if isinstance(error, FlightEnded):
            return error.denial
        if isinstance(error, Refused):
            self._outcome = Outcome.CUT_BY_LIMIT
            if self._governor.pauses:
                pause_by_limit(self._plane, self._live, error.denial, self._reserved.hold.attribution)
            return error.denial
        self._outcome = Outcome.CUT_BY_UPSTREAM
        if isinstance(error, ProviderFailed):
            return error.denial()
        if str(error) == BROKE_OFF:
            return Denial(Code.UPSTREAM_FAILED, BROKE_OFF)
        return upstream_denial(error if isinstance(error, UpstreamError) else UpstreamInvalid(str(error)))

    def _stopped(self) -> None:
        """The call was ended from outside. What it has cost is booked now: a client that reads slowly, or not at all,
        hears of it when it reads on."""
        if self._outcome is None and not self._done:
            self._outcome = Outcome.CUT_BY_STOP
            self._cut_with = self._flight.denial
            _ = self._plane.background.spawn(self.end())

    @property
    def _complete(self) -> bool:
        """Whether the whole answer was relayed: many clients hang up at `[DONE]`, not at the stream's end."""
        return self._done or self._meter.finished

    def _take(self, data: bytes) -> bytes:
        if self._first_us is None:
            self._first_us = self._elapsed_us()
        return self._passed(self._decoder.feed(data))

    def _passed(self, events: Sequence[Framed]) -> bytes:
        """What these events are to the client: themselves, or their translation."""
        if self._translation is not None:
            return b"".join([self._translated(event) for event in events])
        kept = [event.raw for event in events if self._keep(event)]
        if len(kept) == 1:
            return kept[0]
        return b"".join(kept)

    def _translated(self, event: Framed) -> bytes:
        assert self._translation is not None
        if not event.data:
            return b""
        if event.data == DONE:
            self._done = True
            return self._translation.finish()
        chunk = _chunk_of(event)
        self._meter.feed(chunk)
        return self._translation.feed(chunk)

    def _keep(self, event: Framed) -> bool:
        if not event.data:
            return True
        if event.data == DONE:
            self._done = True
            return True
        chunk = _chunk_of(event)
        if self._ending.watching:
            self._ending.saw(chunk)
        usage_only = self._meter.feed(chunk)
        return self._ask.include_usage or not usage_only

    async def _cut(self, denial: Denial) -> AsyncIterator[bytes]:
        """Our own end of a stream: usage first if it was asked for, then the error."""
        self._cut_with = self._cut_with or denial
        await self._sent.reply.close()
        if self._ask.include_usage and self._meter.reported is None and self._outcome is not None:
            yield self._ending.usage(await self._told(self._outcome))
        message: str = denial.message
        machine: Mapping[str, Any] = {**denial.machine(), "call": self._reserved.call_id}
        if self._quiet:
            message, machine = quiet_words(message), quiet_figures(machine)
        yield self._ending.error(message, denial.code.value, machine)

    async def _told(self, outcome: Outcome) -> Usage:
        """What the client reads. The first count of a process loads the tokenizer, which may take seconds: a person who
        stops a stream does not wait for that, so its client reads the bound."""
        if outcome is Outcome.CUT_BY_STOP and not self._plane.tokens.ready:
            return Usage(self._reserved.prompt_tokens, 0, 0, self._meter.bound, 0, estimated=outcome.value)
        return await self._estimated(outcome)

    async def _estimated(self, outcome: Outcome) -> Usage:
        """Made once, when no more is taken in: the event for the client and the books say the same."""
        if self._estimating is None:
            self._estimating = self._plane.background.spawn(self._estimate(outcome))
        return await asyncio.shield(self._estimating)

    async def _estimate(self, outcome: Outcome) -> Usage:
        reason = "usage_invalid" if self._meter.usage_bad else "no_usage" if outcome is Outcome.OK else outcome.value
        output, early = max(await self._governor.counted_output(), self._meter.output_told), self._meter.usage
        if early is not None and not self._meter.usage_bad:
            # A report from the middle of the answer is true for the prompt, and too low for what came after it.
            return replace(early, output_tokens=max(early.output_tokens, output), estimated=reason)
        prompt = min(self._reserved.prompt_tokens, await counted_prompt(self._plane, self._ask))
        return Usage(prompt, 0, 0, output, 0, estimated=reason)

    def _settle(self, usage: Usage, outcome: Outcome) -> None:
        ended = Ended(
            outcome=outcome,
            usage=usage,
            place=self._sent.place,
            status=200,
            upstream_us=(self._plane.clock.monotonic_ns() - self._sent.sent_ns) // 1000,
            first_byte_us=self._first_us,
            served_tier=self._meter.served_tier,
            kind=self._ask.kind.value,
            stream=True,
            denial=self._cut_with,
            media=self._meter.used,
        )
        try:
            settle_model(self._plane, self._live, self._reserved, ended, self._started_ns)
            remember_reply(self._plane, self._key_id, self._live, self._ask, usage, self._meter.tool_calls(), outcome)
        finally:
            self._plane.sessions.leave(self._live, self._plane.clock.now_us())

    def _elapsed_us(self) -> int:
        return (self._plane.clock.monotonic_ns() - self._started_ns) // 1000

    async def _read_out(self, upstream: AsyncIterator[bytes]) -> None:
        """Takes in the end of a reply after `[DONE]`, so that its connection can be used again. The answer is complete:
        an upstream that breaks or lingers now changes nothing about it; a report that comes so late is still true."""
        with suppress(TimeoutError, UpstreamError, SseTooLarge, orjson.JSONDecodeError):
            async with asyncio.timeout(AFTER_DONE_S):
                async for data in upstream:
                    for event in self._decoder.feed(data):
                        if event.data and isinstance(chunk := orjson.loads(event.data), dict):
                            self._meter.feed({"usage": chunk.get("usage")})


def _chunk_of(event: Framed) -> dict[str, Any]:
    try:
        chunk = orjson.loads(event.data)
    except orjson.JSONDecodeError:
        raise UpstreamInvalid("an event of the stream is not JSON") from None
    if not isinstance(chunk, dict):
        raise UpstreamInvalid("an event of the stream is not an object")
    return chunk


def _translation(ask: ModelAsk, sent: Sent, ending: StreamEnd, reserved: Reserved) -> StreamTranslation:
    request = ask.translated()
    declared = () if request is None else request.tools
    return StreamTranslation(
        ask.format,
        sent.format,
        ending,
        include_usage=ask.include_usage,
        declared=declared,
        unnamed=Started(reserved.call_id, ask.model.alias),
    )
