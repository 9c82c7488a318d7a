"""One call of a proxied tool: from the client's message to the tool server and back.

Rules: what the gateway decides is decided by `Governance`; results pass as they are, but for the reserved parts of
`_meta`, which are ours on this side; unknown and forbidden tools are answered alike.
"""

import json
from collections.abc import Mapping
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import validate_mcp_param_headers
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from gateway.core.denial import Code, Denial, Refused
from gateway.core.tool import ToolAsk, ToolDone, ToolSaid
from gateway.core.upstream import UpstreamError, UpstreamInvalid
from mcp_server.denials import tool_refusal, unavailable, upstream_denial
from mcp_server.governance import Governance
from mcp_server.table import Entry, ToolTable
from mcp_server.upstream.tool_server import Answer
from mcp_server.upstream.wire import OnProgress, RpcError
from mcp_server.visit import Visit

Context = ServerRequestContext[Any, Request]
OWN_META = "comptroller/"
RESERVED_META = ("io.modelcontextprotocol/", OWN_META)
RESUMED = frozenset({"inputResponses", "requestState"})
"""What a client sends along when it answers what a tool server asked back for: the same call goes on."""


class Relay:
    def __init__(self, governance: Governance) -> None:
        self._governance = governance

    async def call(self, ctx: Context, visit: Visit, table: ToolTable, name: str) -> dict[str, Any]:
        """A raw CallToolResult; refusals and unreachable servers too. Raises MCPError for a protocol error."""
        entry = table.find(visit.server, name)
        if entry is None:
            return tool_refusal(unavailable(name))
        params = ctx.params or {}
        arguments = params.get("arguments") or {}
        _check_param_headers(ctx, entry, arguments)
        config = entry.server.config
        ask = ToolAsk(
            config.name,
            entry.tool,
            entry.canonical,
            arguments,
            config.price_usd_micros_per_call,
            visit.headers,
            resumes=not RESUMED.isdisjoint(params),
            connection=_connection(ctx),
            read=_said,
        )

        async def send() -> Answer:
            answer = await entry.server.call(
                entry.definition or entry.tool,
                arguments,
                _forwarded_meta(params),
                lane=visit.lane,
                on_progress=_progress(ctx),
            )
            _check_result(answer)
            return answer

        try:
            done = await self._governance.call_tool(visit.caller, ask, send)
        except Refused as refused:
            return await self._refusal(visit, entry, name, refused.denial)
        except UpstreamError as error:
            return tool_refusal(upstream_denial(config.name, error))
        if done.result.error is not None:
            raise _relayed(done.result.error)
        return _stamped(done, modern=ctx.protocol_version in MODERN_PROTOCOL_VERSIONS)

    async def _refusal(self, visit: Visit, entry: Entry, name: str, denial: Denial) -> dict[str, Any]:
        hidden = denial.code is Code.TOOL_DENIED and not await self._is_listed(visit, entry)
        result = tool_refusal(unavailable(name) if hidden else denial)
        if denial.call_id is not None and not hidden:
            result["_meta"] = {f"{OWN_META}call": denial.call_id}
        return result

    async def _is_listed(self, visit: Visit, entry: Entry) -> bool:
        try:
            return (await self._governance.lister(visit.caller, visit.headers))(entry.canonical)
        except Refused:
            return False


def without_reserved(meta: Any) -> dict[str, Any]:
    """What of a `_meta` belongs to neither hop: the keys of vendors and of tracing."""
    if not isinstance(meta, Mapping):
        return {}
    return {key: value for key, value in meta.items() if not key.startswith(RESERVED_META)}


def _forwarded_meta(params: Mapping[str, Any]) -> dict[str, Any]:
    meta = without_reserved(params.get("_meta"))
    meta.pop("progressToken", None)  # tokens are minted anew for each hop
    return meta


def _progress(ctx: Context) -> OnProgress | None:
    """Reports to the client in its own token; None if it asked for no progress."""
    token = ctx.meta.get("progress_token") if ctx.meta else None
    if token is None:
        return None
    last = float("-inf")

    async def report(params: Mapping[str, Any]) -> None:
        nonlocal last
        progress, total, message = params.get("progress"), params.get("total"), params.get("message")
        if not isinstance(progress, int | float) or progress <= last:
            return
        last = progress
        await ctx.session.report_progress(
            progress,
            total if isinstance(total, int | float) else None,
            message if isinstance(message, str) else None,
        )

    return report


def _check_param_headers(ctx: Context, entry: Entry, arguments: Mapping[str, Any]) -> None:
    """Headers that repeat arguments must repeat them truly: whatever stands before us may have decided by them."""
    if entry.definition is None or not entry.definition.param_headers or ctx.request is None:
        return
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return
    rejection = validate_mcp_param_headers(entry.definition.input_schema, arguments, ctx.request.headers)
    if rejection is not None:
        raise MCPError(rejection.code, rejection.message, rejection.data)


def _check_result(answer: Answer) -> None:
    """Raises UpstreamInvalid for a result that no client could read."""
    result = answer.result
    if result is None:
        return
    if result.get("resultType", "complete") != "complete":
        raise UpstreamInvalid("it asked for input of the user, which is not relayed")
    if not isinstance(result.get("content", []), list):
        raise UpstreamInvalid("its result has no list of content")


def _connection(ctx: Context) -> str:
    client = ctx.request.client if ctx.request is not None else None
    return "" if client is None else f"{client.host}:{client.port}"


def _said(answer: Answer) -> ToolSaid:
    """What a result says, for loop detection."""
    if answer.error is not None:
        return ToolSaid(f"{answer.error.code} {answer.error.message}", failed=True)
    result = answer.result or {}
    content = result.get("content", [])
    texts = [part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    if not texts or len(texts) < len(content):
        texts.append(json.dumps([content, result.get("structuredContent")], sort_keys=True))
    return ToolSaid("\n".join(texts), failed=result.get("isError") is True)


def _relayed(error: RpcError) -> MCPError:
    """The server's own error. Codes that the protocol reserves speak about a hop and would be wrong on this one."""
    reserved = -32768 <= error.code <= -32000 and error.code != INVALID_PARAMS
    return MCPError(INTERNAL_ERROR if reserved else error.code, error.message, error.data)


def _stamped(done: ToolDone[Answer], *, modern: bool) -> dict[str, Any]:
    result = {"content": [], **(done.result.result or {})}
    result.pop("resultType", None)
    if not modern and not isinstance(result.get("structuredContent", {}), Mapping):
        del result["structuredContent"]  # any JSON since 2026-07-28, an object before; the text says it too
    meta = without_reserved(result.get("_meta"))
    meta[f"{OWN_META}call"] = done.call_id
    meta[f"{OWN_META}session"] = done.session_id
    if done.remaining is not None:
        meta[f"{OWN_META}quota"] = dict(done.remaining)
    if done.warnings:
        meta[f"{OWN_META}warning"] = "; ".join(done.warnings)
    result["_meta"] = meta
    return result
