"""The application: a node that is opened, served and closed in order.

SIGHUP reloads; the first SIGTERM or SIGINT drains (readiness 503, streams finish, holds settle) and ends, a second one
ends at once, and the next start settles what was cut.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

import uvloop

from gateway.serving import Door, Serving, listen
from gateway.settings import Loaded
from gateway.web.edge import AsgiApp
from gateway.web.face import Face
from gateway.wiring.face import asgi_of, face_of
from gateway.wiring.first_run import FirstRun, first_run
from gateway.wiring.housekeeping import Housekeeper
from gateway.wiring.node import Node, open_node


@dataclass(frozen=True, slots=True)
class Application:
    """A node with its face; `asgi` is what a server runs."""

    node: Node
    face: Face
    asgi: AsgiApp
    keeper: Housekeeper


@asynccontextmanager
async def opened(loaded: Loaded, *, tools: bool = True, log_to: BinaryIO | None = None) -> AsyncIterator[Application]:
    """An application that serves as long as the context lasts. `tools=False` starts no tool servers: for commands that
    only look at the books. Raises what `open_node` raises."""
    node = await open_node(loaded, log_to=log_to)
    working: list[asyncio.Task[None]] = []
    try:
        keeper = Housekeeper(node, dict(os.environ))
        face = face_of(node, keeper)
        if tools:
            await node.front.start()
            working = [asyncio.create_task(keeper.run()), asyncio.create_task(node.alerting.sender.run())]
        yield Application(node, face, asgi_of(node, face), keeper)
    finally:
        for task in working:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await node.close()


def serve(
    loaded: Loaded, *, host: str | None, port: int | None, server: str | None, announce: Callable[[FirstRun, str], None]
) -> int:
    """Serves until told to stop; returns the exit code. `announce` is called once the port is open, with what a first
    start made (empty otherwise) and the address. Raises CannotListen, and what `open_node` raises."""
    settings = loaded.settings.server
    header_max = loaded.settings.sizes.header_max
    serving = Serving(
        server or settings.server, host or settings.host, settings.port if port is None else port, header_max
    )
    where = settings.model_copy(update={"host": serving.host, "port": serving.port, "server": serving.kind})
    loaded = replace(loaded, settings=loaded.settings.model_copy(update={"server": where}))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded, serving, announce))


async def _serve(loaded: Loaded, serving: Serving, announce: Callable[[FirstRun, str], None]) -> int:
    with closing(Door(serving)) as door:
        return await _serve_behind(door, loaded, serving, announce)


async def _serve_behind(door: Door, loaded: Loaded, serving: Serving, announce: Callable[[FirstRun, str], None]) -> int:
    async with opened(loaded) as application:
        node = application.node
        door.open()
        made = await first_run(node)
        stop, now = asyncio.Event(), asyncio.Event()
        _on_signals(application, stop, now)
        ready = asyncio.Event()
        server = asyncio.create_task(listen(application.asgi, serving, door, now, ready))
        opening = asyncio.create_task(ready.wait())
        await asyncio.wait((server, opening), return_when=asyncio.FIRST_COMPLETED)
        opening.cancel()
        if not server.done():
            announce(made, f"http://{_shown(serving.host)}:{door.port}")
            node.log.info("serving", host=serving.host, port=door.port, server=serving.kind)
        await _until_stopped(application, server, stop, now)
        await server
        node.log.info("stopped")
    return 0


async def _until_stopped(
    application: Application, server: asyncio.Task[None], stop: asyncio.Event, now: asyncio.Event
) -> None:
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait((server, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not stop.is_set():
        return
    timeout_s = application.node.loaded.settings.timeouts.drain_s
    draining = asyncio.create_task(application.node.drain(timeout_s))
    hurried = asyncio.create_task(now.wait())
    await asyncio.wait((draining, hurried), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, hurried):
        task.cancel()
    now.set()


def _on_signals(application: Application, stop: asyncio.Event, now: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        if stop.is_set():
            now.set()
        application.node.stop_admitting()
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ask_to_stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: application.node.plane.background.spawn(application.keeper.reload()))


def _shown(host: str) -> str:
    """As a client on this machine writes it: "every interface" is no address to call."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
