"""Session trees over HTTP and MCP with the stock SDKs: opened, spent, raced for, stopped, killed, restarted."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from openai import APIStatusError, OpenAI

from tests.support.clients import Counted, ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-session-tree")

KEYS = [ALICE, BOB, {"name": "searcher", "user": "sue", "agent": "searcher"}]
LIMITS = [{"name": "session-tokens", "each": "session", "tokens": 100_000}]
SESSIONS = {"max_new_per_hour": 100_000, "max_children": 4}
TEN = {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("tree")
    with GatewayProcess(directory, upstream.base_url, keys=KEYS, limits=LIMITS, sessions=SESSIONS) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@asynccontextmanager
async def mcp(gateway: GatewayProcess, session: str, key: str = "alice", mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {gateway.keys[key]}", "x-comptroller-session": session}
    url = gateway.base_url.removesuffix("/v1") + "/mcp"
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode, cache=None) as client:
            yield client


def me(gateway: GatewayProcess, path: str, session: str, body: dict[str, Any], key: str = "alice") -> httpx2.Response:
    headers = {"authorization": f"Bearer {gateway.keys[key]}", "x-comptroller-session": session}
    return httpx2.post(f"{gateway.origin}/api/v1/me/{path}", json=body, headers=headers, timeout=30)


def child(gateway: GatewayProcess, session: str, key: str = "alice", **wish: Any) -> dict[str, Any]:
    reply = me(gateway, "children", session, wish, key)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found


def spend(gateway: GatewayProcess, session: str, key: str = "alice", text: str = "", **options: Any) -> int:
    """One call with its script; the tokens that it used."""
    with sdk(gateway, key, session=session) as client:
        reply = client.chat.completions.create(**ask(scripted(text or f"{time.monotonic_ns()}", usage=TEN), **options))
    assert reply.usage is not None
    return reply.usage.total_tokens


def limit_of(gateway: GatewayProcess, name: str, session: str) -> dict[str, Any]:
    """The counter of one session as `limits list` tells it."""
    rows = gateway.admin("GET", f"/api/v1/limits?name={name}").json["limits"]
    return next(row for row in rows if row["scope"] == f"session:{session}")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_rule_16_an_agent_hands_a_part_to_its_sub_agent_over_mcp(gateway: GatewayProcess, mode: str) -> None:
    run = f"planner-{mode}"
    spend(gateway, run)
    async with mcp(gateway, run, mode=mode) as client:
        opened = await client.call_tool("session_open_child", {"tokens": 2_000, "requests": 3, "agent": "searcher"})
        assert not opened.is_error
        part: dict[str, Any] = opened.structured_content or {}
        assert part["token"] not in str(opened.content), "the sentence for people holds no token"
        assert {limit["name"]: limit["limit"] for limit in part["limits"]} == {
            "child-part-tokens": 2_000,
            "child-part-requests": 3,
        }
    assert spend(gateway, part["token"], "searcher") == 10
    with Counted(gateway, "bob", session=part["token"]) as counted:
        refused = counted.refused(**ask("mine now"))
        assert (refused.status, refused.code, refused.requests) == (400, "request_malformed", 1)
    async with mcp(gateway, part["token"], "searcher", mode) as client:
        status: dict[str, Any] = (await client.call_tool("quota_status", {})).structured_content or {}
        (mine,) = status["sessions"]
        assert (mine["session"], mine["parent"], mine["depth"]) == (part["session"], part["parent"], 1)
        left = {limit["name"]: limit["remaining"] for limit in mine["limits"]}
        assert (left["child-part-tokens"], left["child-part-requests"]) == (1_990, 2)
        below = await client.call_tool("session_open_child", {"share": 50})
        grandchild: dict[str, Any] = below.structured_content or {}
        assert {limit["name"]: limit["limit"] for limit in grandchild["limits"]} == {
            "child-part-tokens": 995,
            "child-part-requests": 1,
        }
        assert spend(gateway, grandchild["token"], "searcher") == 10
        bad = await client.call_tool("session_open_child", {})
        assert bad.is_error
    gateway.quiesce()
    assert limit_of(gateway, "session-tokens", part["parent"])["spent"] == 30
    assert limit_of(gateway, "session-tokens", part["session"])["spent"] == 20
    assert limit_of(gateway, "child-part-tokens", grandchild["session"])["spent"] == 10
    async with mcp(gateway, run, mode=mode) as client:
        closed = await client.call_tool("session_close", {"session": part["session"]})
        assert sorted((closed.structured_content or {})["closed"]) == sorted([part["session"], grandchild["session"]])
    for token in (part["token"], grandchild["token"]):
        with Counted(gateway, "searcher", session=token) as counted:
            refused = counted.refused(**ask("more"))
            assert (refused.status, refused.code, refused.requests) == (402, "session_expired", 1)
    shown = gateway.cli("sessions", "show", part["parent"], "--json").json
    assert (shown["children"], shown["tree_tokens"]) == (1, 30)
    assert {each["state"] for each in shown["descendants"]} == {"closed"}


def test_a_stream_of_a_child_ends_at_its_part(gateway: GatewayProcess) -> None:
    spend(gateway, "streaming")
    part = child(gateway, "streaming", tokens=400)
    with sdk(gateway, session=part["token"]) as client:
        body = ask(scripted("long", events=3_000), max_tokens=4_000)
        chunks = list(client.chat.completions.create(**body, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    gateway.quiesce()
    row = limit_of(gateway, "child-part-tokens", part["session"])
    assert 200 < row["spent"] <= row["limit"] == 400
    assert row["held"] == 0


def test_rule_16_the_switch_acts_on_the_subtree(gateway: GatewayProcess) -> None:
    spend(gateway, "switched")
    first = child(gateway, "switched", tokens=5_000)
    second = child(gateway, first["token"], tokens=1_000)
    sibling = child(gateway, "switched", tokens=1_000)
    for command, code in (("pause", "session_paused"), ("stop", "session_stopped")):
        gateway.cli("sessions", command, first["session"])
        for each in (first, second):
            with Counted(gateway, "alice", session=each["token"]) as counted:
                refused = counted.refused(**ask("may I?"))
                assert (refused.status, refused.code, refused.requests) == (402, code, 1)
        assert spend(gateway, sibling["token"]) == 10
        gateway.cli("sessions", "resume", first["session"])
        assert spend(gateway, second["token"]) == 10
    gateway.cli("sessions", "close", first["session"])
    with Counted(gateway, "alice", session=second["token"]) as counted:
        assert counted.refused(**ask("may I?")).code == "session_expired"


def test_many_children_race_for_the_last_room_of_their_parent(start: Any, upstream: UpstreamProcess) -> None:
    gateway = start(
        keys=KEYS, limits=[{"name": "session-tokens", "each": "session", "tokens": 1_000}], sessions=SESSIONS
    )
    first = [child(gateway, "race", tokens=900) for _ in range(4)]
    second = [child(gateway, each["token"], tokens=600) for each in first]
    upstream.reset()
    codes: list[str] = []
    lock = threading.Lock()

    def hammer(number: int) -> None:
        token = (*first, *second)[number % 8]["token"]
        with OpenAI(
            base_url=gateway.base_url,
            api_key=gateway.keys["alice"],
            max_retries=0,
            default_headers={"x-comptroller-session": token},
        ) as client:
            for step in range(10):
                try:
                    client.chat.completions.create(**ask(scripted(f"{number} {step}", usage=TEN), max_tokens=4))
                    code = "ok"
                except APIStatusError as error:
                    code = str(error.code)
                with lock:
                    codes.append(code)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hammer, range(16)))
    assert set(codes) <= {"ok", "session_budget_exhausted", "budget_held"}
    gateway.quiesce()
    posted = sum(row["input_tokens"] + row["output_tokens"] for row in gateway.settled())
    assert posted == 10 * codes.count("ok")
    root = limit_of(gateway, "session-tokens", first[0]["parent"])
    assert (root["spent"], root["held"]) == (posted, 0)
    assert 850 <= posted <= 1_000, "all of it but what the last call could not fit in"
    assert gateway.admin("GET", "/api/v1/audit/verify").json["ok"]


def tree_figures(gateway: GatewayProcess, sessions: list[str]) -> dict[str, tuple[int, int]]:
    """(spent, held) on `session-tokens` as limits tell it."""
    found = {session: limit_of(gateway, "session-tokens", session) for session in sessions}
    return {session: (row["spent"], row["held"]) for session, row in found.items()}


def test_a_tree_survives_kill_9_with_calls_in_flight(start: Any) -> None:
    gateway = start(keys=KEYS, limits=LIMITS, sessions=SESSIONS)
    spend(gateway, "killed")
    first = child(gateway, "killed", tokens=20_000)
    second = child(gateway, first["token"], tokens=10_000)
    tree = [first["parent"], first["session"], second["session"]]
    spend(gateway, second["token"])

    def slow(token: str) -> None:
        with OpenAI(
            base_url=gateway.base_url,
            api_key=gateway.keys["alice"],
            max_retries=0,
            default_headers={"x-comptroller-session": token},
        ) as client:
            try:
                client.chat.completions.create(**ask(scripted(f"{time.monotonic_ns()}", delay_s=30), max_tokens=50))
            except Exception:  # noqa: BLE001 - the gateway dies under it
                return

    threads = [threading.Thread(target=slow, args=(each["token"],)) for each in (first, second) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: gateway.held() == 10, what="ten calls in flight")
    gateway.kill()
    for thread in threads:
        thread.join()
    gateway.start()
    assert gateway.held() == 0
    booked = {
        session: sum(
            row["input_tokens"] + row["output_tokens"]
            for row in gateway.rows(
                "SELECT * FROM calls WHERE state = 'settled' AND (session_id = ?1 OR session_id IN "
                "(SELECT session_id FROM session_tree WHERE ancestor_id = ?1))",
                session,
            )
        )
        for session in tree
    }
    assert booked[tree[0]] > booked[tree[1]] > booked[tree[2]] > 0
    assert tree_figures(gateway, tree) == {session: (amount, 0) for session, amount in booked.items()}
    assert spend(gateway, second["token"]) == 10, "its token is good after the restart"
    gateway.quiesce()
    assert tree_figures(gateway, tree) == {session: (amount + 10, 0) for session, amount in booked.items()}
    assert gateway.admin("GET", "/api/v1/audit/verify").json["ok"]


def test_rule_16_no_token_but_the_one_that_was_given_opens_a_child(gateway: GatewayProcess) -> None:
    spend(gateway, "guarded")
    token = child(gateway, "guarded", tokens=500)["token"]
    before = len(gateway.rows("SELECT id FROM sessions"))
    for bad in (
        token[:-1],
        token + "A",
        token.upper(),
        token.replace("cptr_ss_", "cptr_ss_A"),
        "cptr_ss_",
        "CPTR_SS_x",
    ):
        with Counted(gateway, "alice", session=bad) as counted:
            refused = counted.refused(**ask("let me in"))
            assert (refused.status, refused.code, refused.requests) == (400, "request_malformed", 1)
        assert me(gateway, "children", bad, {"tokens": 1}).status_code == 400
        assert me(gateway, "close", bad, {}).status_code == 400
    assert len(gateway.rows("SELECT id FROM sessions")) == before
    short = child(gateway, "guarded", tokens=500, expires_in_s=1)
    assert spend(gateway, short["token"]) == 10
    time.sleep(1.1)
    with Counted(gateway, "alice", session=short["token"]) as counted:
        assert counted.refused(**ask("again")).code == "session_expired"


async def test_history_over_mcp_is_the_keys_own(gateway: GatewayProcess) -> None:
    spend(gateway, "past", "bob")
    async with mcp(gateway, "past", "bob") as client:
        found = (await client.call_tool("quota_history", {"by": "hour", "last": 2})).structured_content or {}
        await asyncio.sleep(0)
        wrong = await client.call_tool("quota_history", {"by": "minute"})
    tokens = sum(row["input_tokens"] + row["output_tokens"] for row in found["rows"])
    gateway.quiesce()
    booked = gateway.admin("GET", "/api/v1/usage?by=key").json["rows"]
    assert tokens == sum(r["input_tokens"] + r["output_tokens"] for r in booked if r["key"] == "bob") > 0
    assert wrong.is_error
    assert "hour" in str(wrong.content)
