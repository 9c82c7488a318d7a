"""An MCP tool server over stdio whose tools answer what the call's `_meta` tells them to."""

import asyncio
from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

RESULT, FAILED = "runaway/result", "runaway/failed"
NAMES = ("status", "lookup", "search", "write")


async def list_tools(_ctx: Any, _params: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name=name, input_schema={"type": "object"}) for name in NAMES])


async def call_tool(ctx: Any, _params: CallToolRequestParams) -> CallToolResult:
    meta = dict(ctx.meta or {})
    await asyncio.sleep(0.04)  # as a quick look-up takes, so that calls at the same time overlap
    return CallToolResult(content=[TextContent(text=str(meta.get(RESULT, "")))], is_error=bool(meta.get(FAILED)))


async def main() -> None:
    server: Server[Any] = Server("desk", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
