"""Sub-agents that their programs mark are child sessions of their run: Claude Code, Codex and opencode."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from openai import APIStatusError, OpenAI

from tests.support.clients import ask, scripted
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-sub-agents")

TEN = {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}
LIMITS = [{"name": "run-tokens", "each": "session", "tokens": 100_000}]


def claude_code(run: str, agent: str = "", parent: str = "") -> dict[str, str]:
    marks = {"x-claude-code-session-id": run, "x-claude-code-agent-id": agent, "x-claude-code-parent-agent-id": parent}
    return {name: value for name, value in marks.items() if value}


def codex(run: str, agent: str = "", parent: str = "") -> dict[str, str]:
    marks = {"session-id": run, "originator": "codex_exec", "thread-id": agent or run}
    return {**marks, "x-codex-parent-thread-id": parent or run, "x-openai-subagent": "collab_spawn"} if agent else marks


def opencode(run: str, agent: str = "", parent: str = "") -> dict[str, str]:
    if not agent:
        return {"x-session-id": run, "x-session-affinity": run}
    return {"x-session-id": f"{run}-{agent}", "x-parent-session-id": f"{run}-{parent}" if parent else run}


PROGRAMS = [claude_code, codex, opencode]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("sub-agents"), upstream.base_url, limits=LIMITS) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def call(gateway: GatewayProcess, marks: dict[str, str], key: str = "alice", **script: Any) -> Any:
    """The headers of a call's reply. Raises APIStatusError."""
    with OpenAI(base_url=gateway.base_url, api_key=gateway.keys[key], max_retries=0, default_headers=marks) as client:
        text = scripted(f"{time.monotonic_ns()}", **{"usage": TEN, **script})
        return client.chat.completions.with_raw_response.create(**ask(text, max_tokens=4)).headers


def session(gateway: GatewayProcess, marks: dict[str, str], key: str = "alice") -> str:
    found: str = call(gateway, marks, key)["x-comptroller-session"]
    return found


def above(gateway: GatewayProcess, session_id: str) -> list[str]:
    (row,) = gateway.rows("SELECT ancestors FROM sessions WHERE id = ?", session_id)
    found: list[str] = json.loads(row["ancestors"])
    return found


def spent(gateway: GatewayProcess, session_id: str) -> tuple[int, int]:
    rows = gateway.admin("GET", "/api/v1/limits?name=run-tokens").json["limits"]
    row = next(row for row in rows if row["scope"] == f"session:{session_id}")
    return row["spent"], row["held"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_rule_16_a_marked_sub_agent_hangs_under_its_direct_parent_and_counts_on_all_above(gateway, program):
    root = session(gateway, program("run"))
    child = session(gateway, program("run", "a"))
    grandchild = session(gateway, program("run", "b", "a"))
    assert (above(gateway, root), above(gateway, child), above(gateway, grandchild)) == ([], [root], [child, root])
    assert session(gateway, program("run")) == root, "a call without a sub-agent's mark stays on the run"
    assert session(gateway, program("run", "b", "a")) == grandchild
    assert above(gateway, session(gateway, program("run", "a"), "bob")) != [root], "ids count inside their key"
    gateway.quiesce()
    assert [spent(gateway, each) for each in (root, child, grandchild)] == [(50, 0), (30, 0), (20, 0)]
    shown = gateway.cli("sessions", "show", root, "--json").json
    assert (shown["children"], shown["tree_tokens"]) == (1, 50)
    assert [(each["id"], each["parent"], each["depth"]) for each in shown["descendants"]] == [
        (child, root, 1),
        (grandchild, child, 2),
    ]
    assert gateway.admin("GET", "/api/v1/audit/verify").json["ok"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_first_calls_of_a_sub_agent_at_once_open_it_and_its_run_once(gateway, program):
    def first(_number: int) -> str:
        return session(gateway, program("raced", "a"))

    with ThreadPoolExecutor(8) as pool:
        (child,) = set(pool.map(first, range(8)))
    (root,) = above(gateway, child)
    assert session(gateway, program("raced")) == root
    gateway.quiesce()
    assert (spent(gateway, root), spent(gateway, child)) == ((90, 0), (80, 0))
    opened = [doc["subject"] for doc in gateway.journal("session") if doc["subject"] in (root, child)]
    assert opened == [root, child], "each once, the run first"
    opens = gateway.rows("SELECT session_id FROM session_opens WHERE session_id IN (?, ?)", root, child)
    assert len(opens) == 2, "both count as opened"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tree_of_sub_agents_is_found_again_after_a_restart(start, program):
    gateway = start(limits=LIMITS)
    root, child = session(gateway, program("run")), session(gateway, program("run", "a"))
    grandchild = session(gateway, program("run", "b", "a"))
    gateway.quiesce()
    gateway.kill()
    gateway.start()
    assert session(gateway, program("run", "b", "a")) == grandchild
    assert session(gateway, program("run", "c", "a")) != child
    assert (session(gateway, program("run")), session(gateway, program("run", "a"))) == (root, child)
    gateway.quiesce()
    assert (spent(gateway, root), spent(gateway, child)) == ((70, 0), (50, 0))
    assert gateway.admin("GET", "/api/v1/audit/verify").json["ok"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_budget_of_a_run_holds_for_all_its_sub_agents_together(start, program):
    gateway = start(limits=[{"name": "run-tokens", "each": "session", "tokens": 1_000}])
    codes: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        marks = program("run", f"a{number % 6}")
        for _ in range(15):
            try:
                call(gateway, marks)
                code = "ok"
            except APIStatusError as error:
                code = str(error.code)
            with lock:
                codes.append(code)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert {"ok", "session_budget_exhausted"} <= set(codes) <= {"ok", "session_budget_exhausted", "budget_held"}
    gateway.quiesce()
    (root,) = (row["id"] for row in gateway.rows("SELECT id FROM sessions WHERE ancestors = '[]'"))
    posted = sum(row["input_tokens"] + row["output_tokens"] for row in gateway.settled())
    assert spent(gateway, root) == (posted, 0)
    assert posted == 10 * codes.count("ok") <= 1_000
    assert posted >= 850, "all of it but what the last call could not fit in"


@pytest.mark.parametrize("rule", [{"max_children": 2}, {"max_depth": 0}, {"max_new_per_hour": 3}])
def test_a_sub_agent_beyond_what_may_be_opened_counts_on_its_parent_and_is_told_so(start, rule):
    gateway = start(limits=LIMITS, sessions={"max_new_per_hour": 1_000, **rule})
    root = session(gateway, claude_code("run"))
    fitting = 0 if rule == {"max_depth": 0} else 2
    for number in range(4):
        headers = call(gateway, claude_code("run", f"a{number}"))
        told = "sub-agent" in headers.get("x-comptroller-warning", "")
        assert (headers["x-comptroller-session"] == root, told) == (number >= fitting, number >= fitting)
    assert session(gateway, claude_code("run", "b", "a3")) == root, "below one that has none of its own, too"
    gateway.quiesce()
    assert spent(gateway, root) == (60, 0)
    assert len(gateway.rows("SELECT id FROM sessions")) == 1 + fitting


def test_an_agent_of_an_opencode_sub_agent_without_a_session_is_no_run_of_its_own(start):
    gateway = start(limits=LIMITS, sessions={"max_new_per_hour": 1_000, "max_children": 0})
    root = session(gateway, opencode("run"))
    assert session(gateway, opencode("run", "a")) == root
    assert session(gateway, opencode("run", "b", "a")) == root


def test_a_new_run_is_refused_beyond_the_hour_whoever_of_it_comes_first(start):
    gateway = start(limits=LIMITS, sessions={"max_new_per_hour": 1})
    first = call(gateway, claude_code("run", "a"))
    assert "sub-agent" in first["x-comptroller-warning"], "there was room for the run alone"
    with pytest.raises(APIStatusError) as refused:
        call(gateway, claude_code("next", "a"))
    assert (refused.value.status_code, refused.value.code) == (402, "session_limit")


@pytest.mark.parametrize("program", PROGRAMS)
def test_rule_16_holding_a_run_ends_the_calls_in_flight_of_its_sub_agents(gateway, upstream, program):
    name = f"held-{program.__name__}"
    root = session(gateway, program(name))
    found: list[str] = []

    def slow() -> None:
        try:
            call(gateway, program(name, "a"), delay_s=30)
            found.append("ok")
        except APIStatusError as error:
            found.append(str(error.code))

    thread = threading.Thread(target=slow)
    thread.start()
    eventually(lambda: upstream.stats()["in_flight"] == 1, what="a call of the sub-agent in flight")
    gateway.cli("sessions", "pause", root)
    thread.join(20)
    assert found == ["session_paused"]
    with pytest.raises(APIStatusError) as refused:
        call(gateway, program(name, "new"))
    assert refused.value.code == "session_paused"
    gateway.cli("sessions", "resume", root)
    child = session(gateway, program(name, "a"))
    assert above(gateway, child) == [root]
    gateway.cli("sessions", "close", root)
    assert session(gateway, program(name, "a")) == child, "its client came back, so both are open again"
    states = gateway.rows("SELECT state FROM sessions WHERE id IN (?, ?)", root, child)
    assert [row["state"] for row in states] == ["open", "open"]


def test_rule_14_a_sub_agent_keeps_its_run_from_idling_and_ends_with_its_wall_time(start):
    gateway = start(limits=LIMITS, sessions={"max_new_per_hour": 1_000, "max_children": 1_000, "wall_time": "4s"})
    root = session(gateway, claude_code("run"))
    child = session(gateway, claude_code("run", "a"))

    def go_on_for_ever() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert session(gateway, claude_code("run", f"b{time.monotonic_ns()}")) != child
            time.sleep(0.2)

    with pytest.raises(APIStatusError) as expired:
        go_on_for_ever()
    assert (expired.value.status_code, expired.value.code) == (402, "session_expired")
    assert above(gateway, child) == [root]


async def test_quota_status_over_mcp_tells_a_run_what_its_sub_agents_spent(start: Any) -> None:
    gateway: GatewayProcess = start(limits=LIMITS)
    root = session(gateway, claude_code("asked"))
    child = session(gateway, claude_code("asked", "a"))
    gateway.quiesce()
    headers = {"Authorization": f"Bearer {gateway.keys['alice']}", **claude_code("asked")}
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(f"{gateway.origin}/mcp", http_client=http)
        async with Client(transport, cache=None) as client:
            status: dict[str, Any] = (await client.call_tool("quota_status", {})).structured_content or {}
    told = {each["session"]: each for each in status["sessions"]}
    assert status["sessions"][0]["session"] == root, "the one that asks comes first"
    assert [limit["spent"] for limit in told[root]["limits"]] == [20]
    assert (told[child]["parent"], told[child]["depth"]) == (root, 1)
