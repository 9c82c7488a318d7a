"""The outermost ASGI application: the guard for every request, and the fast lane for hot ones.

Quart owns all routes; a request for a hot route skips Quart's request context and reaches the same handler with the
same `Request`. Rules: a client that leaves cancels a stream (which settles it) but not a call that does not stream;
whatever happens, a stream's `close` is awaited.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from gateway.core.denial import Code, Denial, Refused
from gateway.pipeline.answer import Answer, ClientLeft, Streamed, Whole
from gateway.web.encoding import encoding_of, plain_body
from gateway.web.errors import refusal
from gateway.web.exchange import Request, headers_of
from gateway.web.face import Face
from gateway.web.fronts import front_of
from gateway.web.guard import objection
from gateway.web.hot import HotRoutes
from gateway.web.patience import Patience
from gateway.web.run import answer_to

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIMEOUT_S = 30.0
UPGRADE_REQUIRED = 426


class Edge:
    """`hot` are the routes that may skip Quart; `inner` is Quart's own ASGI application."""

    def __init__(self, face: Face, inner: AsgiApp, hot: HotRoutes) -> None:
        self._face = face
        self._inner = inner
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        raw = dict(scope["headers"])
        refused = objection(scope["headers"], raw, scope["path"], self._face.header_bytes_max)
        if refused is not None:
            closing = refusal(refused, front_of(scope["path"], headers_of(raw)))
            closing.headers["connection"] = "close"
            await send_whole(send, closing)
            return
        found = self._hot.find(scope["method"], scope["path"])
        if found is None:
            await self._inner(scope, receive, send)
            return
        request = request_of(self._face, scope, raw, receive, found.parameters)
        try:
            answer = await answer_to(self._face, found.handler, request)
        except ClientLeft:
            return
        await send_answer(answer, receive, send)


def request_of(
    face: Face, scope: Scope, raw: Mapping[bytes, bytes], receive: Receive, parameters: Mapping[str, str]
) -> Request:
    clock = face.plane.clock
    client = scope.get("client")

    async def read_body() -> bytes:
        content = await read_whole(receive, face.body_bytes_max, raw.get(b"content-length"))
        return await plain_body(content, encoding_of(raw.get(b"content-encoding")), face.body_bytes_max)

    return Request(
        method=scope["method"],
        path=scope["path"],
        raw_query=scope["query_string"],
        headers=headers_of(raw),
        client=client[0] if client else "",
        at_us=clock.now_us(),
        at_ns=clock.monotonic_ns(),
        read_body=read_body,
        parameters=parameters,
        left=lambda: _gone(receive),
    )


async def read_whole(receive: Receive, bytes_max: int, declared: bytes | None) -> bytes:
    """The body. Raises Refused (too large, too slow) and ClientLeft."""
    if declared is not None and declared.isdigit() and int(declared) > bytes_max:
        raise Refused(_too_large(bytes_max))
    try:
        with Patience(BODY_TIMEOUT_S):
            return await _read(receive, bytes_max)
    except TimeoutError:
        text = f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s."
        raise Refused(Denial(Code.REQUEST_MALFORMED, text)) from None


async def _read(receive: Receive, bytes_max: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        if len(body) + len(part) > bytes_max:
            raise Refused(_too_large(bytes_max))
        if not message.get("more_body"):
            return bytes(body + part) if body else bytes(part)
        body += part


async def send_answer(answer: Answer, receive: Receive, send: Send) -> None:
    if isinstance(answer, Whole):
        # A client that left does not undo a call; there is only nobody to tell.
        with suppress(OSError):
            await send_whole(send, answer)
        return
    await send_streamed(answer, receive, send)


async def send_whole(send: Send, answer: Whole) -> None:
    headers = [(b"content-length", b"%d" % len(answer.body)), *encoded(answer.headers)]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """426 to every upgrade: it makes clients that prefer WebSockets go on over HTTP at once (research: clients 2)."""
    while (await receive())["type"] != "websocket.connect":
        pass
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    text = "WebSockets are not served here; send the request over HTTP."
    answer = refusal(Denial(Code.ROUTE_UNKNOWN, text))
    headers = [(b"content-length", b"%d" % len(answer.body)), (b"upgrade", b"HTTP/1.1"), *encoded(answer.headers)]
    await send({"type": "websocket.http.response.start", "status": UPGRADE_REQUIRED, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})


async def send_streamed(answer: Streamed, receive: Receive, send: Send) -> None:
    """Relays a stream until it ends or the client leaves."""
    relaying = asyncio.create_task(_relay(answer, send))
    watching = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((relaying, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        relaying.cancel()
        try:
            with suppress(asyncio.CancelledError, OSError):
                await relaying
        finally:
            await answer.close()


async def _relay(answer: Streamed, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded(answer.headers)})
    async for chunk in answer.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """ASGI headers; line ends cannot occur in a value, whatever it was made from."""
    found = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    together = b"".join([value for _, value in found])
    if b"\n" in together or b"\r" in together:
        return [(name, value.replace(b"\r", b" ").replace(b"\n", b" ")) for name, value in found]
    return found


def _too_large(bytes_max: int) -> Denial:
    return Denial(Code.REQUEST_TOO_LARGE, f"The body is larger than {bytes_max} bytes.")
