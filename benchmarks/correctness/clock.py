"""An opened node whose wall clock is moved by hand, with the scripted provider behind it: for what happens at the edges
of windows. Everything is real but the time, and there is no socket in front."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.correctness.site import model
from gateway.app import Application, opened
from gateway.core.hold import CounterView
from gateway.core.identity import make_secret
from gateway.settings import parse
from gateway.wiring.housekeeping import Housekeeper
from tests.support.gateway import OPEN_POLICY, POLICY_TESTS, ROOT

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECRET = make_secret(1)
ENVIRONMENT: Mapping[str, str] = {"ALICE": SECRET, "ADMIN": "admin-token-of-the-benchmark-of-edges"}


def at_us(text: str) -> int:
    """An instant with its offset from UTC, in microseconds."""
    return (datetime.fromisoformat(text).astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


@dataclass(slots=True)
class HandClock:
    """See `gateway.ports.Clock`: the wall clock stands until it is moved, durations pass as they do."""

    at_us: int
    real: Any

    def now_us(self) -> int:
        return self.at_us

    def monotonic_ns(self) -> int:
        ns: int = self.real.monotonic_ns()
        return ns


@dataclass(frozen=True, slots=True)
class Told:
    """A reply: its status, and what a denial says of its limit."""

    status: int
    body: Any

    @property
    def code(self) -> str:
        return "" if self.status == 200 else str(self.body["error"]["code"])

    @property
    def limit(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.body["error"]["comptroller"]["limit"]
        return found


@dataclass(slots=True)
class ClockedNode:
    application: Application
    client: httpx2.AsyncClient
    clock: HandClock
    directory: Path

    async def chat(self, text: str) -> Told:
        """A small call in a session of its own; its settlement is in the books when this returns."""
        body = {"model": "small", "messages": [{"role": "user", "content": text}], "max_tokens": 5}
        headers = {"authorization": f"Bearer {SECRET}", "x-comptroller-session": text.replace(" ", "-")}
        reply = await self.client.post("/v1/chat/completions", json=body, headers=headers)
        await self.application.node.books.totals([])
        return Told(reply.status_code, reply.json())

    def counter(self, name: str) -> CounterView | None:
        views = self.application.node.limiter.views(self.clock.now_us())
        return next((view for view in views if view.name == name), None)

    async def reload(self, limits: Sequence[Mapping[str, Any]], upstream_url: str) -> tuple[str, ...]:
        write(self.directory, limits, upstream_url)
        return await Housekeeper(self.application.node, dict(ENVIRONMENT)).reload()


def write(directory: Path, limits: Sequence[Mapping[str, Any]], upstream_url: str) -> Path:
    """The configuration, as JSON, which is YAML."""
    (directory / "policies").mkdir(exist_ok=True)
    (directory / "policies" / "10-test.csv").write_text(OPEN_POLICY)
    (directory / "policies" / "tests.yaml").write_text(POLICY_TESTS)
    (directory / "model.conf").write_text((ROOT / "model.conf").read_text())
    config = {
        "storage": {"url": "sqlite:///var/comptroller.db"},
        "admin": {"token": "${ADMIN}"},
        "providers": {"mock": {"kind": "openai_compatible", "base_url": upstream_url, "api_key": "none"}},
        "models": {"small": model()},
        "keys": [{"name": "alice", "user": "alice", "secret": "${ALICE}"}],
        "limits": list(limits),
        "sessions": {"max_new_per_hour": 100_000},
        "loops": {"identical_requests": 100_000},
    }
    path = directory / "comptroller.yaml"
    path.write_text(json.dumps(config))
    return path


@asynccontextmanager
async def clocked(
    directory: Path, limits: Sequence[Mapping[str, Any]], upstream_url: str, now_us: int
) -> AsyncIterator[ClockedNode]:
    """The books stay in the directory, so opening again is a restart."""
    path = write(directory, limits, upstream_url)
    loaded = parse(path.read_bytes(), ENVIRONMENT, path=path)
    with (directory / "output.txt").open("ab") as log:
        async with opened(loaded, tools=False, log_to=log) as application:
            plane = application.node.plane
            clock = HandClock(now_us, plane.clock)
            plane.clock = clock
            transport = httpx2.ASGITransport(app=application.asgi)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30.0) as client:
                yield ClockedNode(application, client, clock, directory)
