"""Walks the outbox: one task a channel, so that a dead receiver holds up nobody else.

At least once: an attempt is written down after it was made, so a crash between the two sends the same alert, under the
same id, again. What cannot be written down is tried again later for the same reason. Order is not promised.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.core.alert_delivery import RetryRules, Tried, after_attempt
from gateway.core.outbox import DeliveryState, DeliveryTried, DueDelivery, RaisedAlert
from gateway.ports import BooksUnavailable, Clock, Outbox

AT_A_TIME = 8
IDLE_S = 30.0
BOOKS_WAIT_S = 5.0


class Channel(Protocol):
    """One way out. `send` does not raise: what went wrong is in its answer."""

    @property
    def name(self) -> str: ...

    async def send(self, raised: RaisedAlert) -> Tried: ...

    async def close(self) -> None: ...


class Sender:
    """`before` is called before the outbox is read; `count` is told (channel, result) of every attempt."""

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        log: Any,
        before: Callable[[int], None],
        count: Callable[[str, str], None],
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._log = log
        self._before = before
        self._count = count
        self._channels: Mapping[str, Channel] = {}
        self._rules = RetryRules()
        self._locks: dict[str, asyncio.Lock] = {}
        self._changed = asyncio.Event()
        self._wake: dict[str, asyncio.Event] = {}

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self._channels)

    def configure(self, channels: Sequence[Channel], rules: RetryRules) -> list[Channel]:
        """Takes up new ways out; returns those before, to be closed when nothing uses them any more."""
        before = list(self._channels.values())
        self._channels = {channel.name: channel for channel in channels}
        self._rules = rules
        self._changed.set()
        self.wake()
        return before

    def wake(self) -> None:
        """Something new may be due."""
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._walk(name)) for name in self._channels]
                await self._changed.wait()
                for task in running:
                    task.cancel()

    async def round(self) -> None:
        """Everything that is due now, over all channels, tried once."""
        await asyncio.gather(*(self._send_due(name) for name in self._channels))

    async def tell_at_once(self, raised: RaisedAlert) -> None:
        """One attempt over every channel, past the outbox: for what is wrong with the books themselves."""
        await asyncio.gather(*(self._direct(channel, raised) for channel in self._channels.values()))

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def _direct(self, channel: Channel, raised: RaisedAlert) -> None:
        tried = await channel.send(raised)
        self._count(channel.name, "dead" if tried.error else "sent")
        if tried.error:
            self._log.warning("alert not sent", alert=raised.id, channel=channel.name, state="dead", error=tried.error)

    async def _walk(self, name: str) -> None:
        event = self._wake.setdefault(name, asyncio.Event())
        while True:
            event.clear()
            try:
                await self._send_due(name)
                next_us = await self._outbox.next_due_us(name)
                idle_s = IDLE_S if next_us is None else (next_us - self._clock.now_us()) / 1e6
            except BooksUnavailable:
                idle_s = BOOKS_WAIT_S
            except Exception as error:  # noqa: BLE001 - alerts are needed most when something is wrong
                self._log.error("alert sender failed", channel=name, error=type(error).__name__)
                idle_s = IDLE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), min(IDLE_S, max(0.0, idle_s)))

    async def _send_due(self, name: str) -> None:
        async with self._locks.setdefault(name, asyncio.Lock()):
            started_us = self._clock.now_us()
            self._before(started_us)
            while channel := self._channels.get(name):
                due = await self._outbox.due(name, started_us, AT_A_TIME)
                if not due:
                    return
                tried = await asyncio.gather(*(self._attempt(channel, each) for each in due))
                await self._outbox.tried(*tried)

    async def _attempt(self, channel: Channel, due: DueDelivery) -> DeliveryTried:
        tried = await channel.send(due.raised)
        chance = random.random()  # noqa: S311 - it spreads retries, it protects nothing
        now = after_attempt(due.delivery, tried, due.raised.last_at_us, self._clock.now_us(), chance, self._rules)
        self._count(channel.name, now.state.value if now.state is not DeliveryState.WAITING else "retry")
        facts = {"alert": due.raised.id, "channel": channel.name, "attempts": now.attempts}
        if now.state is DeliveryState.SENT:
            self._log.info("alert sent", **facts)
        else:
            self._log.warning("alert not sent", **facts, state=now.state.value, error=now.error)
        return DeliveryTried(due.raised.id, channel.name, now.state, now.attempts, now.due_us, now.error)
