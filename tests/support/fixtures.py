"""Pytest fixtures: the scripted upstream as a real process. Import the fixture in your directory's conftest.py:

    from tests.support.fixtures import clean_upstream, upstream    # noqa: F401

`upstream` is one process for the session (one per xdist worker; own port; ended with the session, or when the worker
dies). `clean_upstream` is the same process with its log and rules forgotten before the test: the usual choice.

    async def test_a_failed_call_costs_nothing(clean_upstream):
        base_url = clean_upstream.base_url                     # "http://127.0.0.1:40123/v1", for a provider's base_url
        clean_upstream.script(preset="mock-503", times=1)      # rule for the next call; later calls get the usual reply
        clean_upstream.script(model="gpt-x", events=50, pace_s=0.01, usage="missing")    # every call of this model
        ...call the gateway...
        row = clean_upstream.log()[0]                       # what reached the provider, and what was told to the caller
        assert ("authorization", "Bearer canary") in row.headers and row.usage["completion_tokens"] == 50

Without any rule a call picks its behaviour by model name (`mock-hang-mid`: PRESETS of upstream_script.py) or by a
marker in its text that survives any gateway and is safe in parallel: `[[mock {"events": 50, "fault": "drip"}]]`.
Usual reply: 5 words; 1 word = 1 event = 1 completion token a choice; prompt tokens = ceil(bytes of message text / 4).
The methods block for some milliseconds, which is fine in async tests since it is another process; only waiting must let
your own loop run: `await clean_upstream.until(lambda stats: stats["in_flight"] == 0)`.
"""

import asyncio
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["LogRow", "UpstreamProcess", "clean_upstream", "upstream"]

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class LogRow:
    """One request as the upstream saw it, and what it did. Fields: docstring of upstream_server.py."""

    seq: int
    connection: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str
    model: str | None
    stream: bool
    started_us: int
    ended_us: int | None
    outcome: str
    events: int
    sent_parts: int
    usage: dict[str, Any] | None

    @property
    def json(self) -> dict[str, Any]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case on the wire."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class UpstreamProcess:
    """Starts the scripted upstream at construction; `stop()` ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.upstream_server", "--until-stdin-closes"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())["port"]
        self.pid = self._process.pid

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def script(
        self, *, model: str | None = None, contains: str | None = None, times: int | None = None, **fields: Any
    ) -> None:
        """Adds a rule, tried before older ones. `fields` are those of `Script`, or `preset=` with changes to it."""
        order = {"model": model, "contains": contains, "times": times, "script": fields}
        self._control("POST", "/__control", order)

    def log(self) -> list[LogRow]:
        """All requests since the last reset, in the order of their arrival."""
        rows = self.stats()["requests"]
        return [LogRow(**{**row, "headers": tuple(tuple(pair) for pair in row["headers"])}) for row in rows]

    def stats(self) -> dict[str, Any]:
        """`/__log` as it is: also count, in_flight, in_flight_max, connections_open, connections_total."""
        return self._control("GET", "/__log")

    def reset(self) -> None:
        self._control("POST", "/__reset")

    def release(self) -> None:
        """Lets the calls go on whose script says `waits`; also later ones, until the reset."""
        self._control("POST", "/__release")

    def wait_until(self, true_of: Callable[[dict[str, Any]], bool], *, timeout_s: float = 5.0) -> dict[str, Any]:
        """Polls `stats()` until the condition holds. It blocks; in async tests use `until`."""
        deadline = time.monotonic() + timeout_s
        while not true_of(stats := self.stats()):
            if time.monotonic() > deadline:
                raise AssertionError(f"the upstream never got there: {stats}")
            time.sleep(0.005)
        return stats

    async def until(self, true_of: Callable[[dict[str, Any]], bool], *, timeout_s: float = 5.0) -> dict[str, Any]:
        """`wait_until` beside the running loop: a closed transport lets go of its socket only when the loop turns."""
        return await asyncio.to_thread(self.wait_until, true_of, timeout_s=timeout_s)

    def stop(self) -> None:
        """Idempotent. Also the way to make the provider unreachable."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            reply = connection.getresponse()
            document = json.loads(reply.read())
            if reply.status != 200:
                raise ValueError(document["error"])
            assert isinstance(document, dict)
            return document
        finally:
            connection.close()


@pytest.fixture(scope="session")
def upstream() -> Iterator[UpstreamProcess]:
    process = UpstreamProcess()
    yield process
    process.stop()


@pytest.fixture
def clean_upstream(upstream: UpstreamProcess) -> Iterator[UpstreamProcess]:
    """Clean afterwards too: the fixtures of the next module may call it before any of its tests does."""
    upstream.reset()
    yield upstream
    upstream.reset()
