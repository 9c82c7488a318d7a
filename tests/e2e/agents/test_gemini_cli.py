"""Gemini CLI itself, set up as `comptroller connect gemini-cli --write` does it, in front of scripted answers."""

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

GEMINI = "@google/gemini-cli/bundle/gemini.js"
MODEL = "gemini-3.8-flash"
POOR = {"name": "poor", "user": "carol", "agent": "poor"}
CUT = {"name": "cut", "user": "dora", "agent": "cut"}
QUIET = {"privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    served = {"model": "mock-ok", "price": PRICE, "max_output_tokens": 65_536}
    with GatewayProcess(
        tmp_path_factory.mktemp("gemini-cli"),
        upstream.base_url,
        keys=(ALICE, POOR, CUT),
        models={
            MODEL: {"provider": "google", **served},
            "via-openai": {"provider": "gpt", **served},
        },
        providers={
            "google": {"kind": "gemini", "base_url": upstream.origin, "api_key": "${PROVIDER_KEY}"},
            "gpt": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
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


def gemini(
    gateway: GatewayProcess,
    tmp_path: Path,
    prompt: str,
    *more: str,
    key: str = "alice",
    model: str = MODEL,
    mark: str | None = "",
) -> Ran:
    """`mark` = the session that it sends, the folder's name if empty; None = it says nothing of its run."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir(exist_ok=True)
    project.mkdir(exist_ok=True)
    script = program(GEMINI)
    connect = [sys.executable, "-m", "gateway.cli.main", "connect", "gemini-cli", "--model", model, "--write"]
    subprocess.run(
        [*connect, "--url", gateway.origin],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    settings = home / ".gemini/settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **QUIET}))
    environment = {
        "TERM": "dumb",
        "GOOGLE_GEMINI_BASE_URL": gateway.origin,
        "GEMINI_API_KEY": gateway.keys[key],
        "COMPTROLLER_API_KEY": gateway.keys[key],
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    }
    if mark is not None:
        environment["GEMINI_CLI_CUSTOM_HEADERS"] = f"x-comptroller-session:{mark or tmp_path.name}"
    return run(["node", script, "-m", model, *more, "-p", prompt], project, environment, home=home)


def model_calls(upstream: UpstreamProcess) -> list[Any]:
    return [row for row in upstream.log() if "enerateContent" in row.target]


def test_it_answers_and_is_booked_under_its_session(gateway, upstream, tmp_path):
    upstream.script(text="hello there")
    ran = gemini(gateway, tmp_path, "say hello")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    (row,) = model_calls(upstream)
    assert row.target == "/v1beta/models/mock-ok:streamGenerateContent?alt=sse"
    call = gateway.settled()[-1]
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["promptTokenCount"], 2)


def test_it_runs_a_tool_and_ends(gateway, upstream, tmp_path):
    upstream.script(text="it is done")
    call = {"name": "run_shell_command", "arguments": {"command": "echo tool-ran > made.txt", "description": "make it"}}
    upstream.script(tool_calls=[call], times=1)
    ran = gemini(gateway, tmp_path, "make a file", "-y")
    assert ran.code == 0, ran
    assert "it is done" in ran.out
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    first, second = model_calls(upstream)
    declared = [function["name"] for tool in first.json["tools"] for function in tool["functionDeclarations"]]
    assert any("quota_status" in name for name in declared), declared
    assert second.json["contents"][: len(first.json["contents"])] == first.json["contents"]


def test_a_model_of_another_family_answers_it_too(gateway, upstream, tmp_path):
    upstream.script(text="hello there")
    ran = gemini(gateway, tmp_path, "say hello", model="via-openai")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    assert [row.target for row in upstream.log()] == ["/v1/chat/completions"]


def test_a_spent_budget_ends_it_after_one_request_with_the_words_of_the_denial(gateway, upstream, tmp_path):
    before = gateway.calls_seen()
    ran = gemini(gateway, tmp_path, "say hello", key="poor")
    assert ran.code != 0
    assert "poor-run" in ran.err + ran.out, ran
    assert gateway.calls_seen() == before + 1
    assert model_calls(upstream) == []


def test_a_stream_that_is_cut_at_its_budget_shows_why_and_is_not_asked_again(gateway, upstream, tmp_path):
    upstream.script(events=3000, obey_cap=False, pace_s=0.002)
    ran = gemini(gateway, tmp_path, "say a lot", key="cut")
    assert ran.out.startswith("word0 word1 ")
    assert "went on beyond the maximum" in ran.out  # its models think unseen, so the whole of their maximum is held
    assert len(model_calls(upstream)) == 1
    assert gateway.settled()[-1]["outcome"] == "cut_by_limit"


def test_rule_13_its_runs_are_told_apart_without_a_mark(tmp_path_factory, clean_upstream, tmp_path):
    upstream = clean_upstream
    google = {"kind": "gemini", "base_url": upstream.origin, "api_key": "${PROVIDER_KEY}"}
    with GatewayProcess(
        tmp_path_factory.mktemp("gemini-runs"),
        upstream.base_url,
        models={MODEL: {"provider": "google", "model": "mock-ok", "price": PRICE, "max_output_tokens": 65_536}},
        providers={"google": google},
        sessions={"fingerprint": True},
    ) as gateway:
        call = {"name": "run_shell_command", "arguments": {"command": "true", "description": "nothing"}}
        for prompt in ("say hello", "say goodbye", "say hello"):
            upstream.script(text="as you wish")
            upstream.script(tool_calls=[call], times=1)
            assert gemini(gateway, tmp_path, prompt, "-y", mark=None).code == 0
        runs = [row["session_id"] for row in gateway.settled()]
        assert [runs.count(run) for run in dict.fromkeys(runs)] == [2, 2, 2]
