"""One HTTP/1.1 connection to a provider: writes a request, reads one reply at a time, watches the clock with one timer.

Parsing is llhttp's (Node's parser, by httptools), which is strict about what tells one reply from the next. A reply
keeps what has arrived; when it is complete the connection is free for another call, read or not.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, NoReturn, Protocol

import httptools

from gateway.core.upstream import Phase, Timeouts, UpstreamError, UpstreamFailed, UpstreamTimeout
from gateway.upstream.replies import encoded_reply, is_encoded, joined_headers, oversized_reply

HEAD_BYTES_MAX = 64 * 1024
BUFFER_BYTES_MAX = 256 * 1024
_INFORMATIONAL = 200
_WITHOUT_BODY = (204, 304)


def broken(what: str) -> UpstreamFailed:
    return UpstreamFailed(f"the connection to the upstream broke ({what})", sent=True)


class Origin(NamedTuple):
    """Where a connection leads. `tls` = with a certificate that is valid for the host."""

    host: str
    port: int
    tls: bool


class Owner(Protocol):
    """Who keeps connections; told of what becomes of them."""

    def opened(self, connection: "Http1Connection") -> None: ...

    def freed(self, connection: "Http1Connection") -> None:
        """Its reply is complete: it can take another request."""

    def gone(self, connection: "Http1Connection") -> None: ...


class Http1Reply:
    """A reply in progress, from its headers on."""

    def __init__(self, connection: "Http1Connection", bytes_max: int, status: int) -> None:
        self.status = status
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self._headers: dict[str, str] | None = None
        self._connection: Http1Connection | None = connection
        self._bytes_left = bytes_max
        self._parts: list[bytes] = []
        self._buffered = 0
        self._error: UpstreamError | None = None
        self._complete = False
        self._waiter: asyncio.Future[None] | None = None
        self._whole = False

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = joined_headers(self.raw_headers)
        return self._headers

    async def read(self) -> bytes:
        self._whole = True
        if self._connection is not None:
            self._connection.resume()
        while not self._complete and self._error is None:
            await self._wait()
        if self._error is not None:
            raise self._error
        return self._take()

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            while not self._parts:
                if self._error is not None:
                    raise self._error
                if self._complete:
                    return
                await self._wait()
            yield self._take()

    async def close(self) -> None:
        """Before the end of the body this drops the connection: the provider is to stop working."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def feed(self, body: bytes) -> bool:
        """Takes in a part of the body. False = it is larger than allowed."""
        self._bytes_left -= len(body)
        if self._bytes_left < 0:
            return False
        self._parts.append(body)
        if not self._whole:
            self._buffered += len(body)
            if self._buffered > BUFFER_BYTES_MAX and self._connection is not None:
                self._connection.pause()
            self._wake()
        return True

    def ended(self, error: UpstreamError | None) -> None:
        """The body is complete (None), or nothing more of it will come."""
        self._connection = None
        if error is None:
            self._complete = True
        elif self._error is None:
            self._error = error
        self._wake()

    def _take(self) -> bytes:
        parts = self._parts
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered = 0
        if self._connection is not None:
            self._connection.resume()
        return taken

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Http1Connection(asyncio.Protocol):
    """Takes one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: Origin, owner: Owner) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._loop = loop
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._head: asyncio.Future[Http1Reply] | None = None
        self._reply: Http1Reply | None = None
        self._head_bytes = 0
        self._reply_bytes_max = 0
        self._until_close = False
        self._paused = False
        self._timeouts = Timeouts()
        self._started = self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._lost: UpstreamError | None = None
        self._fault: UpstreamError | None = None

    @property
    def usable(self) -> bool:
        """Whether a request can be written to it now."""
        return self._lost is None and self._transport is not None and not self._transport.is_closing()

    async def send(self, head: bytes, body: bytes, timeouts: Timeouts, bytes_max: int, started: float) -> Http1Reply:
        """The reply as soon as its headers are here. `started` (loop time) is when the call began, for the total."""
        transport = self._transport
        if transport is None or self._lost is not None:
            raise broken("it was closed")
        self._timeouts, self._reply_bytes_max = timeouts, bytes_max
        self._head_bytes = 0
        self._started, self._heard = started, self._loop.time()
        waiting: asyncio.Future[Http1Reply] = self._loop.create_future()
        self._head = waiting
        self._arm()
        transport.write(head + body if len(body) < BUFFER_BYTES_MAX else head)
        if len(body) >= BUFFER_BYTES_MAX:
            transport.write(body)
        try:
            return await waiting
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Drops the connection at once; closing would flush and, over TLS, wait for the peer."""
        self._end(broken("it was closed"))

    def pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._heard = self._loop.time()  # a pause that the reader made is none of the provider's
            self._transport.resume_reading()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # a stream transport
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        in_head = self._reply is None
        if in_head:  # a head that drips has no more time than one that comes at once
            if self._head is None:
                self._end(broken("the upstream spoke without being asked"))
                return
            self._head_bytes += len(data)
        else:
            self._heard = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(self._fault or broken("what came is not HTTP"))
            return
        if not in_head:
            return
        if self._reply is not None and self._timeouts.idle_s < self._timeouts.first_byte_s:
            self._disarm()  # the running timer has the longer bound
            self._arm()
        elif self._head is not None and self._head_bytes > HEAD_BYTES_MAX:
            self._end(broken("the head of the reply is too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.gone(self)
        if self._reply is not None and self._until_close and exc is None and self._lost is None:
            reply, self._reply = self._reply, None
            self._end(broken("it was closed"))
            reply.ended(None)
            return
        self._end(broken("it was closed" if exc is None else type(exc).__name__))

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        raw, self._raw_headers = self._raw_headers, []
        head = self._head
        if status < _INFORMATIONAL:
            return
        if sum(len(name) + len(value) for name, value in raw) > HEAD_BYTES_MAX:
            self._refuse(broken("the head of the reply is too large"))
        if head is None or self._reply is not None:
            self._refuse(broken("a second reply came"))
        reply = Http1Reply(self, self._reply_bytes_max, status)
        reply.raw_headers = raw
        framed = False
        for name, value in raw:
            lower = name.lower()
            if lower == b"content-encoding" and is_encoded(value.decode("latin-1")):
                self._refuse(encoded_reply())
            framed = framed or lower in (b"content-length", b"transfer-encoding")
        self._until_close = not framed and status not in _WITHOUT_BODY
        self._head, self._reply = None, reply
        self._heard = self._loop.time()
        if not head.done():
            head.set_result(reply)

    def on_body(self, body: bytes) -> None:
        if self._reply is not None and not self._reply.feed(body):
            self._refuse(oversized_reply())

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is None:  # an informational one
            return
        self._reply = None
        self._disarm()
        keeps = self._parser.should_keep_alive()
        self.resume()
        reply.ended(None)
        if keeps and self.usable:
            self._owner.freed(self)
        else:
            self._end(broken("it was closed"))

    def _refuse(self, error: UpstreamError) -> NoReturn:
        """Ends the parsing from within; the parser would hide what it was ended with."""
        self._fault = error
        raise error

    # Time and end.

    def _arm(self) -> None:
        bounds = self._timeouts
        pause_s = bounds.first_byte_s if self._reply is None else bounds.idle_s
        at = min(self._heard + pause_s, self._started + bounds.total_s)
        self._timer = self._loop.call_at(at, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        """One timer a call: what arrives only notes the time, which a stream does thousands of times."""
        now, bounds = self._loop.time(), self._timeouts
        self._timer = None
        if now >= self._started + bounds.total_s:
            self._end(UpstreamTimeout(Phase.TOTAL, sent=True))
            return
        if self._paused:
            self._heard = now
        phase, pause_s = (Phase.FIRST_BYTE, bounds.first_byte_s) if self._reply is None else (Phase.IDLE, bounds.idle_s)
        if now >= self._heard + pause_s:
            self._end(UpstreamTimeout(phase, sent=True))
            return
        self._arm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, error: UpstreamError) -> None:
        """No more comes over this connection: whoever waits is told, once."""
        if self._lost is None:
            self._lost = error
        self._disarm()
        head, reply = self._head, self._reply
        self._head = self._reply = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if head is not None and not head.done():
            head.set_exception(error)
        if reply is not None:
            reply.ended(error)
