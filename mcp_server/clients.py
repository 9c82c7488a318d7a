"""The sessions of clients of the handshake era: who may still open one, and whom to tell that the tools changed.

The SDK keeps the sessions themselves and binds them to their key; it tells nobody when one is gone. So they are counted
here by what passes over HTTP, and forgotten when they were idle for longer than the SDK keeps them.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import anyio

TELL_TIMEOUT_S = 2.0


class Spoken(Protocol):
    """How the SDK speaks to a client."""

    async def send_tool_list_changed(self) -> None: ...


@dataclass(slots=True)
class ClientSession:
    key_id: str
    used_at: float
    requests_open: int = 0
    server_session: Spoken | None = None


class ClientSessions:
    """`on_end(session_id)` is told of every session that is over. `clock` is monotonic, in seconds."""

    def __init__(
        self, per_key_max: int, idle_s: float, clock: Callable[[], float], on_end: Callable[[str], None]
    ) -> None:
        self._per_key_max = per_key_max
        self._idle_s = idle_s
        self._clock = clock
        self._on_end = on_end
        self._sessions: dict[str, ClientSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def full(self, key_id: str) -> bool:
        """Whether a key has as many sessions open as it may."""
        self._forget_idle()
        return sum(session.key_id == key_id for session in self._sessions.values()) >= self._per_key_max

    def opened(self, session_id: str, key_id: str) -> None:
        self._sessions.setdefault(session_id, ClientSession(key_id, self._clock()))

    def enter(self, session_id: str) -> None:
        """A request of the session begins."""
        if (session := self._sessions.get(session_id)) is not None:
            session.requests_open += 1

    def leave(self, session_id: str) -> None:
        if (session := self._sessions.get(session_id)) is not None:
            session.requests_open -= 1
            session.used_at = self._clock()

    def attach(self, session_id: str, server_session: Spoken) -> None:
        """How the client is spoken to, from now on."""
        if (session := self._sessions.get(session_id)) is not None:
            session.server_session = server_session

    def ended(self, session_id: str) -> None:
        if self._sessions.pop(session_id, None) is not None:
            self._on_end(session_id)

    async def tell_tools_changed(self) -> None:
        """All clients at once; one that does not read holds up nobody."""
        self._forget_idle()
        told = [session.server_session for session in self._sessions.values() if session.server_session is not None]
        await asyncio.gather(*(_tell(session) for session in told))

    def _forget_idle(self) -> None:
        deadline = self._clock() - self._idle_s
        for session_id, session in list(self._sessions.items()):
            if not session.requests_open and session.used_at < deadline:
                self.ended(session_id)


async def _tell(session: Spoken) -> None:
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, TimeoutError):
        async with asyncio.timeout(TELL_TIMEOUT_S):
            await session.send_tool_list_changed()
