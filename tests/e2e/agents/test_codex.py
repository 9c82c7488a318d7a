"""Codex itself, set up as `comptroller connect codex --write` does it, in front of scripted answers."""

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

CODEX = ".bin/codex"
MODEL = "gpt-5-mini"
CLAUDE = "claude-opus-5-5"
POOR = {"name": "poor", "user": "carol", "agent": "poor"}
CUT = {"name": "cut", "user": "dora", "agent": "cut"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("codex"),
        upstream.base_url,
        keys=(ALICE, POOR, CUT),
        models={
            MODEL: {"provider": "openai", "model": "mock-ok", "price": PRICE, "max_output_tokens": 128_000},
            CLAUDE: {"provider": "claude", "model": "mock-ok", "price": PRICE, "max_output_tokens": 128_000},
        },
        providers={
            name: {"kind": kind, "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"}
            for name, kind in (("openai", "openai"), ("claude", "anthropic"))
        },
        limits=[
            {"name": "poor-run", "each": "session", "agent": "poor", "tokens": 500},
            {"name": "cut-run", "each": "session", "agent": "cut", "output_tokens": 400},
        ],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def codex(gateway: GatewayProcess, tmp_path: Path, prompt: str, *more: str, key: str = "alice") -> Ran:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir(exist_ok=True)
    project.mkdir(exist_ok=True)
    binary = program(CODEX)
    connect = [sys.executable, "-m", "gateway.cli.main", "connect", "codex", "--model", MODEL, "--write"]
    subprocess.run(
        [*connect, "--url", gateway.origin],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    quiet = ("-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false")
    environment = {"TERM": "dumb", "COMPTROLLER_API_KEY": gateway.keys[key]}
    command = [binary, "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", *quiet, *more, prompt]
    return run(command, project, environment, home=home)


def model_calls(upstream: UpstreamProcess) -> list[Any]:
    return [row for row in upstream.log() if row.target.startswith("/v1/responses")]


def test_it_answers_and_its_run_is_a_session_with_its_own_id(gateway, upstream, tmp_path):
    upstream.script(text="hello there")
    ran = codex(gateway, tmp_path, "say hello")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    (row,) = model_calls(upstream)
    call = gateway.settled()[-1]
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["input_tokens"], row.usage["output_tokens"])
    listed = gateway.cli("sessions", "list", "--json").json
    (session,) = [each for each in listed if each["id"] == call["session_id"]]
    assert session["kind"] == "codex"


def test_it_runs_a_tool_and_ends(gateway, upstream, tmp_path):
    upstream.script(text="it is done")
    command = {"cmd": "echo tool-ran > made.txt"}
    upstream.script(tool_calls=[{"name": "exec_command", "arguments": command}], times=1)
    ran = codex(gateway, tmp_path, "make a file")
    assert (ran.code, ran.out.strip()) == (0, "it is done"), ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    first, second = model_calls(upstream)
    assert second.json["input"][: len(first.json["input"])] == first.json["input"]


def test_it_runs_a_tool_with_a_model_of_another_family(gateway, upstream, tmp_path):
    upstream.script(text="it is done")
    command = {"cmd": "echo tool-ran > made.txt"}
    upstream.script(tool_calls=[{"name": "exec_command", "arguments": command}], times=1)
    ran = codex(gateway, tmp_path, "make a file", "-m", CLAUDE)
    assert (ran.code, ran.out.strip()) == (0, "it is done"), ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    assert [row.target for row in upstream.log()] == ["/v1/messages", "/v1/messages"]


def test_a_spent_budget_ends_it_after_one_request_with_the_words_of_the_denial(gateway, upstream, tmp_path):
    before = gateway.calls_seen()
    ran = codex(gateway, tmp_path, "say hello", key="poor")
    assert ran.code != 0
    assert "poor-run" in ran.err + ran.out, ran
    assert gateway.calls_seen() == before + 1
    assert model_calls(upstream) == []


def test_a_stream_that_is_cut_at_its_budget_is_not_asked_again(gateway, upstream, tmp_path):
    upstream.script(events=3000, obey_cap=False, pace_s=0.002)
    ran = codex(gateway, tmp_path, "say a lot", "-c", "model_reasoning_effort=none", key="cut")
    assert ran.code != 0
    assert "cut-run" in ran.err + ran.out, ran
    assert len(model_calls(upstream)) == 1
