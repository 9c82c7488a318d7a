"""The bare relay: ASGI in, aiohttp out, nothing decided, held or recorded. What a governed call is compared with.

Runs on any ASGI server, e.g. `uvicorn benchmarks.relay_asgi:app`; the upstream's URL stands in `BENCH_UPSTREAM_URL`.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

UPSTREAM_VARIABLE = "BENCH_UPSTREAM_URL"
FORWARDED = frozenset({b"content-type", b"accept", b"authorization"})


class Relay:
    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._relay(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._client.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _relay(self, scope: Message, receive: Receive, send: Send) -> None:
        assert self._client is not None
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"] if name in FORWARDED}
        url = self._upstream_url + scope["path"]
        async with self._client.request(scope["method"], url, data=body or None, headers=headers) as reply:
            head: Message = {"type": "http.response.start", "status": reply.status}
            content_type = reply.headers.get("content-type", "application/octet-stream")
            head["headers"] = [(b"content-type", content_type.encode())]
            if content_type.startswith("text/event-stream"):
                await send(head)
                async for piece in reply.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            else:
                whole = await reply.read()
                head["headers"].append((b"content-length", str(len(whole)).encode()))
                await send(head)
                await send({"type": "http.response.body", "body": whole})


app = Relay(os.environ.get(UPSTREAM_VARIABLE, "http://127.0.0.1:9101"))
