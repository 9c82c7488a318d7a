"""An HTTP server on the SDK that shows what reached it: headers, and which session a call came in.

over_http.py [--legacy-only] [--port N]        prints its port when it listens; ends when standard input does
"""

import argparse
import asyncio
import socket
import sys
import threading
from typing import Any

import uvicorn
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool


class Announcing(Server[Any]):
    def create_initialization_options(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_initialization_options(NotificationOptions(tools_changed=True))


class Shown:
    def __init__(self) -> None:
        self.names = ["show", "count", "wait", "add_tool"]
        self.counts: dict[str | None, int] = {}
        self.seen: list[dict[str, str]] = []
        self.bus = InMemorySubscriptionBus()
        self.cancelled = 0
        self.sessions: list[Any] = []

    async def list_tools(self, ctx: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        self.seen.append(dict(ctx.request.headers))
        self.sessions.append(ctx.session)
        schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
        tools = [Tool(name=name, input_schema=schema if name == "show" else {"type": "object"}) for name in self.names]
        return ListToolsResult(tools=tools)

    async def call_tool(self, ctx: Any, params: CallToolRequestParams) -> CallToolResult:
        headers = dict(ctx.request.headers)
        self.seen.append(headers)
        session = headers.get("mcp-session-id")
        content: dict[str, Any] = {}
        match params.name:
            case "show":
                content = {"seen": self.seen, "cancelled": self.cancelled, "version": ctx.protocol_version}
            case "count":
                self.counts[session] = self.counts.get(session, 0) + 1
                content = {"count": self.counts[session]}
            case "wait":
                try:
                    await ctx.session.report_progress(1, 2, "waiting")
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
            case "add_tool":
                self.names.append((params.arguments or {})["name"])
                await self.bus.publish(ToolsListChanged())
                for session in self.sessions:
                    await session.send_tool_list_changed()
        return CallToolResult(content=[TextContent(text=params.name)], structured_content=content)


def make_app(shown: Shown, *, legacy_only: bool) -> Any:
    server = Announcing(
        "shown",
        on_list_tools=shown.list_tools,
        on_call_tool=shown.call_tool,
        on_subscriptions_listen=ListenHandler(shown.bus),
        get_tool_input_schema=lambda _: None,
    )
    manager = StreamableHTTPSessionManager(server)
    running: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                running.append(manager.run())
                await running[0].__aenter__()
                await send({"type": f"{message['type']}.complete"})
            await running[0].__aexit__(None, None, None)
            await send({"type": "lifespan.shutdown.complete"})
        elif legacy_only and dict(scope["headers"]).get(b"mcp-protocol-version", b"").startswith(b"2026"):
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"Bad Request: unsupported version"})
        else:
            await manager.handle_request(scope, receive, send)

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--legacy-only", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", options.port))
    app = make_app(Shown(), legacy_only=options.legacy_only)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))

    def until_stdin_ends() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=until_stdin_ends, daemon=True).start()
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
