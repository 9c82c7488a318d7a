"""The HTTP requests that are open at the endpoint, by key: what would outlive a revoked key or a stopping server.

Rule: ending a request ends its reply in good form; a client sees a stream that is over, not one that broke.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Stream:
    """One open request. `lasting`: it only waits for events, so that stopping need not wait for it.

    `on_session` hears the MCP session that a successful reply names, before the client does.
    """

    def __init__(self, key_id: str, send: Send, on_session: Callable[[str], None], *, lasting: bool) -> None:
        self.key_id = key_id
        self.lasting = lasting
        self.status: int | None = None
        self._send = send
        self._on_session = on_session
        self._finished = False
        self._scope = anyio.CancelScope()

    def end(self) -> None:
        self._scope.cancel()

    async def run(self, serve: Callable[[Send], Awaitable[None]]) -> bool:
        """Whether it ran to its own end. If not, a reply that had begun is finished here; one that had not is due."""
        with self._scope:
            await serve(self._forward)
        if not self._scope.cancelled_caught:
            return True
        if self.status is not None and not self._finished:
            await self._forward({"type": "http.response.body", "body": b"", "more_body": False})
        return self.status is not None

    async def _forward(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message.get("headers", ()):
                if name.lower() == b"mcp-session-id" and message["status"] < 400:
                    self._on_session(value.decode("latin-1"))
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._finished = True
        await self._send(message)


class Streams:
    """At most `per_key_max` requests of one key are open at once."""

    def __init__(self, per_key_max: int) -> None:
        self._per_key_max = per_key_max
        self._open: dict[str, set[Stream]] = {}
        self._none_open = asyncio.Event()
        self._none_open.set()

    def __len__(self) -> int:
        return sum(len(streams) for streams in self._open.values())

    def open(self, key_id: str, send: Send, on_session: Callable[[str], None], *, lasting: bool) -> Stream | None:
        """None if the key has too many open already."""
        streams = self._open.setdefault(key_id, set())
        if len(streams) >= self._per_key_max:
            return None
        stream = Stream(key_id, send, on_session, lasting=lasting)
        streams.add(stream)
        self._none_open.clear()
        return stream

    def forget(self, stream: Stream) -> None:
        streams = self._open[stream.key_id]
        streams.discard(stream)
        if not streams:
            del self._open[stream.key_id]
        if not self._open:
            self._none_open.set()

    async def none_open(self, timeout_s: float) -> bool:
        """Waits until no request is open; False if some still were after the time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._none_open.wait()
        except TimeoutError:
            return False
        return True

    def open_keys(self) -> tuple[str, ...]:
        """Those with a request open."""
        return tuple(self._open)

    def end_key(self, key_id: str) -> int:
        """Ends all of a key; how many those were."""
        streams = list(self._open.get(key_id, ()))
        for stream in streams:
            stream.end()
        return len(streams)

    def end_all(self, *, lasting_only: bool) -> None:
        for streams in list(self._open.values()):
            for stream in list(streams):
                if stream.lasting or not lasting_only:
                    stream.end()
