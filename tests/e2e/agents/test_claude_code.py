"""Claude Code itself, set up as `comptroller connect claude-code --write` does it, in front of scripted answers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents.programs import Ran, program, run
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, ROOT, GatewayProcess

pytestmark = pytest.mark.xdist_group("agents")

CLAUDE = "@anthropic-ai/claude-code-linux-x64/claude"
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "TERM": "dumb"}
MODEL = "claude-opus-5-5"
WATCHED = {"name": "watched", "user": "dave", "agent": "watched"}
POOR = {"name": "poor", "user": "carol", "agent": "poor"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("claude-code"),
        upstream.base_url,
        keys=(ALICE, POOR, WATCHED),
        models={MODEL: {"provider": "claude", "model": "mock-ok", "price": PRICE, "max_output_tokens": 128_000}},
        providers={"claude": {"kind": "anthropic", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"}},
        limits=[
            {"name": "poor-run", "each": "session", "agent": "poor", "tokens": 500},
            {"name": "watched-run", "each": "session", "agent": "watched", "tokens": 1_000_000},
        ],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def claude(gateway: GatewayProcess, tmp_path: Path, prompt: str, *more: str, key: str = "alice") -> Ran:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir(exist_ok=True)
    project.mkdir(exist_ok=True)
    binary = program(CLAUDE)
    connect = [sys.executable, "-m", "gateway.cli.main", "connect", "claude-code", "--model", MODEL, "--write"]
    subprocess.run(
        [*connect, "--url", gateway.origin, "--directory", str(project)], cwd=ROOT, check=True, capture_output=True
    )
    secret = gateway.keys[key]
    environment = {**QUIET, "COMPTROLLER_API_KEY": secret, "ANTHROPIC_AUTH_TOKEN": secret}
    return run([binary, "-p", prompt, *more], project, environment, home=home)


def main_loop(upstream: UpstreamProcess) -> list[Any]:
    return [row for row in upstream.log() if row.target.startswith("/v1/messages")]


def sessions(gateway: GatewayProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.cli("sessions", "list", "--json").json
    return found


def test_it_answers_and_its_run_is_a_session_with_its_own_id(gateway, upstream, tmp_path):
    upstream.script(text="hello there")
    ran = claude(gateway, tmp_path, "say hello", "--session-id", "11111111-2222-4333-8444-555555555555")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    (row,) = main_loop(upstream)
    assert row.target == "/v1/messages?beta=true"
    assert row.header("anthropic-beta")
    assert row.header("x-claude-code-session-id") is None
    (call,) = gateway.settled()
    assert call["input_tokens"] == row.usage["input_tokens"]
    (session,) = [row for row in sessions(gateway) if row["id"] == call["session_id"]]
    assert session["kind"] == "claude-code"


def test_it_runs_a_tool_and_ends(gateway, upstream, tmp_path):
    upstream.script(text="it is done")
    upstream.script(tool_calls=[{"name": "Bash", "arguments": {"command": "echo tool-ran > made.txt"}}], times=1)
    ran = claude(gateway, tmp_path, "make a file", "--allowedTools", "Bash")
    assert (ran.code, ran.out.strip()) == (0, "it is done"), ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    assert len(main_loop(upstream)) == 2


def test_a_spent_budget_ends_it_after_one_request_with_the_words_of_the_denial(gateway, upstream, tmp_path):
    before = gateway.calls_seen()
    ran = claude(gateway, tmp_path, "say hello", "--output-format", "json", key="poor")
    said = json.loads(ran.out)
    assert said["is_error"]
    assert "poor-run" in said["result"]
    assert gateway.calls_seen() == before + 1
    assert main_loop(upstream) == []


def test_quota_status_over_mcp_tells_what_its_own_model_calls_spent(gateway, upstream, tmp_path):
    tool = "mcp__comptroller__quota_status"
    upstream.script(text="it is known")
    upstream.script(tool_calls=[{"name": tool, "arguments": {}}], times=1)
    more = ("--allowedTools", tool, "--mcp-config", ".mcp.json", "--strict-mcp-config")
    ran = claude(gateway, tmp_path, "what is left?", *more, key="watched")
    assert (ran.code, ran.out.strip()) == (0, "it is known"), ran
    first, second = main_loop(upstream)
    (result,) = second.json["messages"][-1]["content"][:1]
    assert result["type"] == "tool_result"
    status = json.loads(result["content"][0]["text"] if isinstance(result["content"], list) else result["content"])
    spent = first.usage["input_tokens"] + first.usage["output_tokens"]
    (session,) = status["sessions"]
    assert [limit["spent"] for limit in session["limits"]] == [spent]


def test_its_sub_agent_has_a_child_session_of_its_run(gateway, upstream, tmp_path):
    task = {"description": "look", "prompt": "say where you are", "subagent_type": "general-purpose"}
    upstream.script(text="it is done")
    upstream.script(tool_calls=[{"name": "Agent", "arguments": task}], times=1)
    before = len(gateway.settled())
    ran = claude(gateway, tmp_path, "send somebody", "--allowedTools", "Agent")
    assert ran.code == 0, ran
    assert "it is done" in ran.out  # once more where the sub-agent worked in the background
    rows = main_loop(upstream)
    assert any("say where you are" in json.dumps(row.json["messages"][0]) for row in rows[1:])
    calls = gateway.settled()[before:]
    assert len(calls) == len(rows) >= 3
    used = {call["session_id"] for call in calls}
    marks = ",".join("?" * len(used))
    sessions = gateway.rows(f"SELECT id, ancestors FROM sessions WHERE id IN ({marks}) ORDER BY ancestors", *used)
    run, child = sorted(sessions, key=lambda row: len(json.loads(row["ancestors"])))
    assert (json.loads(run["ancestors"]), json.loads(child["ancestors"])) == ([], [run["id"]])
