"""One run of the endpoint: the SDK's manager and server, what answers behind them, and the tool servers.

Only here and below is the SDK imported: it takes half a second and 26 MB, and a gateway that nobody asks over MCP needs
neither.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.server.transport_security import TransportSecuritySettings

from mcp_server.clients import ClientSessions
from mcp_server.governance import Caller, Governance
from mcp_server.options import FrontOptions
from mcp_server.own_tools import OwnTools
from mcp_server.relay import Relay
from mcp_server.sdk_server import GatewayServer, Handlers, make_server
from mcp_server.servers import ToolServers
from mcp_server.streams import Receive, Send
from mcp_server.upstream.config import ServerConfig, UpstreamOptions


class Running:
    """The manager runs in a task of its own: it must be left in the task that entered it."""

    def __init__(
        self,
        governance: Governance,
        clients: ClientSessions,
        configs: Iterable[ServerConfig],
        options: FrontOptions,
        upstream_options: UpstreamOptions,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = ToolServers(configs, upstream_options, on_change, clock)
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        own = OwnTools(governance, options.own_calls_per_s, clock)
        handlers = Handlers(governance, own, Relay(governance), self.servers, clients)
        self._manager = _manager(make_server(handlers, self._listen, options.listing_ttl_ms), options)
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to connect to the tool servers; waits for none."""
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

    def handle(self, scope: dict[str, object], caller: Caller, receive: Receive, send: Send) -> Awaitable[None]:
        """One request, by the key as the owner of its sessions."""
        token = AccessToken(token="redacted", client_id=caller.key_id, subject=caller.key_id, scopes=[])
        return self._manager.handle_request({**scope, "user": AuthenticatedUser(token)}, receive, send)

    def end_listening(self) -> None:
        """Streams that wait for events end, with a last message of their own."""
        self._listen.close()

    async def tell_tools_changed(self) -> None:
        """All who listen list again."""
        await self._bus.publish(ToolsListChanged())

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await self._over.wait()


def _manager(server: GatewayServer, options: FrontOptions) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server,
        security_settings=TransportSecuritySettings(
            allowed_hosts=list(options.allowed_hosts), allowed_origins=list(options.allowed_origins)
        ),
        session_idle_timeout=options.session_idle_s,
        max_request_body_size=options.body_bytes_max,
        max_sessions=options.sessions_max,
    )
