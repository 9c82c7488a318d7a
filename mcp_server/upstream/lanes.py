"""The sessions with one tool server, by lane: opened once, shared by all who wait, ended when idle."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.core.upstream import UpstreamFailed
from mcp_server.upstream.session import Session


@dataclass(slots=True)
class Lane:
    opening: asyncio.Task[Session]
    used_at: float

    @property
    def session(self) -> Session | None:
        done = self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None
        return self.opening.result() if done else None

    @property
    def failed(self) -> bool:
        return self.opening.done() and self.session is None


class Lanes:
    """`open_session(lane)` runs in a task of its own."""

    def __init__(
        self,
        open_session: Callable[[str], Awaitable[Session]],
        lanes_max: int,
        idle_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._open_session = open_session
        self._lanes_max = lanes_max
        self._idle_s = idle_s
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def has(self, lane: str) -> bool:
        """Whether the lane has a session, or one is being opened."""
        return lane in self._lanes and not self._lanes[lane].failed and not self.ended(lane)

    def ended(self, lane: str) -> bool:
        """Whether the lane's session was open and has ended."""
        session = self._lanes[lane].session if lane in self._lanes else None
        return session is not None and session.closed

    async def session(self, lane: str) -> Session:
        """Raises UpstreamError."""
        if not self.has(lane):
            self._forget(lane)
            self._make_room()
            self._lanes[lane] = Lane(asyncio.create_task(self._opened(lane)), self._clock())
        entry = self._lanes[lane]
        entry.used_at = self._clock()
        try:
            return await asyncio.shield(entry.opening)
        except asyncio.CancelledError:
            if entry.opening.cancelled():
                raise UpstreamFailed("the tool server is being stopped", sent=False) from None
            raise

    async def release(self, lane: str) -> None:
        self._forget(lane)

    async def close(self) -> None:
        for lane in list(self._lanes):
            self._forget(lane)
        while self._closing:
            await asyncio.wait(set(self._closing))

    async def _opened(self, lane: str) -> Session:
        return await self._open_session(lane)

    def _make_room(self) -> None:
        deadline = self._clock() - self._idle_s
        for name in [name for name, entry in self._lanes.items() if name and entry.used_at < deadline]:
            self._forget(name)
        if len(self._lanes) >= self._lanes_max:
            raise UpstreamFailed("too many sessions with this tool server at once", sent=False)

    def _forget(self, lane: str) -> None:
        entry = self._lanes.pop(lane, None)
        if entry is not None:
            task = asyncio.create_task(self._close(entry))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, entry: Lane) -> None:
        entry.opening.cancel()
        await asyncio.wait({entry.opening})
        if entry.session is not None:
            await entry.session.close()
