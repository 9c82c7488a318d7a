"""The MCP front door as one thing that starts, serves, drains and stops."""

import asyncio
import importlib
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from mcp_server.clients import ClientSessions
from mcp_server.governance import Governance
from mcp_server.options import FrontOptions
from mcp_server.streams import Streams
from mcp_server.upstream.config import ServerConfig, UpstreamOptions

if TYPE_CHECKING:
    from mcp_server.running import Running


class McpFront:
    """Made once; `start` and `stop` may follow each other again and again. Without tool servers the endpoint is loaded
    when the first request for it comes."""

    def __init__(
        self,
        governance: Governance,
        configs: Iterable[ServerConfig] = (),
        options: FrontOptions | None = None,
        upstream_options: UpstreamOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.governance = governance
        self.options = options or FrontOptions()
        self.streams = Streams(self.options.open_per_key_max)
        self.clients = ClientSessions(
            self.options.sessions_per_key_max, self.options.session_idle_s + 60.0, clock, self._client_ended
        )
        self._configs = tuple(configs)
        self._upstream_options = upstream_options or UpstreamOptions()
        self._clock = clock
        self._background: set[asyncio.Task[Any]] = set()
        self._serving = False
        self._opening: asyncio.Task[Running] | None = None
        self._running: Running | None = None

    @property
    def running(self) -> "Running | None":
        """None until there was something to run for, while draining and after `stop`."""
        return self._running if self._serving else None

    async def start(self) -> None:
        """Begins to connect to the tool servers and takes requests; waits for no tool server."""
        self._serving = True
        if self._configs:
            await self.opened()

    async def opened(self) -> "Running | None":
        """What serves requests, loaded for the first of them; None before `start`, while draining and after `stop`."""
        if self._running is None and self._serving:
            if self._opening is None:
                self._opening = asyncio.create_task(self._open())
            # A request that is given up must not stop what others wait for.
            await asyncio.shield(self._opening)
        return self.running

    async def _open(self) -> "Running":
        try:
            # In a thread: other calls go on while the SDK loads.
            module = await asyncio.to_thread(importlib.import_module, "mcp_server.running")
            running: Running = module.Running(
                self.governance,
                self.clients,
                self._configs,
                self.options,
                self._upstream_options,
                self.tools_changed,
                self._clock,
            )
            await running.start()
            self._running = running
        finally:
            self._opening = None
        return running

    async def drain(self, grace_s: float = 10.0) -> None:
        """Takes no more requests, ends streams that wait for events, lets calls in flight finish for `grace_s`.

        To be called before the HTTP server closes its connections: it would cut the streams in the middle.
        """
        self._serving = False
        if self._running is None:
            return
        self._running.end_listening()
        self.streams.end_all(lasting_only=True)
        if not await self.streams.none_open(grace_s):
            self.streams.end_all(lasting_only=False)
            await self.streams.none_open(grace_s)

    async def stop(self) -> None:
        """Ends all sessions, tool servers and their processes."""
        self._serving = False
        if self._opening is not None:
            _ = await asyncio.wait({self._opening})
        running, self._running = self._running, None
        if running is not None:
            self.streams.end_all(lasting_only=False)
            await running.stop()
        for task in list(self._background):
            task.cancel()

    def close_streams(self, key_id: str) -> int:
        """Ends every open request of a key that was revoked, disabled or has expired; how many those were."""
        return self.streams.end_key(key_id)

    def tools_changed(self) -> None:
        """Tells all clients to list again: a tool server changed, or what policies allow."""
        if self._running is not None:
            self._later(self._running.tell_tools_changed())
            self._later(self.clients.tell_tools_changed())

    def _client_ended(self, session_id: str) -> None:
        if self._running is not None:
            self._later(self._running.servers.release(f"session:{session_id}"))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
