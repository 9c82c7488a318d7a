"""The `Upstream` port over aiohttp: what the data plane forwards with by default.

Rules: what goes out is what was asked for; nothing is retried but what HTTP itself calls idempotent; no error text or
traceback holds a URL (some providers take keys in the query). One session serves all calls of the process.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from gateway.core.upstream import (
    Phase,
    Timeouts,
    UpstreamError,
    UpstreamFailed,
    UpstreamRequest,
    UpstreamTimeout,
)
from gateway.upstream.replies import encoded_reply, is_encoded, joined_headers, oversized_reply

_KEEPALIVE_S = 30.0  # below the idle bounds of the usual load balancers (60 s), so that they rarely close first
_READ_BUFFER_BYTES = 256 * 1024
_NO_CEILING_S = 1e9  # aiohttp rounds timers above this up to whole seconds; ours are kept as they are
_ERRORS = (aiohttp.ClientError, OSError, ValueError)
_EXACT = frozenset({"accept", "user-agent", "content-type"})  # never added by the client itself


class AiohttpUpstream:
    """Create it inside the running event loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_EXACT,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        self._readers: dict[asyncio.Future[None], AiohttpReply] = {}  # by the future that tells of the connection's end

    async def send(self, request: UpstreamRequest) -> "AiohttpReply":
        try:
            response = await self._session.request(
                request.method,
                _url(request.url),
                headers=(("accept-encoding", "identity"), *request.headers),
                data=request.body or None,
                allow_redirects=False,
                timeout=_client_timeout(request.timeouts),
            )
        except _ERRORS as exc:
            raise _error_of(exc, Phase.FIRST_BYTE) from None
        reply = AiohttpReply(response, request)
        connection = response.connection
        if connection is not None and connection.protocol is not None:  # not yet the whole body
            self._watch(connection.protocol, reply, request.timeouts)
        if is_encoded(response.headers.get("content-encoding")):
            await reply.close()
            raise encoded_reply()
        return reply

    async def close(self) -> None:
        await self._session.close()

    def _watch(self, protocol: ResponseHandler, reply: "AiohttpReply", timeouts: Timeouts) -> None:
        """Bounds the pauses of a body, and tells its reader of a lost connection.

        aiohttp 3.14 does not always: after broken chunk framing the reader would sleep until the total bound.
        """
        if timeouts.idle_s != timeouts.first_byte_s:
            protocol.read_timeout = timeouts.idle_s
            protocol.start_timeout()  # the running timer still has the old bound
        ended = protocol.closed
        if ended is None:
            reply.connection_lost()
            return
        if ended not in self._readers:
            ended.add_done_callback(self._connection_lost)
        self._readers[ended] = reply

    def _connection_lost(self, ended: asyncio.Future[None]) -> None:
        if not ended.cancelled():
            ended.exception()  # asyncio complains of an exception that nobody looks at
        self._readers.pop(ended).connection_lost()


class AiohttpReply:
    """A reply in progress."""

    def __init__(self, response: aiohttp.ClientResponse, request: UpstreamRequest) -> None:
        self._response = response
        self._bytes_left = request.reply_bytes_max
        self._headers: dict[str, str] | None = None
        self.status = response.status

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = joined_headers(self._response.raw_headers)
        return self._headers

    async def read(self) -> bytes:
        parts = []
        while chunk := await self._next():
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._next():
            yield chunk

    def connection_lost(self) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError())

    async def _next(self) -> bytes:
        """What has arrived, at least one byte; empty at the end of the body."""
        content = self._response.content
        if content.at_eof():
            return b""
        try:
            chunk = await content.readany()
        except _ERRORS as exc:
            raise _error_of(exc, Phase.IDLE) from None
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            await self.close()
            raise oversized_reply()
        return chunk

    async def close(self) -> None:
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()  # close() would flush and, over TLS, wait for the peer
        self._response.close()


@lru_cache(maxsize=512)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _client_timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    """aiohttp's `sock_read` runs from the sent request to the first byte, and later between chunks."""
    return aiohttp.ClientTimeout(
        total=timeouts.total_s,
        connect=timeouts.connect_s,
        sock_read=timeouts.first_byte_s,
        ceil_threshold=_NO_CEILING_S,
    )


def _error_of(exc: Exception, reading: Phase) -> UpstreamError:
    """The client's exception as ours; `reading` is what a silent socket is called at this point."""
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamTimeout(Phase.CONNECT, sent=False)
        case aiohttp.SocketTimeoutError():
            return UpstreamTimeout(reading, sent=True)
        case asyncio.TimeoutError():
            return UpstreamTimeout(Phase.TOTAL, sent=True)
        case aiohttp.ClientConnectorError():
            return UpstreamFailed(f"could not connect to the upstream: {exc.os_error.strerror}", sent=False)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            return UpstreamFailed("the request to the upstream cannot be written as HTTP", sent=False)
    return UpstreamFailed(f"the connection to the upstream broke ({type(exc).__name__})", sent=True)
