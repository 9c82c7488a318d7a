"""What is done about a runaway agent, grade by grade, and how it is told why."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.clients import Counted, ask
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-loops")

MODEL = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096}
DEAR = {"provider": "mock", "price": {"input_usd_per_mtok": 100, "output_usd_per_mtok": 200}, "max_output_tokens": 4096}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("loops"),
        upstream.base_url,
        keys=[ALICE, {"name": "barred", "user": "barry", "models": ["dear"]}],
        models={"small": {**MODEL, "model": "mock-ok"}, "dear": {**DEAR, "model": "mock-long"}},
        loops={
            "identical_requests": 4,
            "identical_tool_calls": 4,
            "errors_in_a_row": 6,
            "action": "pause",
            "actions": {
                "identical_requests": {"route_to": "small"},
                "cycle": "throttle",
                "identical_results": "note",
                "errors_in_a_row": "stop",
                "no_progress": "off",
            },
        },
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def tool_turn(number: int, name: str, arguments: str, result: str) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": arguments}
    call = {"id": f"c{number}", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": result},
    ]


def to_and_fro(number: int) -> tuple[str, str, str]:
    return "lookup", f'{{"q": {number % 2}}}', ("look at the other one", "look at the first one")[number % 2]


class Conversation:
    """A growing conversation with tools in one session."""

    def __init__(self, counted: Counted, task: str, model: str = "small") -> None:
        self.counted = counted
        self.model = model
        self.messages: list[Any] = [{"role": "user", "content": task}]
        self.number = 0

    def uses(self, name: str, arguments: str, result: str) -> Any:
        self.number += 1
        self.messages += tool_turn(self.number, name, arguments, result)
        return self.counted.client.chat.completions.with_raw_response.create(model=self.model, messages=self.messages)

    def is_refused(self, name: str, arguments: str, result: str) -> Any:
        self.number += 1
        self.messages += tool_turn(self.number, name, arguments, result)
        return self.counted.refused(model=self.model, messages=self.messages)


def loop_rows(gateway: GatewayProcess, action: str) -> list[dict[str, Any]]:
    return [row for row in gateway.journal("admin") if row["action"] == action]


def test_a_pause_tells_the_figures_and_a_person_forgives(gateway: GatewayProcess) -> None:
    with Counted(gateway, "alice", session="paused") as counted:
        agent = Conversation(counted, "find it")
        warnings = [agent.uses("lookup", '{"q": 1}', "same").headers.get("x-comptroller-warning") for _ in range(3)]
        assert warnings[:2] == [None, None]
        assert "3 times in a row (limit 4)" in warnings[2]
        refused = agent.is_refused("lookup", '{"q": 1}', "same")
        assert (refused.status, refused.code, refused.requests) == (402, "loop_detected", 1)
        assert refused.machine["loop"] == {
            "detector": "identical_tool_calls",
            "count": 4,
            "acts_at": 4,
            "action": "pause",
        }
        assert "4 times in a row" in refused.error["message"]
        held = counted.refused(**ask("and now?"))
        assert held.code == "session_paused"
        session = held.headers["x-comptroller-session"]
        gateway.cli("sessions", "resume", session)
        for _ in range(3):
            assert agent.uses("lookup", '{"q": 1}', "same").status_code == 200


def test_spelling_of_arguments_does_not_matter_and_results_do(gateway: GatewayProcess) -> None:
    with Counted(gateway, "alice", session="spelling") as counted:
        agent = Conversation(counted, "spell it")
        for number in range(12):
            agent.uses("status", '{"job": 7}', f'{{"state": "running", "progress": {number}}}')
        other = Conversation(counted, "spell it otherwise")
        for arguments in ('{"a":1,"b":2}', '{"b": 2, "a": 1}', ' {"a": 1, "b": 2} '):
            other.uses("lookup", arguments, "same")
        assert other.is_refused("lookup", '{"b":2,"a":1}', "same").code == "loop_detected"


def test_rule_28_a_repeated_request_goes_to_the_cheaper_model(gateway: GatewayProcess) -> None:
    with Counted(gateway, "alice", session="routed") as counted:
        replies = [
            counted.client.chat.completions.with_raw_response.create(**ask("again", model="dear", max_tokens=600))
            for _ in range(5)
        ]
    assert [reply.parse().usage.completion_tokens for reply in replies] == [500, 500, 500, 5, 5]
    assert "answered by model small" in replies[3].headers["x-comptroller-warning"]
    calls = [gateway.call(reply.headers["x-comptroller-call"]) for reply in replies]
    assert calls[2]["usd_micros"] > 100_000
    assert calls[3]["usd_micros"] < 100
    by_model = {row["model"]: row["calls"] for row in gateway.cli("usage", "--by", "model", "--json").json}
    assert by_model["dear"] >= 3
    assert len(loop_rows(gateway, "loop.route_to")) == 1, "written down once, not with each call"


def test_rule_28_where_the_cheaper_model_may_not_be_used_the_first_denial_is_told(gateway: GatewayProcess) -> None:
    with Counted(gateway, "barred", session="barred") as counted:
        for _ in range(3):
            counted.chat(**ask("again", model="dear", max_tokens=600))
        refused = counted.refused(**ask("again", model="dear", max_tokens=600))
        assert (refused.status, refused.code) == (402, "loop_detected")
        assert refused.machine["loop"]["action"] == "route_to"
        assert counted.chat(**ask("something else", model="dear", max_tokens=600)).choices, "it is not paused"
    gateway.quiesce()


def test_rule_28_a_cycle_is_slowed_down_and_then_sent_away(gateway: GatewayProcess) -> None:
    with Counted(gateway, "alice", session="slow", max_retries=0) as counted:
        agent = Conversation(counted, "to and fro")
        took = []
        for number in range(8):
            began = time.monotonic()
            reply = agent.uses(*to_and_fro(number))
            took.append(time.monotonic() - began)
        assert max(took[:7]) < 0.9 < took[7], "a second with the fourth round"
        assert "4 times in a row (limit 4)" in reply.headers["x-comptroller-warning"]
        for number in range(8, 64):
            agent.number += 1
            agent.messages += tool_turn(agent.number, *to_and_fro(number))
        refused = counted.refused(model="small", messages=agent.messages)
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert float(refused.headers["retry-after"]) > 5
    assert refused.machine["loop"]["action"] == "throttle"


def test_a_note_is_for_the_audit_log_only(gateway: GatewayProcess) -> None:
    with Counted(gateway, "alice", session="noted") as counted:
        agent = Conversation(counted, "search")
        for number in range(14):
            reply = agent.uses("search", f'{{"q": "words {number}"}}', "No results found.")
            assert "loop" not in reply.headers.get("x-comptroller-warning", "")
    gateway.quiesce()
    (row,) = loop_rows(gateway, "loop.note")
    assert row["detail"]["detector"] == "identical_results"


def test_hammering_a_failing_provider_ends_the_session_and_waiting_does_not(
    gateway: GatewayProcess, upstream: UpstreamProcess
) -> None:
    upstream.script(contains="flaky", preset="mock-503")
    with Counted(gateway, "alice", session="hammer", max_retries=0) as counted:
        codes = [counted.refused(**ask(f"flaky {number}")).code for number in range(8)]
    assert codes == ["upstream_failed"] * 6 + ["loop_detected", "session_stopped"]
    with Counted(gateway, "alice", session="patient") as counted:
        for number in range(3):
            assert counted.refused(**ask(f"flaky {number}")).code == "upstream_failed"
        assert counted.requests == 9, "as the SDK retries, honouring retry-after"
        assert counted.chat(**ask("steady")).choices


def test_an_unknown_model_or_action_is_a_fault_of_the_file(prepare: Any) -> None:
    gateway = prepare(loops={"action": {"route_to": "nobody"}})
    assert "nobody" in gateway.refused_start().err
    gateway = prepare(loops={"actions": {"cycle": "explode"}})
    assert "loops.actions.cycle" in gateway.refused_start().err


async def test_denials_of_loops_are_explained_with_their_figures(gateway: GatewayProcess) -> None:
    with Counted(gateway, "alice", session="explained") as counted:
        agent = Conversation(counted, "explain it")
        for _ in range(3):
            agent.uses("lookup", "{}", "same")
        first = agent.is_refused("lookup", "{}", "same")
        second = counted.refused(**ask("go on"))
    headers = {"Authorization": f"Bearer {gateway.keys['alice']}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30.0) as http,
        Client(streamable_http_client(f"{gateway.origin}/mcp", http_client=http), cache=None) as client,
    ):
        for refused, words in (
            (first, "identical tool calls, 4 times; the action `pause` is taken at 4."),
            (second, "4 times in a row (limit 4)"),
        ):
            answer: Any = (
                await client.call_tool("denial_explain", {"call_id": refused.machine["call"]})
            ).structured_content
            assert words in answer["summary"]
            assert answer["comptroller"]["code"] == refused.code
