"""MCP over the real gateway: one wallet for models and tools, one policy for both, a real tool server behind it."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.clients import ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, OPEN_POLICY, PRICE, ROOT, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-mcp")

SERVER = ROOT / "examples" / "mcp_tools" / "server.py"
DENY = """\
p, user:bob, *, notes__delete_note, tool:call, , deny
p, user:bob, *, notes__delete_note, tool:list, , deny
p, user:bob, *, notes__delete_note, model:invoke, , deny
p, user:alice, forbidding, notes__add_note, tool:call, , deny

# rows: 7
"""
MODEL = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096}


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess
) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("mcp"),
        upstream.base_url,
        server=request.param,
        keys=[
            ALICE,
            BOB,
            {"name": "few", "user": "fay"},
            {"name": "looping", "user": "lou"},
            {"name": "lone", "user": "lone"},
        ],
        policy=OPEN_POLICY.replace("\n# rows: 3\n", DENY),
        models={"small": {**MODEL, "model": "mock-ok"}, "forbidding": {**MODEL, "model": "mock-ok"}},
        limits=[
            {"name": "session-tokens", "each": "session", "tokens": 100_000},
            {"name": "session-usd", "each": "session", "usd": 1},
            {"name": "two-tools", "key": "few", "tool_calls": 2, "window": "day"},
        ],
        loops={"identical_tool_calls": 4},
        mcp={
            "servers": {
                "notes": {"transport": "stdio", "command": [sys.executable, str(SERVER)], "price_usd_per_call": 0.002}
            }
        },
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@asynccontextmanager
async def mcp(
    gateway: GatewayProcess, key: str = "alice", *, session: str | None = None, mode: str = "auto"
) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {gateway.keys[key]}"}
    if session is not None:
        headers["x-comptroller-session"] = session
    url = gateway.base_url.removesuffix("/v1") + "/mcp"
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode, cache=None) as client:
            yield client


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


def said(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = result.structured_content
    return found


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_tool_call_is_charged_to_the_session_of_the_model_calls(gateway: GatewayProcess, mode: str) -> None:
    session = f"one-wallet-{mode}"
    with sdk(gateway, session=session) as client:
        client.chat.completions.create(**ask(scripted(usage={"prompt_tokens": 10, "completion_tokens": 5})))
    async with mcp(gateway, session=session, mode=mode) as client:
        assert "notes__add_note" in await names(client)
        added = await client.call_tool("notes__add_note", {"text": f"milk {mode}"})
        assert not added.is_error
        status = said(await client.call_tool("quota_status", {"session": session}))
    (own,) = [each for each in status["sessions"] if len(each["limits"]) == 2 and each["limits"][0]["spent"]]
    spent = {limit["name"]: limit["spent"] for limit in own["limits"]}
    assert spent == {"session-tokens": 15, "session-usd": pytest.approx(0.002 + 20e-6)}
    gateway.quiesce()
    (row,) = [
        r
        for r in gateway.cli("usage", "--by", "session,tool", "--json").json
        if r["session"] == own["session"] and r["tool"] == "notes__add_note"
    ]
    assert (row["tool_calls"], row["cost_usd"]) == (1, pytest.approx(0.002))


async def test_the_list_and_the_call_are_judged_by_the_same_policy(gateway: GatewayProcess) -> None:
    async with mcp(gateway, "alice") as alice, mcp(gateway, "bob") as bob:
        assert "notes__delete_note" in await names(alice)
        assert "notes__delete_note" not in await names(bob)
        refused = await bob.call_tool("notes__delete_note", {"id": 1})
        assert refused.is_error


@pytest.mark.parametrize(
    "declared", ["notes__delete_note", "mcp__comptroller__notes__delete_note", "comptroller_notes__delete_note"]
)
def test_rule_19_a_reexported_tool_is_judged_by_the_policy_of_the_tool(gateway: GatewayProcess, declared: str) -> None:
    """Names under which agents re-export our tools do not slip past a deny row."""
    tool = {"type": "function", "function": {"name": declared, "parameters": {"type": "object"}}}
    eventually(lambda: _refused(gateway, tool), what="the gateway knowing its tools")
    answer = _refused(gateway, tool)
    assert answer is not None
    assert answer["code"] == "tool_denied"
    assert declared in answer["message"]


def _refused(gateway: GatewayProcess, tool: dict[str, Any]) -> dict[str, Any] | None:
    reply = httpx2.post(
        f"{gateway.base_url}/chat/completions",
        headers={"Authorization": f"Bearer {gateway.keys['bob']}"},
        json={**ask(f"with {tool['function']['name']}"), "tools": [tool]},
    )
    error: dict[str, Any] | None = reply.json().get("error") if reply.status_code == 400 else None
    return error


async def test_rule_15_the_session_is_the_one_whose_reply_asked_for_this_call(gateway: GatewayProcess) -> None:
    asked = {"text": "asked for by the model"}
    with sdk(gateway, session="asker") as client:
        client.chat.completions.create(
            **ask(scripted(tool_calls=[{"name": "mcp__comptroller__notes__add_note", "arguments": asked}]))
        )
        other = client.with_options(default_headers={"x-comptroller-session": "other"})
        other.chat.completions.create(**ask("somebody else"))
    async with mcp(gateway) as client:
        result = await client.call_tool("notes__add_note", asked)
        assert not result.is_error
    gateway.quiesce()
    (session,) = gateway.rows("SELECT session_id FROM calls WHERE kind = 'tool' ORDER BY seq DESC LIMIT 1")[0].values()
    by_client = {row["client_id"]: row["id"] for row in gateway.cli("sessions", "list", "--json").json}
    assert session == by_client["asker"]


async def test_rule_15_without_a_sign_it_is_the_keys_only_active_session_else_its_implicit_one(
    gateway: GatewayProcess,
) -> None:
    async def session_of_a_tool_call(text: str, session: str | None = None) -> str:
        async with mcp(gateway, "lone", session=session) as client:
            assert not (await client.call_tool("notes__add_note", {"text": text})).is_error
        gateway.quiesce()
        (found,) = gateway.rows("SELECT session_id FROM calls WHERE kind = 'tool' ORDER BY seq DESC LIMIT 1")
        (listed,) = [row for row in sessions() if row["id"] == found["session_id"]]
        return listed["client_id"] or listed["kind"]

    def sessions() -> list[dict[str, Any]]:
        return list(gateway.cli("sessions", "list", "--key", "lone", "--json").json)

    with sdk(gateway, "lone", session="only") as client:
        client.chat.completions.create(**ask())
    assert await session_of_a_tool_call("while there is one") == "only"
    with sdk(gateway, "lone", session="second") as client:
        client.chat.completions.create(**ask())
    assert await session_of_a_tool_call("while there are two") == "implicit"
    assert await session_of_a_tool_call("by its own header", "second") == "second"


async def test_rule_20_a_tool_call_is_judged_with_the_model_that_asked(gateway: GatewayProcess) -> None:
    """alice may add notes, but not when the model `forbidding` asked for it."""
    asked = {"text": "by the forbidding model"}
    with sdk(gateway, session="judged") as client:
        call = [{"name": "notes__add_note", "arguments": asked}]
        client.chat.completions.create(**{**ask(scripted(tool_calls=call)), "model": "forbidding"})
    async with mcp(gateway, session="judged") as client:
        assert (await client.call_tool("notes__add_note", asked)).is_error
    with sdk(gateway, session="another") as client:
        client.chat.completions.create(**ask())
    async with mcp(gateway, session="another") as client:
        assert not (await client.call_tool("notes__add_note", {"text": "by the model small"})).is_error
    async with mcp(gateway, session="without-a-model") as client:
        assert (await client.call_tool("notes__add_note", {"text": "by nobody"})).is_error


async def test_a_spent_limit_on_tool_calls_is_told_to_the_agent(gateway: GatewayProcess) -> None:
    async with mcp(gateway, "few") as client:
        for number in range(2):
            assert not (await client.call_tool("notes__add_note", {"text": f"note {number}"})).is_error
        refused = await client.call_tool("notes__add_note", {"text": "one too many"})
        assert refused.is_error
        told = said(refused)
        told = told.get("comptroller", told)
        assert told["code"] == "budget_exhausted"
        assert told["limit"]["spent"] == told["limit"]["limit"] == 2
        explained = said(await client.call_tool("denial_explain", {"call_id": told["call"]}))
        assert "two-tools" in json.dumps(explained)
        estimate = said(await client.call_tool("quota_estimate", {"tool": "notes__add_note"}))
        assert estimate["would_allow"] is False
        assert said(await client.call_tool("models_list", {}))["models"]
        assert "two-tools" in json.dumps(said(await client.call_tool("quota_limits", {})))


async def test_rule_24_the_same_tool_call_again_and_again_pauses_the_session(gateway: GatewayProcess) -> None:
    async with mcp(gateway, "looping", session="circles") as client:
        results = [await client.call_tool("notes__search_notes", {"query": "same"}) for _ in range(5)]
        assert [result.is_error for result in results] == [False, False, False, True, True]
        codes = [said(r).get("comptroller", said(r))["code"] for r in results[3:]]
        assert codes == ["loop_detected", "session_paused"]
        # Its own figures stay readable while it is paused.
        status = said(await client.call_tool("quota_status", {}))
        assert "paused" in json.dumps(status)


async def test_another_keys_session_and_calls_are_not_shown(gateway: GatewayProcess) -> None:
    with sdk(gateway, session="private") as client:
        client.chat.completions.create(**ask())
    async with mcp(gateway, "bob") as client:
        assert (await client.call_tool("quota_status", {"session": "private"})).is_error
        assert "private" not in json.dumps(said(await client.call_tool("quota_status", {})))
