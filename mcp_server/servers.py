"""All tool servers of one gateway."""

import asyncio
import time
from collections.abc import Callable, Iterable

from gateway.core.upstream import UpstreamError
from mcp_server.table import ToolTable
from mcp_server.upstream.config import ServerConfig, UpstreamOptions
from mcp_server.upstream.listing import Listing
from mcp_server.upstream.tool_server import ToolServer


class ToolServers:
    """`on_change` is told whenever the tools of a server changed."""

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        options: UpstreamOptions,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = {config.name: ToolServer(config, options, on_change, clock) for config in configs}
        self._table = ToolTable(self._servers, {})

    def __contains__(self, name: str) -> bool:
        return name in self._servers

    def start(self) -> None:
        """Begins to connect to all; waits for none."""
        for server in self._servers.values():
            server.start()

    async def close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))

    async def release(self, lane: str) -> None:
        """A downstream session ended."""
        for server in self._servers.values():
            await server.release(lane)

    async def table(self) -> ToolTable:
        """What can be called now. Waits for servers that were not listed lately, all at once and each within bounds."""
        listings = {name: server.fresh_listing() for name, server in self._servers.items()}
        if stale := [name for name, listing in listings.items() if listing is None]:
            found = await asyncio.gather(*(_listing(self._servers[name]) for name in stale))
            listings.update(zip(stale, found, strict=True))
        before = self._table.listings
        if before.keys() != listings.keys() or any(before[name] is not listing for name, listing in listings.items()):
            self._table = ToolTable(self._servers, listings)
        return self._table


async def _listing(server: ToolServer) -> Listing | None:
    try:
        return await server.listing()
    except UpstreamError:
        return None
