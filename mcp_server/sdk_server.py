"""The SDK's low-level server with our handlers.

Rules: the SDK checks what comes in and makes the envelope of what goes out; the fields in between are put back as they
were, since it keeps only those that it knows. Its own look into the list before every call is switched off.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version as installed_version
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gateway.core.denial import Refused
from mcp_server import own_tools
from mcp_server.clients import ClientSessions
from mcp_server.governance import Governance
from mcp_server.own_tools import OwnTools
from mcp_server.relay import Context, Relay
from mcp_server.servers import ToolServers
from mcp_server.visit import SCOPE_KEY, SESSION_HEADER, Visit

INSTRUCTIONS = (
    "Every call here is governed: budgets and rules of your key apply. Ask quota_status what is left before long or "
    "expensive work. A refused call says why and what to do; repeating it unchanged does not help."
)


class GatewayServer(Server[Any]):
    """Tells clients of both eras that the list of tools may change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        options = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)


def visit_of(ctx: Context) -> Visit:
    """The request that a handler answers."""
    assert ctx.request is not None
    visit = ctx.request.scope[SCOPE_KEY]
    assert isinstance(visit, Visit)
    return visit


class Handlers:
    def __init__(
        self, governance: Governance, own: OwnTools, relay: Relay, servers: ToolServers, clients: ClientSessions
    ) -> None:
        self._governance = governance
        self._own = own
        self._relay = relay
        self._servers = servers
        self._clients = clients

    async def list_tools(self, ctx: Context, params: PaginatedRequestParams) -> HandlerResult:
        if params.cursor is not None:
            raise MCPError(INVALID_PARAMS, "unknown cursor: the list has one page")
        visit = visit_of(ctx)
        self._attach(ctx)
        table = await self._servers.table()
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        tools: list[Mapping[str, Any]] = list(own_tools.DEFINITIONS) if visit.server is None else []
        is_listed = await self._lister(visit)
        for entry in table.entries(visit.server):
            if entry.definition is not None and is_listed(entry.canonical):
                described = entry.definition.raw if modern else entry.definition.legacy
                tools.append({**described, "name": entry.offered if visit.server is None else entry.tool})
        visit.raw = {"tools": tools}
        missing = [name for name in table.missing if visit.server in (None, name)]
        if missing:
            visit.raw["_meta"] = {"comptroller/missing": missing}
        return ListToolsResult(tools=[])

    async def _lister(self, visit: Visit) -> Callable[[str], bool]:
        try:
            return await self._governance.lister(visit.caller, visit.headers)
        except Refused as refused:
            denial = refused.denial
            raise MCPError(INTERNAL_ERROR, denial.message, {"comptroller": denial.machine()}) from None

    async def call_tool(self, ctx: Context, params: CallToolRequestParams) -> HandlerResult:
        visit = visit_of(ctx)
        arguments = (ctx.params or {}).get("arguments") or {}
        if visit.server is None and params.name in own_tools.NAMES:
            visit.raw = await self._own.call(visit.caller, params.name, visit.headers, arguments)
        else:
            visit.raw = await self._relay.call(ctx, visit, await self._servers.table(), params.name)
        return CallToolResult(content=[])

    async def initialized(self, ctx: Context, params: NotificationParams) -> None:
        self._attach(ctx)

    def _attach(self, ctx: Context) -> None:
        session_id = visit_of(ctx).headers.get(SESSION_HEADER)
        if session_id is not None:
            self._clients.attach(session_id, ctx.session)


async def keep_fields(ctx: Context, call_next: CallNext) -> HandlerResult:
    """The handler's own result in the SDK's envelope."""
    result = await call_next(ctx)
    if ctx.request is None or not isinstance(result, dict) or (raw := visit_of(ctx).raw) is None:
        return result
    kept = {**result, **raw}
    envelope = result.get("_meta") or {}
    if envelope or "_meta" in raw:
        kept["_meta"] = {**(raw.get("_meta") or {}), **envelope}
    return kept


def make_server(handlers: Handlers, listen: ListenHandler, listing_ttl_ms: int) -> GatewayServer:
    server = GatewayServer(
        "comptroller",
        version=installed_version("comptroller"),
        title="Comptroller",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": CacheHint(ttl_ms=listing_ttl_ms, scope="private")},
        get_tool_input_schema=lambda _: None,
        on_subscriptions_listen=listen,
    )
    server.add_request_handler("tools/list", PaginatedRequestParams, handlers.list_tools)
    server.add_request_handler("tools/call", CallToolRequestParams, handlers.call_tool)
    server.add_notification_handler("notifications/initialized", NotificationParams, handlers.initialized)
    server.middleware.append(keep_fields)
    return server
