"""An agent that ran out asks a person over MCP; a person decides on the command line; the agent goes on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.clients import Counted, ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, OPEN_POLICY, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-asking")

LEAD = "p, user:carol, -, -, portal:requests:approve, , allow\n\n# rows: 4\n"
POLICY = OPEN_POLICY.replace("\n# rows: 3\n", LEAD)
LIMITS: list[dict[str, Any]] = [
    {"name": "two", "key": "alice", "requests": 2, "window": "day", "action": "pause"},
    {"name": "narrow", "key": "stream", "each": "session", "tokens": 2_000},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("asking"),
        upstream.base_url,
        keys=[ALICE, BOB, {"name": "stream", "user": "streamer"}],
        limits=LIMITS,
        policy=POLICY,
        models={"small": {"provider": "mock", "model": "mock-ok", "price": PRICE, "max_output_tokens": 16_384}},
        estimates={"slice_min": 256},
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@asynccontextmanager
async def mcp(gateway: GatewayProcess, key: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {gateway.keys[key]}"}
    url = gateway.base_url.removesuffix("/v1") + "/mcp"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30.0) as http,
        Client(streamable_http_client(url, http_client=http), cache=None) as client,
    ):
        yield client


async def requested(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("quota_request", arguments)
    assert not result.is_error, result
    found: dict[str, Any] = result.structured_content["requests"][0]
    return found


async def test_rule_28_an_agent_asks_a_person_decides_the_paused_agent_goes_on(gateway: GatewayProcess) -> None:
    with sdk(gateway) as client:
        for _ in range(2):
            client.chat.completions.create(**ask(scripted()))
    with Counted(gateway, "alice") as counted:
        refused = counted.refused(**ask(scripted()))
        assert refused.code == "budget_exhausted"
        assert counted.refused(**ask(scripted())).code == "session_paused"
    async with mcp(gateway, "alice") as agent, mcp(gateway, "bob") as other:
        asked = await requested(agent, call=refused.machine["call"], amount=3, reason="three pages left", until="2h")
        assert (asked["state"], asked["limit"]) == ("pending", "two")
        assert (await other.call_tool("quota_request", {"request": asked["request"]})).is_error
        own = gateway.cli("requests", "approve", asked["request"], "--as", "alice", check=False)
        assert own.code == 2
        assert gateway.cli("requests", "approve", asked["request"], "--as", "bob", check=False).code == 2
        approved = gateway.cli("requests", "approve", asked["request"], "--amount", "1", "--as", "carol", "--json").json
        assert (approved["granted"], approved["decided_by"]) == (1, "user:carol")
        assert (await requested(agent, request=asked["request"]))["state"] == "approved"
    with sdk(gateway) as client:
        client.chat.completions.create(**ask(scripted()))
    with Counted(gateway, "alice") as counted:
        limit = counted.refused(**ask(scripted())).machine["limit"]
    assert (limit["limit"], limit["granted"], limit["spent"]) == (3, 1, 3)
    eventually(lambda: actions(gateway) == ["opened", "approved", "used"], what="the first use written down")
    assert gateway.cli("audit", "verify", "--json").json["ok"] is True


def actions(gateway: GatewayProcess) -> list[str]:
    return [doc["action"] for doc in gateway.journal("request") if doc["limit"] == "two"]


def test_a_stream_that_runs_takes_what_was_granted_with_its_next_slice(gateway: GatewayProcess) -> None:
    """It is let in with room for all of it; then its session spends most of that elsewhere."""
    spend = scripted(usage={"prompt_tokens": 100, "completion_tokens": 1_500})
    with sdk(gateway, "stream", session="streaming") as client:
        stream = iter(client.chat.completions.create(**ask(scripted(events=700, pace_s=0.004), stream=True)))
        events = [next(stream) for _ in range(5)]
        client.chat.completions.create(**ask(spend))
        (scope,) = [c["scope"] for c in gateway.admin("GET", "/api/v1/limits?name=narrow").json["limits"]]
        grant = {"scope": scope, "amount": 3_000, "reason": "the answer is long"}
        assert gateway.admin("POST", "/api/v1/limits/narrow/grants", grant).status == 201
        events += stream
    assert sum(1 for chunk in events if chunk.choices and chunk.choices[0].delta.content) == 700
    gateway.quiesce()
    assert gateway.held() == 0
