"""The `Upstream` port over HTTP/1.1 connections of our own: what the data plane forwards with by default.

It knows what forwarding needs and nothing else: no redirects, cookies, proxies, compression or retries. Connections are
kept by origin and used again, the latest first; a request is written once, and a failure says whether it may have
reached the provider.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from gateway.core.upstream import Phase, UpstreamFailed, UpstreamRequest, UpstreamTimeout
from gateway.upstream.http1_connection import Http1Connection, Http1Reply, Origin

KEEPALIVE_S = 30.0
"""Below the idle bounds of the usual load balancers (60 s), so that they rarely close first."""
_ATTEMPT_DELAY_S = 0.25  # RFC 8305 section 5: how long one address is tried alone
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-~]+")
_BODILESS = ("GET", "DELETE")
_BROKEN_VALUE = re.compile(r"[\x00\r\n]")


class Http1Upstream:
    """Create it inside the running event loop."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ssl = ssl_context
        self._idle: dict[Origin, list[Http1Connection]] = {}
        self.open: set[Http1Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: UpstreamRequest) -> Http1Reply:
        started = self._loop.time()
        origin, head = _head_of(request.method, request.url, request.headers)
        if request.body or request.method not in _BODILESS:
            head = b"%scontent-length: %d\r\n\r\n" % (head, len(request.body))
        else:
            head += b"\r\n"
        connection = self._kept(origin)
        if connection is None:
            connection = await self._connect(origin, request.timeouts.connect_s)
        return await connection.send(head, request.body, request.timeouts, request.reply_bytes_max, started)

    async def close(self) -> None:
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for connection in tuple(self.open):
            connection.abort()

    def freed(self, connection: Http1Connection) -> None:
        """A reply is complete: its connection can take another call."""
        if self._closed:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEEPALIVE_S, self._sweep)

    def opened(self, connection: Http1Connection) -> None:
        self.open.add(connection)

    def gone(self, connection: Http1Connection) -> None:
        self.open.discard(connection)

    def _kept(self, origin: Origin) -> Http1Connection | None:
        """The connection that was used last, so that those beyond the need grow old."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.usable and connection.idle_since > self._loop.time() - KEEPALIVE_S:
                return connection
            connection.abort()
        return None

    def _sweep(self) -> None:
        oldest = self._loop.time() - KEEPALIVE_S
        for origin, kept in tuple(self._idle.items()):
            fresh = [connection for connection in kept if connection.usable and connection.idle_since > oldest]
            for connection in kept:
                if connection not in fresh:
                    connection.abort()
            if fresh:
                self._idle[origin] = fresh
            else:
                del self._idle[origin]
        self._sweeping = self._loop.call_later(KEEPALIVE_S, self._sweep) if self._idle else None

    async def _connect(self, origin: Origin, connect_s: float) -> Http1Connection:
        try:
            async with asyncio.timeout(connect_s):
                return await self._reach(origin)
        except TimeoutError:
            raise UpstreamTimeout(Phase.CONNECT, sent=False) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise UpstreamFailed(f"could not connect to the upstream: {reason}", sent=False) from None

    async def _reach(self, origin: Origin) -> Http1Connection:
        if self._closed:
            raise UpstreamFailed("the upstream client is closed", sent=False)
        addresses = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        connected = await start_connection(addresses, happy_eyeballs_delay=_ATTEMPT_DELAY_S, loop=self._loop)
        try:
            _, connection = await self._loop.create_connection(
                lambda: Http1Connection(self._loop, origin, self),
                sock=connected,
                ssl=self._context() if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
        except BaseException:
            connected.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        """Loading the system's certificates takes 20 ms, so it is done once, and only where TLS is spoken."""
        if self._ssl is None:
            self._ssl = ssl.create_default_context()
            self._ssl.set_alpn_protocols(["http/1.1"])
        return self._ssl


@lru_cache(maxsize=512)
def _head_of(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> tuple[Origin, bytes]:
    """The head of a request up to where the length of its body belongs. Kept: a provider's are the same for each call.
    Raises UpstreamFailed for what cannot be written as HTTP."""
    try:
        parts = urlsplit(url)
        host, port, tls = parts.hostname, parts.port, parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fine = (
            bool(host)
            and parts.scheme in _DEFAULT_PORTS
            and parts.username is None
            and bool(_TOKEN.fullmatch(method))
            and bool(_TARGET.fullmatch(target))
            and all(_TOKEN.fullmatch(name) and not _BROKEN_VALUE.search(value) for name, value in headers)
        )
        if not fine or host is None:
            raise ValueError
        named = f"[{host}]" if ":" in host else host
        authority = named if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{named}:{port}"
        fields = (("host", authority), ("accept-encoding", "identity"), *headers)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        return Origin(host, port or _DEFAULT_PORTS[parts.scheme], tls), ("\r\n".join(lines) + "\r\n").encode("latin-1")
    except ValueError:
        raise UpstreamFailed("the request to the upstream cannot be written as HTTP", sent=False) from None
