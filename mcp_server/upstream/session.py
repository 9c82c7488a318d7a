"""An MCP session with one tool server: the era is negotiated once, then every request is stamped for it.

The modern era (2026-07-28 on) is tried first with `server/discover`; whatever is no evidence of it falls back to the
`initialize` handshake. No answer at all is evidence of nothing and fails the session.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any, Final

from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_NAME_HEADER, MCP_PROTOCOL_VERSION_HEADER, encode_header_value
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
    LATEST_MODERN_VERSION,
    MODERN_PROTOCOL_VERSIONS,
)

from gateway.core.upstream import UpstreamFailed, UpstreamInvalid
from mcp_server.upstream.http_wire import HttpRefused, SessionLost
from mcp_server.upstream.wire import Message, OnProgress, RpcError, Wire

CLIENT_INFO: Final = {"name": "comptroller", "version": installed_version("comptroller")}
NO_CAPABILITIES: Final[Mapping[str, Any]] = {}
PROBE_TIMEOUT_S: Final = 5.0
NOT_MODERN: Final = frozenset({400, 404, 405, 406, 415, 422, 501})
"""HTTP statuses that servers of the handshake era give to a request they do not know."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session was opened on."""

    version: str
    modern: bool
    capabilities: Mapping[str, Any]

    def announces_tool_changes(self) -> bool:
        tools = self.capabilities.get("tools")
        return isinstance(tools, Mapping) and tools.get("listChanged") is True


class Session:
    """A wire with terms. Made by `open_session`."""

    def __init__(self, wire: Wire, terms: Terms) -> None:
        self._wire = wire
        self._outdated = False
        self.terms = terms

    @property
    def closed(self) -> bool:
        return self._outdated or self._wire.closed

    @property
    def stateful(self) -> bool:
        return self._wire.stateful

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Message:
        """The raw result. `headers` are further ones of the protocol (`Mcp-Param-*`), not the client's.

        Raises SessionLost where the server turned out to speak another era now: it did nothing with the request.
        """
        if self.terms.modern:
            params, headers = modern_request(method, params, self.terms.version, headers or {})
        try:
            return await self._wire.request(method, params, headers=headers, on_progress=on_progress)
        except HttpRefused as refused:
            if not self.terms.modern or refused.status not in NOT_MODERN:
                raise
        except RpcError as error:
            if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
        self._outdated = True
        raise SessionLost

    async def listen(self) -> bool:
        """Takes in change notifications until their stream ends; False where there is no such stream."""
        if not self.terms.modern:
            return await self._wire.listen()
        try:
            await self.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        except RpcError:
            return False
        return True

    async def close(self) -> None:
        await self._wire.close()


async def open_session(wire: Wire) -> Session:
    """Negotiates. Raises UpstreamError or RpcError; the wire stays the caller's to close."""
    terms = await _discover(wire)
    if terms is None:
        terms = await _initialize(wire)
    return Session(wire, terms)


def modern_request(
    method: str, params: Mapping[str, Any], version: str, headers: Mapping[str, str]
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Params and headers with the envelope that each request of the modern era carries."""
    meta = {
        **(params.get("_meta") or {}),
        PROTOCOL_VERSION_META_KEY: version,
        CLIENT_INFO_META_KEY: CLIENT_INFO,
        CLIENT_CAPABILITIES_META_KEY: NO_CAPABILITIES,
    }
    stamped = {**headers, MCP_PROTOCOL_VERSION_HEADER: version, MCP_METHOD_HEADER: method}
    name = params.get("name")
    if method == "tools/call" and isinstance(name, str):
        stamped[MCP_NAME_HEADER] = encode_header_value(name)
    return {**params, "_meta": meta}, stamped


async def _discover(wire: Wire) -> Terms | None:
    version = LATEST_MODERN_VERSION
    for _ in range(2):
        params, headers = modern_request("server/discover", {}, version, {})
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                found = await wire.request("server/discover", params, headers=headers)
        except TimeoutError:
            return None  # servers there are that do not answer what they do not know
        except RpcError as error:
            offered = _mutual(error.data.get("supported")) if isinstance(error.data, Mapping) else None
            if error.code != UNSUPPORTED_PROTOCOL_VERSION or offered is None or offered == version:
                return None
            version = offered
            continue
        except HttpRefused as refused:
            if refused.status in NOT_MODERN:
                return None
            raise
        agreed = _mutual(found.get("supportedVersions"))
        if agreed is None:
            return None
        wire.begin(agreed, modern=True)
        return Terms(agreed, modern=True, capabilities=_capabilities(found))
    return None


async def _initialize(wire: Wire) -> Terms:
    asked = {
        "protocolVersion": LATEST_HANDSHAKE_VERSION,
        "capabilities": dict(NO_CAPABILITIES),
        "clientInfo": CLIENT_INFO,
    }
    try:
        result = await wire.request("initialize", asked)
    except RpcError as error:
        raise UpstreamFailed(f"the tool server refused to start a session (code {error.code})", sent=False) from None
    version = result.get("protocolVersion")
    if version not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise UpstreamInvalid("the tool server speaks no revision of MCP that we know")
    wire.begin(str(version), modern=False)
    await wire.notify("notifications/initialized")
    return Terms(str(version), modern=False, capabilities=_capabilities(result))


def _mutual(offered: Any) -> str | None:
    ours = [version for version in MODERN_PROTOCOL_VERSIONS if isinstance(offered, list) and version in offered]
    return ours[-1] if ours else None


def _capabilities(result: Message) -> Mapping[str, Any]:
    found = result.get("capabilities")
    return found if isinstance(found, dict) else {}
