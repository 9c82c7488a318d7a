"""The MCP front door as one thing that starts, serves, drains and stops."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.server.transport_security import TransportSecuritySettings

from mcp_server.clients import ClientSessions
from mcp_server.governance import Governance
from mcp_server.own_tools import OwnTools
from mcp_server.relay import Relay
from mcp_server.sdk_server import GatewayServer, Handlers, make_server
from mcp_server.servers import ToolServers
from mcp_server.streams import Streams
from mcp_server.upstream.config import ServerConfig, UpstreamOptions

LOCAL_HOSTS = ("127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*")
LOCAL_ORIGINS = tuple(f"{scheme}://{host}" for scheme in ("http", "https") for host in LOCAL_HOSTS)


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """`allowed_hosts` and `allowed_origins` are exact, or end in `:*` for any port: against DNS rebinding.

    A Host that is not listed is answered 421, an Origin 403. Times in seconds, sizes in bytes.
    """

    allowed_hosts: tuple[str, ...] = LOCAL_HOSTS
    allowed_origins: tuple[str, ...] = LOCAL_ORIGINS
    body_bytes_max: int = 4 * 1024 * 1024
    session_idle_s: float = 1_800.0
    sessions_max: int = 10_000
    sessions_per_key_max: int = 200
    open_per_key_max: int = 500
    own_calls_per_s: float = 10.0
    listing_ttl_ms: int = 5_000


class McpFront:
    """Made once; `start` and `stop` may follow each other again and again."""

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
        self._own = OwnTools(governance, self.options.own_calls_per_s, clock)
        self._relay = Relay(governance)
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._background: set[asyncio.Task[Any]] = set()
        self._running: Running | None = None

    @property
    def manager(self) -> StreamableHTTPSessionManager | None:
        """None before `start`, while draining and after `stop`: then requests are answered 503."""
        return None if self._running is None or self._running.draining else self._running.manager

    @property
    def servers(self) -> ToolServers:
        assert self._running is not None
        return self._running.servers

    async def start(self) -> None:
        """Begins to connect to the tool servers and takes requests; waits for no tool server."""
        servers = ToolServers(self._configs, self._upstream_options, self.tools_changed, self._clock)
        handlers = Handlers(self.governance, self._own, self._relay, servers, self.clients)
        server = make_server(handlers, self._listen, self.options.listing_ttl_ms)
        self._running = Running(servers, self._manager(server))
        await self._running.start()

    def _manager(self, server: GatewayServer) -> StreamableHTTPSessionManager:
        return StreamableHTTPSessionManager(
            server,
            security_settings=TransportSecuritySettings(
                allowed_hosts=list(self.options.allowed_hosts), allowed_origins=list(self.options.allowed_origins)
            ),
            session_idle_timeout=self.options.session_idle_s,
            max_request_body_size=self.options.body_bytes_max,
            max_sessions=self.options.sessions_max,
        )

    async def drain(self, grace_s: float = 10.0) -> None:
        """Takes no more requests, ends streams that wait for events, lets calls in flight finish for `grace_s`.

        To be called before the HTTP server closes its connections: it would cut the streams in the middle.
        """
        if self._running is None:
            return
        self._running.draining = True
        self._listen.close()  # these end with a last message of their own
        self.streams.end_all(lasting_only=True)
        if not await self.streams.none_open(grace_s):
            self.streams.end_all(lasting_only=False)
            await self.streams.none_open(grace_s)

    async def stop(self) -> None:
        """Ends all sessions, tool servers and their processes."""
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
        self._later(self._bus.publish(ToolsListChanged()))
        self._later(self.clients.tell_tools_changed())

    def _client_ended(self, session_id: str) -> None:
        if self._running is not None:
            self._later(self._running.servers.release(f"session:{session_id}"))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class Running:
    """One run of the SDK's manager, in a task of its own: it must be left in the task that entered it."""

    def __init__(self, servers: ToolServers, manager: StreamableHTTPSessionManager) -> None:
        self.servers = servers
        self.manager = manager
        self.draining = False
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._owner = asyncio.create_task(self._run())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._owner}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._owner.done():
            await self._owner
        self.servers.start()

    async def stop(self) -> None:
        self._over.set()
        assert self._owner is not None
        await self._owner
        await self.servers.close()

    async def _run(self) -> None:
        async with self.manager.run():
            self._ready.set()
            await self._over.wait()
