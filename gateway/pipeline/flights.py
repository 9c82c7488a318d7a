"""Calls in flight, and how one is ended from outside: by a person, a loop verdict, a limit, the end of its key.

Rules: an end interrupts whatever the call waits for at that moment, so that nobody has to look out for it; a call ends
once, with the denial that it is answered with; what it has cost is booked all the same. Where a call is answered with a
denial although its hold is written, the row of its ending says so, and it gets no row of a denial beside that.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import IntEnum
from types import TracebackType
from typing import Any, TypeVar

from gateway.core.denial import Denial, Refused
from gateway.core.identity import VirtualKey
from gateway.pipeline.background import Background
from gateway.pipeline.sessions import LiveSession

T = TypeVar("T")


class Phase(IntEnum):
    """How far a call is: nothing of it is written; its hold may be; it may have reached its upstream."""

    WAITING = 0
    HELD = 1
    SENT = 2


class FlightEnded(Refused):
    """The call was ended from outside, in this phase."""

    def __init__(self, denial: Denial, phase: Phase) -> None:
        super().__init__(denial)
        self.phase = phase


class Flight:
    """One call in flight. `with flight:` lets an end interrupt what is awaited inside, which then raises FlightEnded;
    outside of it, `on_end` is all that learns of it at once. `denial` is set once it was ended."""

    __slots__ = ("_before", "_cancelling", "_task", "call_id", "denial", "key", "live", "on_end", "phase")

    def __init__(self, call_id: str, live: LiveSession, key: VirtualKey) -> None:
        self.call_id = call_id
        self.live = live
        self.key = key
        self.phase = Phase.WAITING
        self.denial: Denial | None = None
        self.on_end: Callable[[], None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._before = 0
        self._cancelling = False

    def end(self, denial: Denial) -> bool:
        """Takes effect in the loop's next turn. False = it was ended before."""
        if self.denial is not None:
            return False
        self.denial = replace(denial, call_id=self.call_id)
        if self.on_end is not None:
            self.on_end()
        if self._task is not None:
            self._cancelling = True
            self._task.cancel()
        return True

    def attend(self) -> None:
        """From here on an end cancels the running task. Raises FlightEnded if it has come already."""
        if self.denial is not None:
            raise FlightEnded(self.denial, self.phase)
        task = self._task = asyncio.current_task()
        if task is not None:
            self._before = task.cancelling()

    def look_away(self) -> None:
        """From here on an end cancels nothing: what is awaited is not the call's own."""
        task, self._task = self._task, None
        if self._cancelling and task is not None:
            # It came, and whatever was awaited ended before it was felt.
            self._cancelling = False
            task.uncancel()

    def interrupted(self) -> bool:
        """Whether the cancellation that has just arrived was an end of this call, and nothing but that."""
        task, self._task = self._task, None
        if not self._cancelling or task is None:
            return False
        self._cancelling = False
        return task.uncancel() <= self._before

    def __enter__(self) -> None:
        self.attend()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is asyncio.CancelledError and self.interrupted() and self.denial is not None:
            raise FlightEnded(self.denial, self.phase) from None
        self.look_away()

    async def outlived(
        self, background: Background, work: Coroutine[Any, Any, T], idle: Callable[[], bool] = lambda: False
    ) -> T:
        """The result of `work`, which runs on if its client leaves, or if the call is ended while `work` is not `idle`.
        Raises FlightEnded."""
        task: asyncio.Task[T] = background.spawn(work)
        try:
            with self:
                return await asyncio.shield(task)
        except FlightEnded:
            if idle():
                task.cancel()
            raise


class Flights:
    """All calls of this node that are in flight."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def board(self, call_id: str, live: LiveSession, key: VirtualKey) -> Flight:
        flight = self._flights[call_id] = Flight(call_id, live, key)
        return flight

    def land(self, flight: Flight) -> None:
        """Harmless when repeated."""
        self._flights.pop(flight.call_id, None)

    def holding(self, call_id: str) -> None:
        """The hold of this call is about to be written."""
        flight = self._flights.get(call_id)
        if flight is not None:
            flight.phase = Phase.HELD

    def refuse_ended(self, call_id: str) -> None:
        """Before each attempt: what was ended is sent nowhere any more. Raises FlightEnded."""
        flight = self._flights.get(call_id)
        if flight is not None and flight.denial is not None:
            raise FlightEnded(flight.denial, Phase.HELD)

    def end(self, verdict: Callable[[Flight], Denial | None]) -> int:
        """Ends every call for which the verdict is a denial; how many those were."""
        ended = 0
        for flight in list(self._flights.values()):
            if flight.denial is None and (denial := verdict(flight)) is not None:
                ended += flight.end(denial)
        return ended
