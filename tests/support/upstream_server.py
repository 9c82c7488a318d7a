"""A real HTTP upstream in a process of its own that speaks the OpenAI format and misbehaves on demand.

    python -m tests.support.upstream_server --port 0      # prints {"port": 40123} and serves until it is ended

Tests take the fixture `upstream` of tests/support/fixtures.py, which starts it and has its own manual there. Over HTTP:

    POST /v1/chat/completions, /v1/messages, /v1beta/models/m:generateContent, /v1/embeddings, GET /v1/models
                  any prefix; a script plays (upstream_script.py)
    POST /__control   {"script": {...}, "model": "gpt-x", "contains": "text", "times": 1}     adds a rule
    GET  /__log       {"requests": [...], "connections_open": 1, "connections_total": 4, "in_flight_max": 3, ...}
    POST /__release   lets the calls go on whose script says `waits`
    POST /__reset     forgets rules and log

A row of the log: seq, connection, method, target, headers (pairs, verbatim), body (text), model, stream, started_us,
ended_us, outcome (complete, client_gone, playing, fault:<name>), events (content events handed out), sent_parts, usage
(as reported to the caller, or null). Connections that carry control requests are not counted.
"""

import argparse
import asyncio
import json
import socket
import struct
import sys
import time
from typing import Any

from tests.support import upstream_bedrock, upstream_gemini
from tests.support.upstream_player import parsed_body, play
from tests.support.upstream_replies import encode, message_text
from tests.support.upstream_script import Chooser, Rule, script_of


def now_us() -> int:
    return time.time_ns() // 1000


class Books:
    """What the upstream saw and did; the truth that a test compares the gateway's ledger with."""

    def __init__(self) -> None:
        self.chooser = Chooser()
        self.open: set[int] = set()
        self.closing: set[asyncio.Task[None]] = set()
        self.connections_total = 0
        self.released = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.chooser.rules.clear()
        self.released.clear()
        self.requests: list[dict[str, Any]] = []
        self.in_flight = 0
        self.in_flight_max = 0
        self.resets_unread = 0

    def begin(self, request: "Request", connection: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "seq": len(self.requests),
            "connection": connection,
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": request.body.decode("utf-8", "backslashreplace"),
            "model": None,
            "stream": False,
            "started_us": now_us(),
            "ended_us": None,
            "outcome": "playing",
            "events": 0,
            "sent_parts": 0,
            "usage": None,
        }
        self.requests.append(entry)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        return entry

    def end(self, entry: dict[str, Any]) -> None:
        entry["ended_us"] = now_us()
        self.in_flight = max(0, self.in_flight - 1)

    def snapshot(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "count": len(self.requests),
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "connections_open": len(self.open),
            "connections_total": self.connections_total,
            "resets_unread": self.resets_unread,
        }

    def control(self, request: "Request") -> tuple[int, dict[str, Any]]:
        match request.target:
            case "/__log":
                return 200, self.snapshot()
            case "/__reset":
                self.reset()
                return 200, {}
            case "/__release":
                self.released.set()
                return 200, {}
            case "/__control":
                order = json.loads(request.body)
                try:
                    script = script_of(order.pop("script", {}))
                    self.chooser.rules.append(Rule(script, **order))
                except (TypeError, ValueError, KeyError) as exc:
                    return 400, {"error": str(exc)}
                return 200, {}
        return 404, {"error": "no such control"}


class Request:
    """One parsed request; `size` is what it took from the buffer."""

    def __init__(self, head: bytes, body: bytes) -> None:
        start, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = start.split(" ", 2)
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        self.body = body


def take_request(buffer: bytearray) -> Request | None:
    """Removes one complete request (content-length or chunked) from the buffer, if it holds one."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end])
    fields = {line.split(b":", 1)[0].lower(): line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")[1:]}
    at = end + 4
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = bytearray()
        while (line_end := buffer.find(b"\r\n", at)) >= 0:
            size = int(buffer[at:line_end], 16)
            if len(buffer) < line_end + 2 + size + 2:
                return None
            body += buffer[line_end + 2 : line_end + 2 + size]
            at = line_end + 2 + size + 2
            if size == 0:
                del buffer[:at]
                return Request(head, bytes(body))
        return None
    length = int(fields.get(b"content-length", b"0"))
    if len(buffer) < at + length:
        return None
    body_bytes = bytes(buffer[at : at + length])
    del buffer[: at + length]
    return Request(head, body_bytes)


class Connection(asyncio.Protocol):
    """One client connection: requests in order, one script at a time; a client that leaves cancels its script."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._doomed = False
        self._id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._books.connections_total += 1
        self._id = self._books.connections_total
        self._books.open.add(self._id)

    def connection_lost(self, exc: Exception | None) -> None:
        self._books.open.discard(self._id)
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._doomed:
            self._books.resets_unread += 1
            self.reset()
            return
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._task is None and (request := take_request(self._buffer)) is not None:
            self._task = asyncio.get_running_loop().create_task(self._serve(request))
            self._task.add_done_callback(self._served)

    def _served(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            print(f"scripted upstream: {error!r}", file=sys.stderr, flush=True)
            self.close()
        elif not self._transport.is_closing():
            self._next()

    async def _serve(self, request: Request) -> None:
        if request.target.startswith("/__"):
            if self._id in self._books.open:
                self._books.open.discard(self._id)
                self._books.connections_total -= 1
            status, reply = self._books.control(request)
            body = encode(reply)
            await self.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
            return
        entry = self._books.begin(request, self._id)
        path = request.target.split("?")[0]
        document = upstream_bedrock.asked(path, upstream_gemini.asked(path, parsed_body(request.body)))
        entry["model"], entry["stream"] = document.get("model"), bool(document.get("stream"))
        script = self._books.chooser.pick(document.get("model"), entry["body"], _text_of(document))
        try:
            if script.waits:
                await self._books.released.wait()
            await play(self, script, path, document, entry)
        except (asyncio.CancelledError, ConnectionError):
            entry["outcome"] = "client_gone"
            raise
        finally:
            self._books.end(entry)

    async def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise asyncio.CancelledError
        self._transport.write(data)
        await self._writable.wait()

    def half_close(self) -> None:
        self._transport.write_eof()

    def close(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def reset_at_next_byte(self) -> None:
        self._doomed = True


def _text_of(document: dict[str, Any]) -> str:
    return upstream_gemini.contents_text(document) if "contents" in document else message_text(document)


async def serve(host: str, port: int, *, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    books = Books()
    server = await loop.create_server(lambda: Connection(books), host, port, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    if until_stdin_closes:
        ended = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
        loop.remove_reader(sys.stdin.fileno())
        server.close()
    else:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="scripted OpenAI-format upstream")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the starter does")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.host, options.port, until_stdin_closes=options.until_stdin_closes))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
