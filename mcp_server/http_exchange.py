"""One HTTP exchange of streamable HTTP: a request goes out, JSON-RPC messages come back, as one body or as events.

Rule: no reply is trusted in size; every failure of the client is one of the core's upstream errors, without the text of
the reply or any credential in it. Redirects are not followed: what is sent was configured for that address.
"""

import http.cookiejar
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx2
import orjson

from gateway.core.upstream import Phase, UpstreamFailed, UpstreamInvalid, UpstreamTimeout
from mcp_server.upstream.wire import Message

ACCEPT = "application/json, text/event-stream"
ERROR_BODY_MAX = 64 * 1024


def make_client(headers: Mapping[str, str], *, connect_timeout_s: float, connections_max: int) -> httpx2.AsyncClient:
    """A client that holds no cookies, reads no proxy or netrc settings, and leaves the total time to its caller."""
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return httpx2.AsyncClient(
        headers=dict(headers),
        cookies=no_cookies,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(None, connect=connect_timeout_s, pool=connect_timeout_s),
        limits=httpx2.Limits(max_connections=connections_max, max_keepalive_connections=32, keepalive_expiry=15.0),
    )


@dataclass(slots=True)
class Cursor:
    """Where a stream of events stands, to go on from there after a break."""

    event_id: str | None = None
    retry_s: float = 1.0


class Reply:
    """The answer to one request: its head is there, its messages are still to come."""

    def __init__(self, response: httpx2.Response, bytes_max: int) -> None:
        self._response = response
        self._bytes_max = bytes_max
        self.status: int = response.status_code
        self.headers: httpx2.Headers = response.headers

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def body(self, bytes_max: int | None = None) -> bytes:
        """The whole body. Raises UpstreamInvalid beyond the cap."""
        cap = self._bytes_max if bytes_max is None else bytes_max
        body = bytearray()
        with translated():
            async for chunk in self._response.aiter_bytes():
                body += chunk
                if len(body) > cap:
                    raise UpstreamInvalid(f"the reply is larger than {cap} bytes")
        return bytes(body)

    async def messages(self, cursor: Cursor | None = None) -> AsyncIterator[Message]:
        """The JSON-RPC messages in the order of their coming. Raises UpstreamInvalid where they are not such."""
        if self.status == 202:
            return
        if self.content_type == "application/json":
            yield parse_message(await self.body())
        elif self.content_type == "text/event-stream":
            source = httpx2.EventSource(self._response, max_event_size=self._bytes_max)
            with translated():
                async for event in source:
                    if cursor is not None:
                        cursor.event_id = event.id or cursor.event_id
                        cursor.retry_s = cursor.retry_s if event.retry is None else event.retry / 1000
                    if event.data and event.event == "message":
                        yield parse_message(event.data.encode())
        else:
            raise UpstreamInvalid("the reply is neither JSON nor a stream of events")


@asynccontextmanager
async def exchange(
    client: httpx2.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    bytes_max: int,
    message: Message | None = None,
) -> AsyncIterator[Reply]:
    """Sends one request and yields its reply; leaving the block closes the stream, which is how MCP cancels."""
    sent = {"accept": ACCEPT, **headers}
    content = None
    if message is not None:
        content = orjson.dumps(message)
        sent["content-type"] = "application/json"
    request = client.build_request(method, url, headers=sent, content=content)
    with translated():
        response = await client.send(request, stream=True)
    try:
        yield Reply(response, bytes_max)
    finally:
        await response.aclose()


def parse_message(text: bytes) -> Message:
    """One JSON-RPC message. Raises UpstreamInvalid."""
    try:
        message = orjson.loads(text)
    except ValueError:
        raise UpstreamInvalid("the reply is not valid JSON") from None
    if not isinstance(message, dict):
        raise UpstreamInvalid("the reply is not one JSON-RPC message")
    return message


@contextmanager
def translated() -> Iterator[None]:
    """Failures of the client as upstream errors; what may have gone out counts as sent."""
    try:
        yield
    except httpx2.ConnectTimeout:
        raise UpstreamTimeout(Phase.CONNECT, sent=False) from None
    except httpx2.PoolTimeout:
        raise UpstreamFailed("too many calls of this tool server at once", sent=False) from None
    except (httpx2.ConnectError, httpx2.UnsupportedProtocol):
        raise UpstreamFailed("no connection to the tool server", sent=False) from None
    except httpx2.SSEError:
        raise UpstreamInvalid("the stream of events is broken or an event of it too large") from None
    except (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError):
        raise UpstreamFailed("the connection to the tool server broke", sent=True) from None
