"""The ASGI servers: Hypercorn by default, and uvicorn, which the extra `[fast]` makes fast (httptools). Both serve the
same application until told to stop, and neither logs requests: the canonical line does."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config as HypercornConfig

from gateway.web.edge import AsgiApp

BACKLOG = 2048
HYPERCORN_KEEP_ALIVE_S = 75.0
GRACE_S = 3.0


@dataclass(slots=True)
class Serving:
    """Which server, where. `bound_port` is known once the port is open (`port` 0 takes a free one)."""

    kind: str
    host: str
    port: int
    bound_port: int = field(default=0)


async def listen(app: AsgiApp, serving: Serving, stop: asyncio.Event, now: asyncio.Event, ready: asyncio.Event) -> None:
    """Serves until `now`; after `stop` the node drains while the server still answers. Raises OSError if the port is
    taken."""
    bound = _socket(serving)
    serving.bound_port = bound.getsockname()[1]
    try:
        if serving.kind == "uvicorn":
            await _uvicorn(app, bound, now, ready)
        else:
            await _hypercorn(app, bound, now, ready)
    finally:
        bound.close()


def _socket(serving: Serving) -> socket.socket:
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((serving.host, serving.port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


async def _hypercorn(app: AsgiApp, bound: socket.socket, now: asyncio.Event, ready: asyncio.Event) -> None:
    config = HypercornConfig()
    config.bind = [f"fd://{bound.detach()}"]  # Hypercorn closes it
    config.accesslog = config.errorlog = None
    config.keep_alive_timeout = HYPERCORN_KEEP_ALIVE_S
    config.graceful_timeout = GRACE_S
    config.include_server_header = config.include_date_header = False
    config.backlog = BACKLOG

    async def until_now() -> None:
        ready.set()
        await now.wait()

    application: Any = app
    await hypercorn_serve(application, config, shutdown_trigger=until_now, mode="asgi")


async def _uvicorn(app: AsgiApp, bound: socket.socket, now: asyncio.Event, ready: asyncio.Event) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        http="auto",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(GRACE_S),
        timeout_keep_alive=75,
    )
    server = _Uvicorn(config, ready)
    # `serve` would take over our signals; what it does beside that is this.
    serving = asyncio.create_task(server._serve([bound]))
    stopping = asyncio.create_task(now.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


class _Uvicorn(uvicorn.Server):
    """Tells when it has begun to listen."""

    def __init__(self, config: uvicorn.Config, ready: asyncio.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()
