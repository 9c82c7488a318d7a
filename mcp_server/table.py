"""The one table behind both the list of tools and their calls.

Rules: order is that of the configuration, then that of each server; a server that cannot be listed is missing, not an
error; of two tools with one name the second is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.core.tool_name import SEPARATOR, canonical, shorten
from mcp_server.upstream.listing import Listing, ToolDefinition
from mcp_server.upstream.tool_server import ToolServer


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool of one server. `definition` is None while its server cannot be listed: only its name is known then."""

    server: ToolServer
    tool: str
    canonical: str
    offered: str
    definition: ToolDefinition | None


class ToolTable:
    """Immutable; made anew when a listing changes."""

    def __init__(self, servers: Mapping[str, ToolServer], listings: Mapping[str, Listing | None]) -> None:
        self._servers = servers
        self.listings = listings
        self.missing = tuple(name for name, listing in listings.items() if listing is None)
        self._by_offered: dict[str, Entry] = {}
        self._by_server: dict[str, dict[str, Entry]] = {name: {} for name in servers}
        for name, listing in listings.items():
            for definition in () if listing is None else listing.tools:
                self._add(name, definition)

    def _add(self, name: str, definition: ToolDefinition) -> None:
        entry = _entry(self._servers[name], definition.name, definition)
        if entry.offered not in self._by_offered:
            self._by_offered[entry.offered] = entry
            self._by_server[name][definition.name] = entry

    def entries(self, server: str | None) -> Iterator[Entry]:
        """All, or those of one server."""
        yield from self._by_offered.values() if server is None else self._by_server[server].values()

    def find(self, server: str | None, name: str) -> Entry | None:
        """By offered name among all, or by a server's own name. A tool of a missing server is found by its prefix."""
        known = self._by_offered if server is None else self._by_server[server]
        if (entry := known.get(name)) is not None:
            return entry
        if server is None:
            server, separator, name = name.partition(SEPARATOR)
            if not separator:
                return None
        if server not in self.missing or not name:
            return None
        return _entry(self._servers[server], name, None)


def _entry(server: ToolServer, tool: str, definition: ToolDefinition | None) -> Entry:
    full = canonical(server.config.name, tool)
    return Entry(server, tool, full, shorten(full), definition)
