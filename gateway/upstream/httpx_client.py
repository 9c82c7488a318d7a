"""The `Upstream` port over httpx2: HTTP/2, SOCKS and corporate proxies; it costs several times the CPU of aiohttp.

Same rules as there. httpx knows one read timeout a request, so the bounds between chunks and over all are kept here.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

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
_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError)


class HttpxUpstream:
    """Create it inside the running event loop. `trust_env` takes up HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."""

    def __init__(self, *, http2: bool = False, proxy: str | None = None, trust_env: bool = False) -> None:
        self._client = httpx2.AsyncClient(
            http2=http2,
            proxy=proxy,
            trust_env=trust_env,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_S),
        )

    async def send(self, request: UpstreamRequest) -> "HttpxReply":
        deadline = asyncio.get_running_loop().time() + request.timeouts.total_s
        try:
            bounds = _bounds(request.timeouts)
            outgoing = _outgoing(request, bounds)
        except (httpx2.InvalidURL, ValueError, TypeError):
            raise _unwritable() from None
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(outgoing, stream=True, follow_redirects=False)
        except TimeoutError:
            raise UpstreamTimeout(Phase.TOTAL, sent=True) from None
        except _ERRORS as exc:
            raise _error_of(exc) from None
        bounds["read"] = None  # from here on the reply keeps the time; httpx looks the bound up again for the body
        reply = HttpxReply(response, request, deadline)
        if is_encoded(response.headers.get("content-encoding")):
            await reply.close()
            raise encoded_reply()
        return reply

    async def close(self) -> None:
        await self._client.aclose()


class HttpxReply:
    """A reply in progress."""

    def __init__(self, response: httpx2.Response, request: UpstreamRequest, deadline: float) -> None:
        self._response = response
        self._deadline = deadline
        self._idle_s = request.timeouts.idle_s
        self._bytes_left = request.reply_bytes_max
        self._headers: dict[str, str] | None = None
        self.status = response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = joined_headers(self._response.headers.raw)
        return self._headers

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        parts = self._response.aiter_raw()
        now = asyncio.get_running_loop().time
        while True:
            idle_until = now() + self._idle_s
            try:
                async with asyncio.timeout_at(min(idle_until, self._deadline)):
                    chunk = await anext(parts, None)
            except TimeoutError:
                phase = Phase.IDLE if idle_until < self._deadline else Phase.TOTAL
                raise UpstreamTimeout(phase, sent=True) from None
            except _ERRORS as exc:
                raise _error_of(exc) from None
            if chunk is None:
                return
            self._bytes_left -= len(chunk)
            if self._bytes_left < 0:
                await self.close()
                raise oversized_reply()
            yield chunk

    async def close(self) -> None:
        await self._response.aclose()


def _bounds(timeouts: Timeouts) -> dict[str, float | None]:
    return {
        "connect": timeouts.connect_s,
        "pool": timeouts.connect_s,
        "write": timeouts.first_byte_s,
        "read": timeouts.first_byte_s,
    }


def _outgoing(request: UpstreamRequest, bounds: dict[str, float | None]) -> httpx2.Request:
    """Built without the client, which would add headers of its own."""
    return httpx2.Request(
        request.method,
        _url(request.url),
        headers=[("accept-encoding", "identity"), *request.headers],
        content=request.body or None,
        extensions={"timeout": bounds},
    )


@lru_cache(maxsize=512)
def _url(url: str) -> httpx2.URL:
    return httpx2.URL(url)


def _unwritable() -> UpstreamFailed:
    return UpstreamFailed("the request to the upstream cannot be written as HTTP", sent=False)


def _error_of(exc: Exception) -> UpstreamError:
    """The client's exception as ours."""
    match exc:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return UpstreamTimeout(Phase.CONNECT, sent=False)
        case httpx2.TimeoutException():
            return UpstreamTimeout(Phase.FIRST_BYTE, sent=True)
        case httpx2.ConnectError() | httpx2.ProxyError() | httpx2.UnsupportedProtocol():
            return UpstreamFailed(f"could not connect to the upstream ({type(exc).__name__})", sent=False)
        case httpx2.LocalProtocolError() | httpx2.InvalidURL() | ValueError():
            return _unwritable()
    return UpstreamFailed(f"the connection to the upstream broke ({type(exc).__name__})", sent=True)
