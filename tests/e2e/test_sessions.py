"""Sessions: how a call names its own, how people hold and release them, how runaways are stopped."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError

from tests.support.clients import Counted, ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-sessions")

SESSION = "0b1f6a52-7a3c-4a3e-9a37-1f1d3c1f2a10"
CLAUDE_USER = json.dumps({"device_id": "d", "account_uuid": "a", "session_id": "from-the-body"})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("sessions"),
        upstream.base_url,
        keys=[ALICE, BOB, {"name": "agent", "agent": "runaway"}],
        models=["nano"],
        limits=[{"name": "agent-budget", "each": "session", "key": "agent", "tokens": 5_000}],
        loops={"identical_requests": 5, "identical_tool_calls": 6, "action": "pause"},
        upstream={"breaker": {"failures": 0}},  # more failures in a row than it would let through
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def session_of(gateway: GatewayProcess, key: str = "alice", body: dict[str, Any] | None = None, **headers: str) -> str:
    """The session that a call with these marks is counted in."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with sdk(gateway, key, default_headers=named) as client:
        reply = client.chat.completions.with_raw_response.create(**ask(f"{time.monotonic_ns()}"), extra_body=body)
    found: str = reply.headers["x-comptroller-session"]
    return found


@pytest.mark.parametrize(
    ("kind", "headers", "body"),
    [
        ("header", {"x_comptroller_session": SESSION}, {}),
        ("claude-code", {"x_claude_code_session_id": SESSION}, {}),
        ("claude-code", {}, {"metadata": {"user_id": CLAUDE_USER}}),
        ("codex", {"session_id": SESSION, "originator": "codex_exec"}, {}),
        ("codex", {"x_codex_turn_metadata": json.dumps({"session_id": SESSION + "t"})}, {}),
        ("opencode", {"x_session_id": "ses_abc"}, {}),
        ("copilot", {"x_initiator": "user"}, {"prompt_cache_key": "copilot-run"}),
        ("implicit", {}, {}),
    ],
)
def test_a_mark_is_one_session_inside_its_key(gateway, kind, headers, body):
    first = session_of(gateway, body=body, **headers)
    assert session_of(gateway, body=body, **headers) == first
    assert session_of(gateway, "bob", body=body, **headers) != first
    gateway.quiesce()
    assert gateway.rows("SELECT mark_kind, state FROM sessions WHERE id = ?", first) == [
        {"mark_kind": kind, "state": "open"}
    ]


def test_a_sub_agent_of_opencode_has_a_child_session_which_counts_on_the_run(gateway):
    root = session_of(gateway, x_session_id="ses_root")
    child = session_of(gateway, x_session_id="ses_child", x_parent_session_id="ses_root")
    assert child != root
    assert session_of(gateway, x_session_id="ses_child", x_parent_session_id="ses_root") == child
    shown = gateway.cli("sessions", "show", child, "--json").json
    assert (shown["parent"], shown["depth"]) == (root, 1)


def test_two_models_of_one_turn_are_counted_in_one_session(gateway):
    titled = session_of(gateway, body={"model": "nano"}, x_session_id="ses_titled")
    assert session_of(gateway, x_session_id="ses_titled") == titled
    gateway.quiesce()
    models = gateway.rows(
        "SELECT t.value AS model FROM calls AS c JOIN attribution_terms AS t ON t.attribution_id = c.attribution_id"
        " WHERE c.session_id = ? AND c.state = 'settled' AND t.kind = 'model' ORDER BY c.seq",
        titled,
    )
    assert models == [{"model": "nano"}, {"model": "small"}]


def test_the_own_header_is_stronger_than_the_marks_of_agents(gateway):
    own = session_of(gateway, x_comptroller_session="mine")
    assert session_of(gateway, x_comptroller_session="mine", x_claude_code_session_id="other") == own


def test_rule_14_a_clients_session_survives_a_restart_with_its_spend(start):
    gateway = start(limits=[{"name": "two", "each": "session", "requests": 2}])
    first = session_of(gateway, x_comptroller_session="again")
    gateway.restart()
    assert session_of(gateway, x_comptroller_session="again") == first
    with Counted(gateway, "alice", session="again") as counted:
        assert counted.refused(**ask("third")).code == "session_budget_exhausted"


def test_people_pause_resume_and_stop_a_session(gateway, upstream):
    session = session_of(gateway, x_comptroller_session="held")
    listed = {row["id"]: row for row in gateway.cli("sessions", "list", "--json").json}
    assert listed[session]["state"] == "open"
    with Counted(gateway, "alice", session="held") as counted:
        for command, code in (
            ("pause", "session_paused"),
            ("resume", None),
            ("stop", "session_stopped"),
            ("resume", None),
        ):
            gateway.cli("sessions", command, session)
            if code is None:
                assert counted.chat(**ask(f"after {command} {time.monotonic_ns()}")).choices
                continue
            refused = counted.refused(**ask("may I?"))
            assert (refused.status, refused.code, refused.requests) == (402, code, 1)
            assert refused.headers["x-comptroller-session"] == session
            assert "held" in refused.error["message"]
    shown = gateway.cli("sessions", "show", session, "--json").json
    assert shown["id"] == session
    assert shown["state"] == "open"
    actions = [doc["action"] for doc in gateway.journal("session") if doc["subject"] == session]
    assert actions == ["opened", "paused", "resumed", "stopped", "resumed"]
    assert session_of(gateway, x_comptroller_session="another"), "other sessions of the key go on"


def test_a_paused_session_stays_paused_over_a_restart(start):
    gateway = start()
    session = session_of(gateway, x_comptroller_session="held")
    gateway.cli("sessions", "pause", session)
    gateway.restart()
    with Counted(gateway, "alice", session="held") as counted:
        assert counted.refused(**ask("may I?")).code == "session_paused"


def test_a_runaway_agent_is_stopped_at_its_session_budget(gateway, upstream):
    """An agent that adds to its conversation for ever, as agents do; nothing repeats, so only the budget stops it."""
    messages: list[Any] = [{"role": "user", "content": "go"}]
    calls = 0
    with Counted(gateway, "agent", session="runaway") as counted:
        while calls < 500:
            text = f"step {calls} " + "and so on " * 20
            upstream.script(contains=f"step {calls} ", text=f"thought number {calls} " * 10)
            messages.append({"role": "user", "content": text})
            try:
                reply = counted.chat(model="small", messages=messages, max_tokens=200)
            except Exception as error:  # noqa: BLE001 - looked at below
                refused = error
                break
            calls += 1
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
        else:
            raise AssertionError("nothing stopped it")
    assert refused.status_code == 402
    assert refused.code == "session_budget_exhausted"
    assert counted.requests == calls + 1
    assert calls >= 3, "a normal run passes"
    gateway.quiesce()
    spent = sum(row.usage["total_tokens"] for row in upstream.log())
    assert refused.body["comptroller"]["limit"]["spent"] == spent
    assert 2_000 < spent <= 5_000
    with Counted(gateway, "agent", session="next-run") as counted:
        assert counted.chat(**ask("a new run")).choices


def test_rule_23_only_successful_sequential_equal_requests_count(gateway, upstream):
    with Counted(gateway, "alice", session="loop") as counted:
        warnings = []
        for _ in range(4):
            reply = counted.client.chat.completions.with_raw_response.create(**ask("the same"))
            warnings.append("loop" in reply.headers.get("x-comptroller-warning", ""))
        assert warnings == [False, False, True, True]
        refused = counted.refused(**ask("the same"))
        assert (refused.code, refused.requests) == ("loop_detected", 1)
    session = gateway.rows("SELECT s.state FROM sessions AS s WHERE s.state = 'paused' AND s.mark_kind = 'header'")
    assert {"state": "paused"} in session
    assert len(upstream.log()) == 4


def test_rule_23_failed_and_embedding_calls_never_count(gateway, upstream):
    upstream.script(contains="flaky", preset="mock-503", times=9)
    with Counted(gateway, "alice", session="retry", max_retries=0) as counted:
        for _ in range(9):
            assert counted.refused(**ask("flaky")).code == "upstream_failed"
        assert counted.chat(**ask("flaky")).choices
        for _ in range(8):
            counted.client.embeddings.create(model="small", input="the same")


def tool_turn(number: int) -> list[dict[str, Any]]:
    function = {"name": "lookup", "arguments": '{"query": "the same"}'}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": f"c{number}", "content": f"result {number}"},
    ]


def test_rule_24_the_same_tool_call_again_and_again_pauses_and_is_counted_once(gateway):
    messages: list[Any] = [{"role": "user", "content": "find it"}]
    passed = 0
    with Counted(gateway, "alice", session="tools") as counted:
        for number in range(12):
            messages += tool_turn(number)
            try:
                counted.chat(model="small", messages=messages)
            except Exception as error:  # noqa: BLE001 - looked at below
                refused = error
                break
            passed += 1
        else:
            raise AssertionError("nothing stopped it")
    assert passed == 5, "five equal tool calls pass, the sixth is one too many, though each request shows all of them"
    assert refused.code == "loop_detected"


def test_new_sessions_are_limited_by_the_hour(start, upstream):
    gateway = start(sessions={"max_new_per_hour": 5})
    for number in range(5):
        session_of(gateway, x_comptroller_session=f"s{number}")
    with Counted(gateway, "alice", session="s6") as counted:
        refused = counted.refused(**ask("one more"))
    assert (refused.status, refused.code, refused.requests) == (402, "session_limit", 1)
    assert len(upstream.log()) == 5
    assert session_of(gateway, x_comptroller_session="s0"), "sessions that are open go on"
    assert session_of(gateway, "bob", x_comptroller_session="s9"), "another opener has room of its own"
    gateway.restart()
    with Counted(gateway, "alice", session="s7") as counted:
        assert counted.refused(**ask("one more")).code == "session_limit"


def test_rule_14_wall_time_ends_a_session_and_idling_ends_an_implicit_one(start):
    gateway = start(sessions={"max_new_per_hour": 1000, "idle_timeout": "1s", "wall_time": "2500ms"})
    first = session_of(gateway)
    time.sleep(1.1)
    assert session_of(gateway) != first
    with Counted(gateway, "alice", session="long") as counted:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                counted.chat(**ask(scripted(f"{time.monotonic_ns()}", delay_s=0.3)))
            except APIStatusError as error:
                expired = error
                break
        else:
            raise AssertionError("the session never expired")
    assert (expired.status_code, expired.code) == (402, "session_expired")
