"""Calls a chat endpoint and measures it: `python -m benchmarks.load --port 8080 --calls 1000` prints one JSON object.

Closed loop (each connection calls again when it is answered) or open loop (`--rate`, where waiting for a free
connection counts). Every prompt is unique, connections are kept alive, and both the calls and the time are bounded.
"""

import argparse
import asyncio
import gc
import json
import os
import secrets
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from benchmarks.event_loop import run
from benchmarks.figures import summary_us
from benchmarks.http1 import FramingError, Reader, Role, header

KEY_VARIABLE = "BENCH_KEY"
FILLER = "Please say in one sentence what a comptroller does and why an agent should have one. "


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `rate` in calls per second, 0 = closed loop; `calls_per_session` 0 = name no session."""

    port: int
    host: str = "127.0.0.1"
    path: str = "/v1/chat/completions"
    model: str = "bench-plain"
    calls: int = 1000
    connections: int = 32
    stream: bool = False
    prompt_bytes: int = 256
    rate: float = 0.0
    calls_per_session: int = 0
    first_session: int = 0
    leave_every: int = 0
    leave_after_events: int = 10
    max_s: float = 120.0


class Load:
    """The calls of one plan over all its connections."""

    def __init__(self, plan: Plan, key: str) -> None:
        self.plan = plan
        self.latencies_s: list[float] = []
        self.first_events_s: list[float] = []
        self.gaps_s: list[float] = []
        self.events: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.left = 0
        self.finished = asyncio.Event()
        self._sent = 0
        self._ended = 0
        self._open: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False
        self._all_closed = asyncio.Event()
        self._due_s: deque[float] = deque()
        self._head, self._body = _request_parts(plan, key)
        self._nonce = secrets.token_hex(8)

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            for _ in range(min(self.plan.connections, self.plan.calls)):
                await self._connect()
        except OSError:
            self._give_up()
        started_s = time.perf_counter()
        if self.plan.rate:
            self._arrive(loop, started_s, 0)
        for connection in list(self._idle):
            self._offer(connection)
        try:
            async with asyncio.timeout(self.plan.max_s):
                await self.finished.wait()
        except TimeoutError:
            self.errors["out of time"] = self.plan.calls - self._ended
        seconds = time.perf_counter() - started_s
        report = self._report(seconds)
        await self._close()
        return report

    async def _close(self) -> None:
        self._closing = True
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in list(self._open):
            connection.abort()
        if self._open:
            await self._all_closed.wait()

    def opened(self, connection: "Connection") -> None:
        self._open.add(connection)
        self.idle(connection)

    def idle(self, connection: "Connection") -> None:
        self._idle.append(connection)
        if self._sent:
            self._offer(connection)

    def ended(self, error: str | None = None) -> None:
        """One call is over, well or not."""
        if self.finished.is_set():
            return
        if error is not None:
            self.errors[error] += 1
        self._ended += 1
        if self._ended == self.plan.calls:
            self.finished.set()

    def request(self, index: int) -> bytes:
        session = ""
        if self.plan.calls_per_session:
            number = self.plan.first_session + index // self.plan.calls_per_session
            session = f"x-comptroller-session: bench-{number}\r\n"
        return self._head + f"{session}\r\n".encode() + self._body % f"{index:012d}-{self._nonce}".encode()

    def leaves(self, index: int) -> bool:
        return self.plan.leave_every > 0 and index % self.plan.leave_every == self.plan.leave_every - 1

    def lost(self, connection: "Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closing:
            if not self._open:
                self._all_closed.set()
        elif self._sent < self.plan.calls:
            task = asyncio.ensure_future(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: "asyncio.Task[None]") -> None:
        self._connecting.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self._give_up()

    def _give_up(self) -> None:
        """The server is gone: what was not sent will not be."""
        self.errors["no connection"] += self.plan.calls - self._ended
        self._sent = self._ended = self.plan.calls
        self.finished.set()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Connection(self), self.plan.host, self.plan.port)

    def _offer(self, connection: "Connection") -> None:
        """Gives an idle connection the next call, if there is one for it."""
        if self._sent == self.plan.calls or (self.plan.rate and not self._due_s):
            return
        self._idle.remove(connection)
        since_s = self._due_s.popleft() if self.plan.rate else time.perf_counter()
        index = self._sent
        self._sent += 1
        connection.call(self.request(index), since_s, self.leaves(index))

    def _arrive(self, loop: asyncio.AbstractEventLoop, started_s: float, index: int) -> None:
        now_s = time.perf_counter()
        while index < self.plan.calls and started_s + index / self.plan.rate <= now_s:
            self._due_s.append(started_s + index / self.plan.rate)
            index += 1
        while self._idle and self._due_s:
            self._offer(self._idle[0])
        if index < self.plan.calls:
            loop.call_later(started_s + index / self.plan.rate - now_s, self._arrive, loop, started_s, index)

    def _report(self, seconds: float) -> dict[str, Any]:
        answered = len(self.latencies_s)
        return {
            "plan": asdict(self.plan),
            "calls": self.plan.calls,
            "answered": answered,
            "left": self.left,
            "errors": dict(self.errors),
            "seconds": round(seconds, 4),
            "calls_per_s": round(answered / seconds, 1),
            "latency_us": summary_us(self.latencies_s),
            "first_event_us": summary_us(self.first_events_s),
            "gap_us": summary_us(self.gaps_s),
            "events": sum(count * times for count, times in self.events.items()),
            "events_per_stream": {str(count): times for count, times in sorted(self.events.items())},
        }


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one call in flight."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._reader = Reader(Role.REPLIES, self._on_head, self._on_body, self._on_end)
        self._busy = False
        self._leaves = False
        self._last = False
        self._status = b""
        self._events = 0
        self._ends_in_newline = False
        self._since_s = 0.0
        self._at_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._load.opened(self)

    def abort(self) -> None:
        self._transport.abort()

    def call(self, request: bytes, since_s: float, leaves: bool) -> None:
        self._busy = True
        self._since_s = since_s
        self._leaves = leaves
        self._events = 0
        self._ends_in_newline = False
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except FramingError:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.close()
        if self._busy:
            self._busy = False
            self._load.ended("connection lost")
        self._load.lost(self)

    def _on_head(self, start: bytes, headers: bytes) -> None:
        self._status = start[9:12]
        self._last = header(headers, b"connection") == b"close"

    def _on_body(self, piece: bytes) -> None:
        if not self._load.plan.stream:
            return
        if b"\r" in piece:
            piece = piece.replace(b"\r", b"")
        events = piece.count(b"\n\n") + (self._ends_in_newline and piece[:1] == b"\n")
        self._ends_in_newline = piece[-1:] == b"\n" and piece[-2:] != b"\n\n"
        if not events:
            return
        now_s = time.perf_counter()
        if self._events == 0:
            self._load.first_events_s.append(now_s - self._since_s)
        else:
            self._load.gaps_s.append(now_s - self._at_s)
        self._load.gaps_s.extend([0.0] * (events - 1))
        self._at_s = now_s
        self._events += events
        if self._leaves and self._busy and self._events >= self._load.plan.leave_after_events:
            self._busy = False
            self._load.left += 1
            self._load.ended()
            self._transport.abort()

    def _on_end(self) -> None:
        if not self._busy:
            return
        self._busy = False
        if self._status == b"200":
            self._load.latencies_s.append(time.perf_counter() - self._since_s)
            if self._load.plan.stream:
                self._load.events[self._events] += 1
            self._load.ended()
        else:
            self._load.ended(f"status {self._status.decode()}")
        if self._last:
            self._transport.close()
        else:
            self._load.idle(self)


def _request_parts(plan: Plan, key: str) -> tuple[bytes, bytes]:
    """The head up to the session header, and the body with one `%b` for what makes it unique."""
    filler = (FILLER * (plan.prompt_bytes // len(FILLER) + 1))[: plan.prompt_bytes]
    body: dict[str, Any] = {
        "model": plan.model,
        "messages": [{"role": "user", "content": f"Call %b. {filler}"}],
        "max_tokens": 4096,
    }
    if plan.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    text = json.dumps(body, separators=(",", ":")).encode()
    length = len(text % b"") + 12 + 1 + 16
    head = (
        f"POST {plan.path} HTTP/1.1\r\nhost: {plan.host}:{plan.port}\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n"
    )
    return head.encode(), text


async def measure(plan: Plan, key: str = "none") -> dict[str, Any]:
    return await Load(plan, key).run()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__, epilog=f"Key: ${KEY_VARIABLE}."
    )
    for field in fields(Plan):
        flag = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(flag, action="store_true")
        elif field.name == "port":
            parser.add_argument(flag, type=int, required=True)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default)
    plan = Plan(**vars(parser.parse_args(arguments)))
    # A collection would show as latency; the run is bounded, so its garbage is too.
    gc.disable()
    print(json.dumps(run(measure(plan, os.environ.get(KEY_VARIABLE, "none")))))


if __name__ == "__main__":
    main(sys.argv[1:])
