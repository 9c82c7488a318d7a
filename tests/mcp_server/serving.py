"""The endpoint on a real socket, and clients of it: the SDK's in every era, and plain HTTP."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_server.front import McpFront
from mcp_server.mount import McpMount
from mcp_server.options import FrontOptions
from mcp_server.upstream.config import ServerConfig, UpstreamOptions
from tests.mcp_server.governed import TableGovernance

ROOT = Path(__file__).resolve().parents[2]
QUICK = UpstreamOptions(connect_timeout_s=2.0, listing_timeout_s=5.0, backoff_first_s=0.05, stop_grace_s=1.0)


def example(name: str = "notes", **more: Any) -> ServerConfig:
    """The server of examples/mcp_tools over stdio."""
    return program(name, "examples/mcp_tools/server.py", **more)


def program(name: str, path: str, *arguments: str, **more: Any) -> ServerConfig:
    return ServerConfig(name, "stdio", command=(sys.executable, str(ROOT / path), *arguments), **more)


def raw(name: str = "raw", *arguments: str, **more: Any) -> ServerConfig:
    return program(name, "tests/mcp_server/servers/raw.py", *arguments, **more)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def inner_app(scope: Any, receive: Any, send: Any) -> None:
    """What stands behind the mount; the lifespan is answered as Quart does."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"inner"})


@asynccontextmanager
async def hypercorn(app: Any, before_stop: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[str]:
    """The base URL of an app on Hypercorn, in this loop and on a real socket."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    port = listening.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.loglevel = "ERROR"
    config.graceful_timeout = 1.0
    config.use_reloader = False
    over = asyncio.Event()

    async def trigger() -> None:
        await over.wait()
        if before_stop is not None:
            await before_stop()

    task = asyncio.create_task(hypercorn_serve(app, config, shutdown_trigger=trigger, mode="asgi"))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        over.set()
        await task


class Gateway:
    """A running endpoint."""

    def __init__(self, url: str, front: McpFront, governance: TableGovernance) -> None:
        self.url = url
        self.front = front
        self.governance = governance

    @asynccontextmanager
    async def client(
        self,
        mode: Any = "auto",
        *,
        key: str = "secret-a",
        path: str = "/mcp",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> AsyncIterator[Client]:
        sent = {"authorization": f"Bearer {key}", **(headers or {})}
        async with httpx2.AsyncClient(headers=sent, timeout=30.0) as http:
            transport = streamable_http_client(f"{self.url}{path}", http_client=http)
            async with Client(transport, mode=mode, cache=None, **more) as client:
                yield client

    async def listed(self, **more: Any) -> list[str]:
        async with self.client(**more) as client:
            return [tool.name for tool in (await client.list_tools()).tools]


@asynccontextmanager
async def gateway(
    *configs: ServerConfig,
    governance: TableGovernance | None = None,
    options: FrontOptions | None = None,
    upstream: UpstreamOptions = QUICK,
) -> AsyncIterator[Gateway]:
    governance = governance or TableGovernance()
    front = McpFront(governance, configs, options, upstream)
    await front.start()
    try:
        async with hypercorn(McpMount(inner_app, front), front.drain) as url:
            yield Gateway(url, front, governance)
    finally:
        await front.stop()


@asynccontextmanager
async def over_http(*arguments: str) -> AsyncIterator[int]:
    """The port of servers/over_http.py as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "tests/mcp_server/servers/over_http.py"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def at_port(name: str, port: int, **more: Any) -> ServerConfig:
    return ServerConfig(name, "http", url=f"http://127.0.0.1:{port}/mcp", **more)
