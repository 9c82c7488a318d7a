"""A mock provider in the OpenAI chat format that costs next to nothing, so that a measurement shows the gateway alone.

Every reply is built once and written as it is. The model's name says what comes back: `bench-plain`, `bench-plain-20ms`
(after a delay), `bench-stream-200` (200 content events in one write), `bench-paced-200-5ms` (one event every 5 ms).
"""

import argparse
import asyncio
import json
import re
import signal
import sys
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from benchmarks.event_loop import run
from benchmarks.http1 import FramingError, Reader, Role, chunk, header

MODELS = ("bench-plain", "bench-plain-20ms", "bench-stream-200", "bench-paced-200-5ms", "bench-paced-40-2ms")
EVENTS_DEFAULT = 200
EVENTS_MAX = 10_000
TOKENS_AN_EVENT = 8
TEXT_AN_EVENT = "quick brown foxes jump over lazy dogs "
PROMPT_TOKENS = 64

# A quote inside a JSON string is escaped, so these can only match at a real member, never inside a prompt.
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]*)"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_NAME = re.compile(r"bench-(?:plain(?:-(?P<delay>\d+)ms)?|stream-(?P<burst>\d+)|paced-(?P<paced>\d+)-(?P<pace>\d+)ms)")

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Prebuilt bytes: `pieces` are written one by one, `pace_s` apart, the first after `delay_s`."""

    pieces: tuple[bytes, ...]
    delay_s: float = 0.0
    pace_s: float = 0.0


class UpstreamProtocol(asyncio.Protocol):
    """One connection. Requests that come before a paced reply is complete wait for their turn."""

    def __init__(self) -> None:
        self._reader = Reader(Role.REQUESTS, self._on_head, self._on_body, self._on_end)
        self._start = b""
        self._body = b""
        self._closing = False
        self._waiting: deque[Reply] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except FramingError:
            self._transport.close()

    def _on_head(self, start: bytes, headers: bytes) -> None:
        self._start = start
        self._body = b""
        self._closing = header(headers, b"connection") == b"close" or start.endswith(b"HTTP/1.0")
        if header(headers, b"expect") == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _on_body(self, piece: bytes) -> None:
        self._body += piece

    def _on_end(self) -> None:
        reply = reply_to(self._start, self._body)
        if self._timer is not None:
            self._waiting.append(reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.pace_s or reply.delay_s:
            self._timer = self._loop.call_later(reply.delay_s, self._tick, reply, 0, self._loop.time() + reply.delay_s)
            return
        self._transport.write(reply.pieces[0])
        self._done()

    def _tick(self, reply: Reply, index: int, started_s: float) -> None:
        self._transport.write(reply.pieces[index])
        index += 1
        if index < len(reply.pieces):
            # Times are counted from the start, so that lateness does not add up.
            self._timer = self._loop.call_at(started_s + index * reply.pace_s, self._tick, reply, index, started_s)
        else:
            self._timer = None
            self._done()

    def _done(self) -> None:
        if self._waiting:
            self._send(self._waiting.popleft())
        elif self._closing:
            self._transport.close()


def reply_to(start: bytes, body: bytes) -> Reply:
    if start.startswith(b"POST /v1/chat/completions "):
        model = _MODEL.search(body)
        if model is None:
            return _error(400, "The request names no model.")
        return chat_reply(model[1].decode(), _STREAM.search(body) is not None, _INCLUDE_USAGE.search(body) is not None)
    if start.startswith(b"GET /v1/models "):
        return _models()
    return _error(404, "There is nothing here.")


@lru_cache(maxsize=64)
def chat_reply(model: str, stream: bool, include_usage: bool) -> Reply:
    options = _NAME.fullmatch(model)
    if options is None:
        return _error(404, "The model does not exist.")
    delay_s = int(options["delay"] or 0) / 1000
    events = min(int(options["burst"] or options["paced"] or EVENTS_DEFAULT), EVENTS_MAX)
    if not stream:
        return Reply((_json_reply(200, _completion(model)),), delay_s=delay_s)
    written = [f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode() for event in _events(model, events)]
    if include_usage:
        written.append(f"data: {json.dumps(_usage_event(model, events), separators=(',', ':'))}\n\n".encode())
    written.append(b"data: [DONE]\n\n")
    chunks = [chunk(event) for event in written]
    chunks[0] = _STREAM_HEAD + chunks[0]
    chunks[-1] += b"0\r\n\r\n"
    if options["pace"]:
        return Reply(tuple(chunks), pace_s=int(options["pace"]) / 1000)
    return Reply((b"".join(chunks),), delay_s=delay_s)


def event_count(events: int) -> int:
    """How many server-sent events a client sees: the content, the finish reason, the usage and `[DONE]`."""
    return events + 3


def _completion(model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": TEXT_AN_EVENT * 7, "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_767_225_600,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(7 * TOKENS_AN_EVENT),
    }


def _usage(completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion_tokens,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
    }


def _events(model: str, events: int) -> list[dict[str, Any]]:
    # Numbered, because some gateways end a stream that says the same thing a hundred times.
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"content": f"{number} {TEXT_AN_EVENT}"}, None) for number in range(events)
    ]
    deltas[0][0]["role"] = "assistant"
    deltas.append(({}, "stop"))
    return [
        _event(model, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])
        for delta, finish in deltas
    ]


def _usage_event(model: str, events: int) -> dict[str, Any]:
    return {**_event(model, []), "usage": _usage(events * TOKENS_AN_EVENT)}


def _event(model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    event = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": model}
    return {**event, "choices": choices}


@lru_cache(maxsize=1)
def _models() -> Reply:
    data = [{"id": name, "object": "model", "created": 1_767_225_600, "owned_by": "bench"} for name in MODELS]
    return Reply((_json_reply(200, {"object": "list", "data": data}),))


def _error(status: int, message: str) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Reply((_json_reply(status, {"error": error}),))


def _json_reply(status: int, value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def serve(host: str, port: int) -> None:
    """Prints the port as JSON once it listens (port 0 takes a free one) and ends on SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(UpstreamProtocol, host, port, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await ended.wait()
    server.close()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(arguments)
    run(serve(options.host, options.port))


if __name__ == "__main__":
    main(sys.argv[1:])
