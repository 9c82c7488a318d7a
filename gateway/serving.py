"""The ASGI servers: Hypercorn by default, and uvicorn, which the extra `[fast]` makes fast (httptools). Both serve the
same application until told to stop, and neither logs requests: the canonical line does."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import uvicorn
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config as HypercornConfig
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from gateway.web.edge import AsgiApp

BACKLOG = 2048
HYPERCORN_KEEP_ALIVE_S = 75.0
GRACE_S = 3.0
HEAD_BYTES_SPARE = 32 * 1024
"""What a server takes in of a head above what the guard allows, so that it is the guard that refuses, in words."""


class CannotListen(Exception):
    """The text says where, and why not."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Which server, where; `port` 0 takes a free one. `header_bytes_max` is what the guard behind it lets pass."""

    kind: str
    host: str
    port: int
    header_bytes_max: int


class Door:
    """The address, taken before anything is made that can be shown only once, and closed until `open`: who calls before
    that is turned away by the system instead of kept waiting."""

    def __init__(self, serving: Serving) -> None:
        """Raises CannotListen."""
        self._serving = serving
        self.socket = socket.socket(socket.AF_INET6 if ":" in serving.host else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((serving.host, serving.port))
        except OSError as error:
            self.socket.close()
            raise self._refused(error) from error
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def open(self) -> None:
        """From now on callers are queued. Raises CannotListen if another process was quicker."""
        try:
            self.socket.listen(BACKLOG)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        self.socket.close()

    def _refused(self, error: OSError) -> CannotListen:
        return CannotListen(f"cannot listen on {self._serving.host}:{self._serving.port}: {error.strerror or error}")


async def listen(app: AsgiApp, serving: Serving, door: Door, now: asyncio.Event, ready: asyncio.Event) -> None:
    """Serves behind an open door until `now`; the node drains before that, while the server still answers."""
    head_bytes_max = serving.header_bytes_max + HEAD_BYTES_SPARE
    if serving.kind == "uvicorn":
        await _uvicorn(app, door.socket, head_bytes_max, now, ready)
    else:
        await _hypercorn(app, door.socket, head_bytes_max, now, ready)


async def _hypercorn(
    app: AsgiApp, bound: socket.socket, head_bytes_max: int, now: asyncio.Event, ready: asyncio.Event
) -> None:
    config = HypercornConfig()
    config.bind = [f"fd://{bound.detach()}"]  # Hypercorn closes it
    config.accesslog = config.errorlog = None
    config.keep_alive_timeout = HYPERCORN_KEEP_ALIVE_S
    config.graceful_timeout = GRACE_S
    config.include_server_header = config.include_date_header = False
    config.backlog = BACKLOG
    config.h11_max_incomplete_size = config.h2_max_header_list_size = head_bytes_max

    async def until_now() -> None:
        ready.set()
        await now.wait()

    application: Any = app
    await hypercorn_serve(application, config, shutdown_trigger=until_now, mode="asgi")


async def _uvicorn(
    app: AsgiApp, bound: socket.socket, head_bytes_max: int, now: asyncio.Event, ready: asyncio.Event
) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        http=_bounded(head_bytes_max),
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(GRACE_S),
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=head_bytes_max,
    )
    server = _Uvicorn(config, ready)
    # `serve` would take over our signals; what it does beside that is this.
    serving = asyncio.create_task(server._serve([bound]))
    stopping = asyncio.create_task(now.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


def _bounded(head_bytes_max: int) -> type[asyncio.Protocol]:
    """uvicorn's protocol, but a head that does not end is cut off: httptools would keep all of it."""
    base: Any = AutoHTTPProtocol

    class Bounded(base):  # type: ignore[misc]
        in_head = False
        head_bytes = 0

        def on_message_begin(self) -> None:
            self.in_head, self.head_bytes = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.in_head = False
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            if self.in_head:
                self.head_bytes += len(data)
                if self.head_bytes > head_bytes_max + len(data):
                    self.transport.abort()
                    return
            super().data_received(data)

    return Bounded


class _Uvicorn(uvicorn.Server):
    """Tells when it has begun to listen."""

    def __init__(self, config: uvicorn.Config, ready: asyncio.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()
