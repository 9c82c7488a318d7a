"""The mid-stream governor: a sliced stream gets its next slice ahead of need, or ends when the last one is used up.

Rule 5: top-ups take token and money limits only, all or none, and are durable by group commit; the stream waits for one
only if its slice is empty; bytes suffice as the meter while they stay within the hold, then text is counted.
"""

import asyncio
import math
from dataclasses import replace

from gateway.core.budget import amounts_by_unit, refusal
from gateway.core.denial import Code, Denial
from gateway.core.estimate import token_factor
from gateway.core.ledger import Amounts, HoldRaised
from gateway.core.sizing import Draw, money_for
from gateway.core.wire.metering import Meter
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import Reserved, books_unavailable, pauses_session
from gateway.ports import BooksUnavailable

SLICE_USEFUL_MIN = 16
_OF_OUTPUT = frozenset({Draw.TOKENS, Draw.OUTPUT, Draw.MONEY})


class Governor:
    """Watches one stream. `held` counts output tokens; `pauses` = the limit that ended it pauses the session."""

    def __init__(self, plane: Plane, reserved: Reserved, meter: Meter, factor: float | None, model: str) -> None:
        self._plane = plane
        self._reserved = reserved
        self._meter = meter
        self._factor = factor or token_factor(model)
        self._slice = reserved.size.slice_tokens
        self._bounded = any(b.hard and b.draw in _OF_OUTPUT for b in reserved.hold.bindings)
        self.held = reserved.size.output_tokens
        self._trigger = self.held - self.held // 2
        self._raising: asyncio.Task[None] | None = None
        self._unwritten = False
        self.pauses = False
        self._loading = False

    @property
    def calm(self) -> bool:
        """Whether nothing needs to be done: the usual case, checked for every chunk of a stream."""
        if not self._slice:
            return self._meter.events <= self.held or not self._bounded
        if self._meter.bound <= self._trigger:
            return True
        return self._all_held() and self._meter.events <= self.held

    async def go_on(self) -> bool:
        """Whether what was metered is covered by the hold; waits for the next slice if the current one is used up."""
        if not self._slice:
            return not await self._ignores_cap()
        if self._all_held():
            return self._meter.events <= self.held
        await self._recount()
        if self._meter.bound <= self._trigger:
            return True
        while not self._all_held():
            before = self.held
            if self._raising is None:
                self._raising = asyncio.create_task(self._raise())
            if self._meter.bound < self.held:
                return True
            # What came at once may be more than one slice.
            await asyncio.shield(self._raising)
            if self.held == before:
                # Bytes are only a bound: what is counted may still be within the slice, and it ends when it is used up.
                await self._recount()
                return self._meter.bound < self.held
        return self._meter.events <= self.held

    async def counted_output(self) -> int:
        """What was streamed, counted: what a stream without a report is booked with."""
        await self._recount(wait=True)
        return self._meter.bound

    def denial(self) -> Denial:
        """Why the stream ends here."""
        now_us = self._plane.clock.now_us()
        hold = self._reserved.hold
        if not self._slice:
            text = "The provider went on beyond the maximum that it was sent with this request."
            return Denial(Code.UPSTREAM_INVALID, text, call_id=hold.call_id)
        short = self._plane.limiter.lacking(hold, self._more(SLICE_USEFUL_MIN), now_us)
        # What this very stream holds is as good as spent: waiting for it would never end.
        own = amounts_by_unit(hold.ask)
        short = tuple(
            replace(s, spent=s.spent + own[s.limit.unit_index], held=s.held - own[s.limit.unit_index]) for s in short
        )
        if not short and self._unwritten:
            return replace(books_unavailable(), call_id=hold.call_id)
        if not short:
            text = "This answer used up the output that its limits had room for when it began."
            return Denial(Code.BUDGET_EXHAUSTED, text, call_id=hold.call_id)
        denial = refusal(short, now_us, self._plane.pace.remaining_s())
        self.pauses = pauses_session(denial, short)
        return denial

    async def _ignores_cap(self) -> bool:
        """Whether more came than was held in full and sent as the cap. Events alone do not tell: some servers send a
        token in several; nor does text by the factor of its family, which is an upper bound."""
        await self._recount(wait=True)
        return self._meter.text_bound > self.held * self._factor

    def _all_held(self) -> bool:
        """Whether all that the upstream may produce under the cap we sent is held: then the cap ends the stream."""
        return self.held >= self._reserved.size.ceiling_tokens

    async def _recount(self, *, wait: bool = False) -> None:
        if not self._plane.tokens.ready and not wait:
            # Waiting would let the upstream run on far beyond the hold; the next slices will be counted.
            if not self._loading:
                self._loading = True
                _ = self._plane.background.spawn(self._plane.tokens.count(["x"]))
            return
        text = self._meter.uncounted()
        if text:
            tokens = await self._plane.tokens.count([text])
            self._meter.counted(text, math.ceil(tokens * self._factor))

    def _more(self, tokens: int) -> Amounts:
        return Amounts(output_tokens=tokens, usd_micros=money_for(tokens, self._reserved.output_pico_usd))

    async def _raise(self) -> None:
        """Takes the next slice, or the largest part of it that there is room for."""
        try:
            wanted = min(self._slice, self._reserved.size.ceiling_tokens - self.held)
            least = min(wanted, SLICE_USEFUL_MIN)
            while wanted >= least:
                if await self._take(wanted):
                    return
                wanted //= 2
        finally:
            self._raising = None

    async def _take(self, tokens: int) -> bool:
        plane, hold = self._plane, self._reserved.hold
        now_us = plane.clock.now_us()
        more = self._more(tokens)
        if not hold.open or not plane.limiter.top_up(hold, more, now_us):
            return False
        try:
            await plane.books.commit(HoldRaised(hold.call_id, now_us, hold.ask.amounts))
        except BooksUnavailable:
            self._unwritten = True
            if hold.open:
                plane.limiter.shrink(hold, more)
            return False
        self._unwritten = False
        self.held += tokens
        self._trigger = self.held - min(tokens, self._slice) // 2
        return True
