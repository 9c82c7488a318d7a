"""A tool server as a child process that speaks JSON-RPC in lines on its standard streams.

One task reads for all calls and never waits for one of them. A line beyond the cap fails the call it answers, and only
where that cannot be told the whole connection. What the program says on stderr is not an error and is thrown away.
"""

import asyncio
import itertools
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from gateway.core.upstream import UpstreamError, UpstreamFailed, UpstreamInvalid
from mcp_server.http_exchange import parse_message
from mcp_server.upstream import process as child
from mcp_server.upstream.wire import (
    CANCELLED,
    PROGRESS,
    Message,
    OnNotification,
    OnProgress,
    answer_to_server,
    is_response,
    result_of,
)

CHUNK = 64 * 1024
PROGRESS_QUEUED_MAX = 64
ENDS_KEPT = 256
LAST_WORDS_S = 0.5
_ID = re.compile(rb'"id"\s*:\s*(\d+)\s*[,}]')


class Inbox:
    """What arrived for one request, in order; ends with its response or with the error that ended the connection."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Message | UpstreamError] = asyncio.Queue()

    def put(self, item: Message | UpstreamError) -> None:
        if isinstance(item, dict) and not is_response(item) and self._queue.qsize() >= PROGRESS_QUEUED_MAX:
            return  # progress is a courtesy: a caller that reads slowly misses some
        self._queue.put_nowait(item)

    async def get(self) -> Message:
        item = await self._queue.get()
        if isinstance(item, UpstreamError):
            raise item
        return item


class StdioWire:
    """Made by `open_stdio`; `close` leaves no process behind."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        line_bytes_max: int,
        stop_grace_s: float,
        on_notification: OnNotification,
    ) -> None:
        self._process = process
        self._line_bytes_max = line_bytes_max
        self._stop_grace_s = stop_grace_s
        self._on_notification = on_notification
        self._ids = itertools.count(1)
        self._inboxes: dict[int, Inbox] = {}
        self._closed = False
        self._stopping: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read())
        self._draining = asyncio.create_task(self._drain_stderr())
        self._watching = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def stateful(self) -> bool:
        return False  # one process serves all clients: that is what its configuration says

    def begin(self, version: str, *, modern: bool) -> None:
        """Nothing on this wire depends on the revision."""

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Message:
        if self._closed:
            raise UpstreamFailed("the tool server has ended", sent=False)
        request_id = next(self._ids)
        body = dict(params)
        if on_progress is not None:
            body["_meta"] = {**(body.get("_meta") or {}), "progressToken": request_id}
        inbox = self._inboxes[request_id] = Inbox()
        try:
            await self._write({"jsonrpc": "2.0", "id": request_id, "method": method, "params": body})
            while not is_response(message := await inbox.get()):
                if on_progress is not None:
                    await on_progress(message.get("params") or {})
            return result_of(message)
        except asyncio.CancelledError:
            if method != "initialize":
                self._write_now({"jsonrpc": "2.0", "method": CANCELLED, "params": {"requestId": request_id}})
            raise
        finally:
            del self._inboxes[request_id]

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._write({"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})})

    async def listen(self) -> bool:
        return False  # notifications come on the one stream there is

    async def close(self) -> None:
        self._end(UpstreamFailed("the tool server was stopped", sent=True))
        await asyncio.shield(self._begin_stop())

    def _begin_stop(self) -> asyncio.Task[None]:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        await child.stop(self._process, self._stop_grace_s)
        tasks = (self._reading, self._draining, self._watching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A process that left the group may still hold the pipes; nothing public closes the transport then.
        self._process._transport.close()  # type: ignore[attr-defined]

    async def _write(self, message: Message) -> None:
        self._write_now(message)
        assert self._process.stdin is not None
        try:
            await self._process.stdin.drain()
        except OSError:
            raise UpstreamFailed("the tool server has ended", sent=False) from None

    def _write_now(self, message: Message) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(orjson.dumps(message) + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        pending, dropped = bytearray(), 0
        while chunk := await self._process.stdout.read(CHUNK):
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                pending += line
                if dropped:
                    self._too_large(bytes(pending))
                elif pending.strip():
                    self._take_line(bytes(pending))
                pending, dropped = bytearray(), 0
            pending += rest
            if len(pending) > self._line_bytes_max or (dropped and len(pending) > CHUNK):
                # Keep both ends: the id of a response stands in one of them.
                dropped += 1
                pending = pending[:ENDS_KEPT] + pending[-ENDS_KEPT:]
        self._ended()

    async def _watch(self) -> None:
        """Children of a program that ended may hold its pipes, so that reading never ends."""
        await child.exited(self._process)
        await asyncio.wait({self._reading}, timeout=LAST_WORDS_S)
        self._ended()

    def _ended(self) -> None:
        self._end(UpstreamFailed("the tool server has ended", sent=True))
        self._stopping = self._begin_stop()  # it may have left children behind

    def _take_line(self, line: bytes) -> None:
        try:
            message = parse_message(line)
        except UpstreamInvalid:
            return  # servers print by mistake; an answer that never comes runs into the timeout of its call
        if is_response(message):
            self._deliver(message.get("id"), message)
            return
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str):
            return
        if "id" in message:
            self._write_now(answer_to_server(message))
        elif method == PROGRESS:
            self._deliver(params.get("progressToken") if isinstance(params, dict) else None, message)
        else:
            self._on_notification(method)

    def _deliver(self, request_id: Any, item: Message | UpstreamError) -> bool:
        inbox = self._inboxes.get(request_id) if isinstance(request_id, int) else None
        if inbox is not None:
            inbox.put(item)
        return inbox is not None

    def _too_large(self, ends: bytes) -> None:
        error = UpstreamInvalid(f"the answer is larger than {self._line_bytes_max} bytes")
        for part in (ends[:ENDS_KEPT], ends[-ENDS_KEPT:]):
            if any(self._deliver(int(found), error) for found in _ID.findall(part)):
                return
        self._end(error)

    def _end(self, error: UpstreamError) -> None:
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.put(error)

    async def _drain_stderr(self) -> None:
        assert self._process.stderr is not None
        with suppress(OSError):
            while await self._process.stderr.read(CHUNK):
                pass


async def open_stdio(
    command: tuple[str, ...],
    env: Mapping[str, str],
    cwd: str | None,
    *,
    line_bytes_max: int,
    stop_grace_s: float,
    on_notification: OnNotification,
) -> StdioWire:
    process = await child.start(command, env, cwd)
    return StdioWire(process, line_bytes_max, stop_grace_s, on_notification)
