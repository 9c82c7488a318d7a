"""Claude Code itself in its Bedrock mode, its key as a Bedrock API key, in front of scripted answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents.programs import Ran, program, run
from tests.e2e.agents.test_claude_code import CLAUDE, POOR, QUIET
from tests.e2e.test_bedrock_sdk import ACCESS, SECRET
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("agents")

MODEL = "eu.anthropic.claude-opus-5-5-v1:0"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    signed = {"access_key_id": "${AWS_ACCESS}", "secret_access_key": "${AWS_SECRET}", "region": "eu-central-1"}
    with GatewayProcess(
        tmp_path_factory.mktemp("claude-code-bedrock"),
        upstream.base_url,
        keys=(ALICE, POOR),
        models={MODEL: {"provider": "aws", "model": "mock-ok", "price": PRICE, "max_output_tokens": 128_000}},
        providers={"aws": {"kind": "bedrock", "base_url": upstream.origin, **signed}},
        variables={"AWS_ACCESS": ACCESS, "AWS_SECRET": SECRET},
        limits=[{"name": "poor-run", "each": "session", "agent": "poor", "tokens": 500}],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def claude(gateway: GatewayProcess, tmp_path: Path, prompt: str, *more: str, key: str = "alice") -> Ran:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    environment = {
        **QUIET,
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "ANTHROPIC_BEDROCK_BASE_URL": f"{gateway.origin}/bedrock",
        "AWS_BEARER_TOKEN_BEDROCK": gateway.keys[key],
        "AWS_REGION": "eu-central-1",
        "ANTHROPIC_MODEL": MODEL,
        "ANTHROPIC_SMALL_FAST_MODEL": MODEL,
    }
    return run([program(CLAUDE), "-p", prompt, *more], project, environment, home=home)


def model_calls(upstream: UpstreamProcess) -> list[Any]:
    return [row for row in upstream.log() if row.target.startswith("/model/")]


def test_it_answers_and_is_booked(gateway, upstream, tmp_path):
    upstream.script(text="hello there")
    ran = claude(gateway, tmp_path, "say hello")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    (row,) = model_calls(upstream)
    assert row.target == "/model/mock-ok/invoke-with-response-stream"
    assert row.json["anthropic_version"] == "bedrock-2023-05-31"
    call = gateway.settled()[-1]
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["input_tokens"], row.usage["output_tokens"])


def test_it_runs_a_tool_and_ends(gateway, upstream, tmp_path):
    upstream.script(text="it is done")
    upstream.script(tool_calls=[{"name": "Bash", "arguments": {"command": "echo tool-ran > made.txt"}}], times=1)
    ran = claude(gateway, tmp_path, "make a file", "--allowedTools", "Bash")
    assert (ran.code, ran.out.strip()) == (0, "it is done"), ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    assert len(model_calls(upstream)) == 2


def test_a_spent_budget_ends_it_after_one_request_with_the_words_of_the_denial(gateway, upstream, tmp_path):
    ran = claude(gateway, tmp_path, "say hello", key="poor")
    assert ran.code != 0
    assert "poor-run" in ran.out + ran.err, ran
    # At its start it also asks which of its other models there are; they are not, and it goes on.
    assert gateway.metric("comptroller_denials_total", code="session_budget_exhausted") == 1
    assert model_calls(upstream) == []
