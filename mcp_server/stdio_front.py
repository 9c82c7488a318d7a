"""`comptroller mcp`: an MCP server on standard streams, for clients that speak only those, relayed to `/mcp`.

Rules: messages pass raw in both directions, in whichever era the client speaks; only the HTTP side of the protocol is
made here. A gateway that cannot be reached, or refuses the key, is an error to the request and a line on stderr.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp_types import PROTOCOL_VERSION_META_KEY

from gateway.core.upstream import UpstreamError
from mcp_server.http_exchange import ERROR_BODY_MAX, Reply, exchange, make_client
from mcp_server.upstream.http_wire import SESSION_HEADER, VERSION_HEADER
from mcp_server.upstream.wire import CANCELLED, Message

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
LAST_ANSWERS_S = 2.0
PARSE_ERROR, INTERNAL_ERROR = -32700, -32603
EXIT_OK, EXIT_UNAVAILABLE = 0, 3


async def run(url: str, api_key: str, session: str | None) -> int:
    """Relays until standard input ends. 0, or 3 if the gateway never answered or refused the key."""
    headers = {"authorization": f"Bearer {api_key}"}
    if session:
        headers["x-comptroller-session"] = session
    endpoint = f"{url.rstrip('/')}/mcp" if urlsplit(url).path in ("", "/") else url
    lines = _stdin_lines(asyncio.get_running_loop())
    async with make_client(headers, connect_timeout_s=5.0, connections_max=256) as client:
        front = StdioFront(client, endpoint, _write_stdout, _complain)
        return await front.run(lines)


class StdioFront:
    """`write` takes one message for the client, `complain` a line for a person."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        write: Callable[[Message], None],
        complain: Callable[[str], None],
    ) -> None:
        self._client = client
        self._url = url
        self._write = write
        self._complain = complain
        self._session_headers: dict[str, str] = {}
        self._opening: Message | None = None
        self._requests: dict[str | int, asyncio.Task[None]] = {}
        self._modern: set[str | int] = set()
        self._param_maps: dict[str, Mapping[tuple[str, ...], str]] = {}
        self._events: asyncio.Task[None] | None = None
        self._complaints: set[str] = set()
        self._reached = False

    async def run(self, lines: "asyncio.Queue[bytes | None]") -> int:
        await self._probe()
        while (line := await lines.get()) is not None:
            if line.strip():
                await self._take(line)
        await self._finish()
        return EXIT_OK if self._reached else EXIT_UNAVAILABLE

    async def _probe(self) -> None:
        """Says at once what is wrong, before any client waits for an answer."""
        with suppress(UpstreamError):
            await self._send(None, "OPTIONS")

    async def _take(self, line: bytes) -> None:
        try:
            message = orjson.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._fail(None, "not one JSON-RPC message", PARSE_ERROR)
            return
        request_id, method = message.get("id"), message.get("method")
        if method is None or request_id is None:
            await self._take_one_way(message)
        elif method == "initialize":
            self._opening = message
            self._session_headers = {}
            await self._request(message)  # what follows needs the session that this opens
        else:
            if _modern_version(message) is not None:
                self._modern.add(request_id)
            self._requests[request_id] = asyncio.create_task(self._request(message))

    async def _take_one_way(self, message: Message) -> None:
        """A notification, or the answer to a question of the server."""
        if message.get("method") == CANCELLED:
            cancelled = (message.get("params") or {}).get("requestId")
            if cancelled in self._modern:  # in this era, closing the stream is how a request is cancelled
                self._requests[cancelled].cancel()
                return
        if _modern_version(message) is None and self._session_headers:
            with suppress(UpstreamError):
                await self._send(message)
        if message.get("method") == "notifications/initialized" and self._events is None:
            self._events = asyncio.create_task(self._take_events())

    async def _request(self, message: Message) -> None:
        try:
            await self._send(message)
        except UpstreamError as error:
            self._fail(message["id"], f"Comptroller: {error}")
        finally:
            self._requests.pop(message["id"], None)
            self._modern.discard(message["id"])

    async def _send(self, message: Message | None, method: str = "POST", *, again: bool = False) -> None:
        """One exchange; whatever the gateway says goes to the client. Raises UpstreamError."""
        in_session = dict(self._session_headers)
        headers = {**in_session, **self._headers_for(message)} if message is not None else in_session
        try:
            async with exchange(
                self._client, method, self._url, headers=headers, bytes_max=MESSAGE_BYTES_MAX, message=message
            ) as reply:
                if not (reply.status == 404 and in_session and not again):
                    await self._relay(reply, message)
                    return
        except UpstreamError as error:
            self._complain_once(f"comptroller mcp: {self._url}: {error}")
            raise
        await self._open_again(in_session)
        await self._send(message, method, again=True)

    async def _relay(self, reply: Reply, message: Message | None) -> None:
        if reply.status == 401:
            self._complain_once(f"comptroller mcp: {self._url} refuses the key: check COMPTROLLER_API_KEY")
        else:
            self._reached = True
        if message is None:
            return
        if reply.status >= 400:
            if "id" in message and "method" in message:
                self._write({"jsonrpc": "2.0", "id": message["id"], "error": await _error_of(reply)})
            return
        async for answer in reply.messages():
            if message.get("method") == "initialize":
                self._opened(reply, answer)
            elif message.get("method") == "tools/list":
                self._remember_params(answer)
            self._write(answer)

    async def _open_again(self, lost: Mapping[str, str]) -> None:
        """The gateway forgot our session (it was restarted): the same handshake again, behind the client's back."""
        if self._opening is None or lost != self._session_headers:
            return
        self._session_headers = {}
        async with exchange(
            self._client, "POST", self._url, headers={}, bytes_max=MESSAGE_BYTES_MAX, message=self._opening
        ) as reply:
            async for answer in reply.messages():
                self._opened(reply, answer)
        await self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}, again=True)
        if self._events is not None:
            self._events.cancel()
            self._events = asyncio.create_task(self._take_events())

    def _opened(self, reply: Reply, answer: Message) -> None:
        result = answer.get("result")
        if isinstance(result, dict) and isinstance(version := result.get("protocolVersion"), str):
            self._session_headers = {VERSION_HEADER: version}
            if (session_id := reply.headers.get(SESSION_HEADER)) is not None:
                self._session_headers[SESSION_HEADER] = session_id

    async def _take_events(self) -> None:
        """What the gateway says on its own, for as long as it keeps the stream open; then again."""
        pause_s = 1.0
        while self._session_headers:
            with suppress(UpstreamError):
                async with exchange(
                    self._client, "GET", self._url, headers=self._session_headers, bytes_max=MESSAGE_BYTES_MAX
                ) as reply:
                    if reply.status in (404, 405):
                        return
                    async for message in reply.messages():
                        pause_s = 1.0
                        self._write(message)
            await asyncio.sleep(pause_s)
            pause_s = min(30.0, pause_s * 2)

    def _headers_for(self, message: Message) -> dict[str, str]:
        """The headers with which a request of the modern era repeats its body."""
        version = _modern_version(message)
        if version is None:
            return {}
        method, params = str(message["method"]), message["params"]
        headers = {VERSION_HEADER: version, MCP_METHOD_HEADER: method}
        name = params.get(NAME_BEARING_METHODS.get(method, ""))
        if isinstance(name, str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        if method == "tools/call" and isinstance(name, str) and name in self._param_maps:
            headers.update(mcp_param_headers(self._param_maps[name], params.get("arguments") or {}))
        return headers

    def _remember_params(self, answer: Message) -> None:
        tools = (answer.get("result") or {}).get("tools") or []
        for tool in tools:
            schema = tool.get("inputSchema")
            if find_invalid_x_mcp_header(schema) is None and (found := x_mcp_header_map(schema)):
                self._param_maps[str(tool["name"])] = found

    async def _finish(self) -> None:
        if self._requests:
            await asyncio.wait(set(self._requests.values()), timeout=LAST_ANSWERS_S)
        left = [task for task in (self._events, *self._requests.values()) if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if SESSION_HEADER in self._session_headers:
            with suppress(UpstreamError, TimeoutError):
                async with asyncio.timeout(LAST_ANSWERS_S):
                    await self._send(None, "DELETE", again=True)

    def _fail(self, request_id: Any, text: str, code: int = INTERNAL_ERROR) -> None:
        self._write({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}})

    def _complain_once(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self._complain(text)


def _modern_version(message: Message) -> str | None:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
    return version if isinstance(version, str) and message.get("method") != "initialize" else None


async def _error_of(reply: Reply) -> Message:
    """The gateway's JSON-RPC error, or one that tells its HTTP status."""
    with suppress(UpstreamError, ValueError):
        body = orjson.loads(await reply.body(ERROR_BODY_MAX))
        if isinstance(body, dict) and isinstance(error := body.get("error"), dict) and "code" in error:
            return {key: error[key] for key in ("code", "message", "data") if key in error}
    return {"code": INTERNAL_ERROR, "message": f"Comptroller answered with HTTP {reply.status}"}


def _stdin_lines(loop: asyncio.AbstractEventLoop) -> "asyncio.Queue[bytes | None]":
    """Lines of standard input, None at its end. A daemon thread: a blocked read must not keep the process alive."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            for line in sys.stdin.buffer:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines


def _write_stdout(message: Message) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
