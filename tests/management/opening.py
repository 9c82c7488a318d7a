"""An opened node for tests of the control plane: the real books, limiter, policy and simulated provider, no socket."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from gateway.app import Application, opened
from gateway.core.call import Caller
from gateway.core.identity import make_secret
from gateway.management.keys import KeyDesk
from gateway.pipeline.plane import Plane
from gateway.settings import parse
from tests.tidy.tree import ROOT

ADMIN_TOKEN = "admin-token-of-the-tests"
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
POLICY = """\
p, role:everyone, small, *, model:invoke, , allow
p, team:platform, large, *, model:invoke, , allow
p, role:everyone, *, files__*, tool:call, , allow
p, agent:reviewer, *, files__delete, tool:call, agent.environment == 'production', deny
"""
ALICE = make_secret(1)
BOB = make_secret(2)
ENVIRONMENT: Mapping[str, str] = {"ADMIN": ADMIN_TOKEN, "ALICE": ALICE, "BOB": BOB}

CONFIG: Mapping[str, Any] = {
    "storage": {"url": "sqlite:///var/comptroller.db"},
    "admin": {"token": "${ADMIN}"},
    "providers": {"sim": {"kind": "simulated"}},
    "models": {
        "small": {"provider": "sim", "price": PRICE, "max_output_tokens": 100},
        "large": {"provider": "sim", "price": PRICE, "max_output_tokens": 100, "tier": "premium"},
    },
    "agents": {"reviewer": {"environment": "production"}},
    "keys": [
        {"name": "alice", "user": "alice", "team": "platform", "agent": "reviewer", "secret": "${ALICE}"},
        {"name": "bob", "user": "bob", "secret": "${BOB}"},
    ],
    "limits": [
        {"name": "session-tokens", "each": "session", "tokens": 100_000},
        {"name": "user-day", "each": "user", "usd": 5, "window": "day", "overrides": {"user:bob": 2}},
        {"name": "premium-day", "each": "user", "model_tier": "premium", "requests": 50, "window": "day"},
    ],
    "sessions": {"max_new_per_hour": 1000},
    "loops": {"identical_requests": 1000},
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A node with what tests ask of it. Secrets are those of the declared keys."""

    application: Application
    client: httpx2.AsyncClient

    @property
    def plane(self) -> Plane:
        return self.application.node.plane

    @property
    def desk(self) -> KeyDesk:
        return self.application.face.control.keys

    @property
    def reports(self) -> Any:
        return self.application.node.books.reports

    def caller(self, name: str) -> Caller:
        key = self.plane.keys.named(name)
        caller = None if key is None else self.plane.keys.caller(key.digest)
        assert caller is not None
        return caller

    async def chat(
        self, secret: str, *, session: str = "run", model: str = "small", text: str = "hi"
    ) -> httpx2.Response:
        """A governed call; its settlement is in the books when this returns."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 20}
        headers = {"authorization": f"Bearer {secret}", "x-comptroller-session": session}
        reply = await self.client.post("/v1/chat/completions", json=body, headers=headers)
        await self.application.node.books.totals([])
        return reply

    async def admin(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        content = None if body is None else json.dumps(body)
        sent = {"authorization": f"Bearer {ADMIN_TOKEN}", "content-type": "application/json", **headers}
        return await self.client.request(method, path, content=content, headers=sent)

    async def session_id(self, client_id: str) -> str:
        rows = await self.reports.sessions(key_id=None, state=None, limit=100)
        return next(row.session.id for row in rows if row.session.mark.client_id == client_id)


@asynccontextmanager
async def opening(directory: Path, **sections: Any) -> AsyncIterator[Opened]:
    """`sections` replace those of CONFIG. The books stay in the directory, so opening again is a restart."""
    (directory / "policies").mkdir(exist_ok=True)
    (directory / "policies" / "10-test.csv").write_text(POLICY)
    (directory / "model.conf").write_text((ROOT / "model.conf").read_text())
    path = directory / "comptroller.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **sections}, sort_keys=False))
    loaded = parse(path.read_bytes(), ENVIRONMENT, path=path)
    async with opened(loaded, tools=False) as application:
        transport = httpx2.ASGITransport(app=application.asgi)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Opened(application, client)
