"""Claude Code, Codex and Gemini CLI when something goes wrong: a provider that fails, a person who pauses, a budget
that ends in the middle. Each must finish, or stop with the reason in sight, after few requests; the books must say what
the provider said."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.agents import test_claude_code, test_codex, test_gemini_cli
from tests.e2e.agents.books import FAULTS, one_session, told, written
from tests.e2e.agents.programs import Ran
from tests.e2e.agents.test_claude_code import claude
from tests.e2e.agents.test_codex import codex
from tests.e2e.agents.test_gemini_cli import gemini
from tests.support.fixtures import LogRow, UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("agents")

CUT = {"name": "cut", "user": "dora", "agent": "cut"}
WAIT_FOR_FILE = "while [ ! -e go ]; do sleep 0.1; done; rm go"
KINDS = {"claude": "anthropic", "gpt": "openai", "google": "gemini"}


@dataclass(frozen=True, slots=True)
class Program:
    """One of the programs: how it is run, how it asks for a command, and which file's name ends its model calls."""

    run: Callable[..., Ran]
    model: str
    tool: Callable[[str], dict[str, Any]]
    works: tuple[str, ...]  # lets it run the tool
    goes_on: tuple[str, ...]  # goes on with the conversation before
    pick: Callable[[str], tuple[str, ...]]  # chooses a model


CLAUDE = Program(
    claude,
    test_claude_code.MODEL,
    lambda command: {"name": "Bash", "arguments": {"command": command}},
    ("--allowedTools", "Bash"),
    ("--continue",),
    lambda model: ("--model", model),
)
CODEX = Program(
    codex,
    test_codex.MODEL,
    lambda command: {"name": "exec_command", "arguments": {"cmd": command, "yield_time_ms": 20_000}},
    (),
    ("resume", "--last"),
    lambda model: ("-m", model),
)
GEMINI = Program(
    gemini,
    test_gemini_cli.MODEL,
    lambda command: {"name": "run_shell_command", "arguments": {"command": command, "description": "wait"}},
    ("-y",),
    (),
    lambda model: ("-m", model),
)
EACH = [pytest.param(CLAUDE, id="claude"), pytest.param(CODEX, id="codex"), pytest.param(GEMINI, id="gemini")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    served = {"price": PRICE, "max_output_tokens": 128_000}
    models = {"claude": CLAUDE.model, "gpt": CODEX.model, "google": GEMINI.model}
    with GatewayProcess(
        tmp_path_factory.mktemp("trouble"),
        upstream.base_url,
        keys=(ALICE, CUT),
        models={
            **{model: {"provider": provider, "model": "mock-ok", **served} for provider, model in models.items()},
            **{f"{provider}-broken": {"provider": provider, "model": "mock-500", **served} for provider in models},
        },
        providers={
            provider: {
                "kind": kind,
                "base_url": upstream.origin if kind == "gemini" else upstream.base_url,
                "api_key": "${PROVIDER_KEY}",
            }
            for provider, kind in KINDS.items()
        },
        limits=[{"name": "cut-run", "each": "session", "agent": "cut", "output_tokens": 400}],
        timeouts={"first_byte": "2s", "idle": "2s"},
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@pytest.fixture
def before(gateway: GatewayProcess) -> int:
    """How many calls were charged before this test."""
    return len(gateway.settled())


def model_calls(upstream: UpstreamProcess) -> list[LogRow]:
    ends = ("/v1/messages", "/v1/responses", "enerateContent")
    return [row for row in upstream.log() if row.target.partition("?")[0].endswith(ends)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("program", EACH)
def test_a_provider_that_fails_once_costs_nothing_and_it_finishes(gateway, upstream, tmp_path, before, program, fault):
    upstream.script(text="all is well")
    upstream.script(times=1, **FAULTS[fault])
    ran = program.run(gateway, tmp_path, "say hello")
    assert (ran.code, ran.out.strip()) == (0, "all is well"), ran
    rows = model_calls(upstream)
    assert len(rows) == 2
    (call,) = gateway.settled()[before:]
    assert written(call) == told(rows[-1])
    assert call["estimated"] is None


@pytest.mark.parametrize("fault", ["close_mid_stream", "hang_mid_stream"])
@pytest.mark.parametrize("program", EACH)
def test_a_stream_that_breaks_off_is_booked_as_far_as_it_came(gateway, upstream, tmp_path, before, program, fault):
    upstream.script(text="all is well")
    upstream.script(times=1, events=40, fault=fault, fault_after=20)
    ran = program.run(gateway, tmp_path, "say hello")
    # Gemini CLI is ended with words, since it would overlook an error within a stream; the others ask again.
    again = program is not GEMINI
    assert ("all is well" if again else "provider") in ran.out, ran
    first, *others = model_calls(upstream)
    assert len(others) in ((1, 2) if again else (0,))
    broken, *calls = gateway.settled()[before:]
    assert bool(broken["estimated"]) is again  # Gemini's chunks each tell the usage so far
    assert 0 < broken["output_tokens"] <= 3 * first.events
    assert [written(call) for call in calls] == [told(row) for row in others]
    one_session(gateway, [broken, *calls])


def test_codex_gives_a_provider_that_is_down_up_within_its_minute(gateway, upstream, tmp_path, before):
    ran = codex(gateway, tmp_path, "say hello", "-m", "gpt-broken")
    assert ran.code != 0
    assert "rovider" in ran.out + ran.err, ran
    # The breaker lets five through, and one after each of its pauses.
    assert 1 <= len(model_calls(upstream)) <= 12
    assert gateway.settled()[before:] == []


@pytest.mark.parametrize("program", EACH)
def test_a_session_paused_in_mid_stream_ends_it_and_goes_on_when_resumed(gateway, upstream, tmp_path, before, program):
    upstream.script(events=3000, pace_s=0.01)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(program.run, gateway, tmp_path, "say a lot")
        eventually(lambda: any(row.events > 20 for row in model_calls(upstream)), timeout_s=60, what="the stream")
        (held,) = gateway.rows("SELECT session_id FROM calls WHERE state = 'held'")
        gateway.cli("sessions", "pause", held["session_id"], "--reason", "a person looks")
        ran = running.result(60)
    assert "paused" in ran.out + ran.err, ran
    (row,) = model_calls(upstream)
    assert row.events < 3000
    (call,) = gateway.settled()[before:]
    assert call["session_id"] == held["session_id"]
    assert 0 < call["output_tokens"] <= 3 * row.events

    upstream.reset()
    upstream.script(text="all is well")
    gateway.cli("sessions", "resume", held["session_id"])
    ran = program.run(gateway, tmp_path, "go on", *program.goes_on)
    assert (ran.code, "all is well" in ran.out) == (0, True), ran
    again = gateway.settled()[before + 1 :]
    assert [written(call) for call in again] == [told(row) for row in model_calls(upstream)]
    assert one_session(gateway, again) == held["session_id"]


@pytest.mark.parametrize("program", EACH)
def test_a_session_paused_while_a_tool_runs_ends_it_at_its_next_turn(gateway, upstream, tmp_path, before, program):
    upstream.script(text="never said")
    upstream.script(tool_calls=[program.tool(WAIT_FOR_FILE)], times=1)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(program.run, gateway, tmp_path, "wait for me", *program.works)
        eventually(lambda: len(model_calls(upstream)) == 1, timeout_s=60, what="the first turn")
        (call,) = eventually(lambda: gateway.settled()[before:], timeout_s=60, what="its settlement")
        gateway.cli("sessions", "pause", call["session_id"])
        (tmp_path / "project/go").touch()
        ran = running.result(60)
    assert ran.code != 0
    assert "paused" in ran.out + ran.err, ran
    (row,) = model_calls(upstream)
    assert [written(each) for each in gateway.settled()[before:]] == [told(row)]


def test_a_budget_that_ends_in_mid_stream_ends_claude_code_with_the_words_of_the_denial(
    gateway, upstream, tmp_path, before
):
    upstream.script(events=3000, obey_cap=False, pace_s=0.002)
    ran = claude(gateway, tmp_path, "say a lot", key="cut")
    assert "cut-run" in ran.out + ran.err, ran
    (row,) = model_calls(upstream)
    (call,) = gateway.settled()[before:]
    assert call["outcome"] == "cut_by_limit"
    # It was sent with a maximum, which this provider ignores: what it streamed until then is counted as Claude would.
    assert row.json["max_tokens"] <= 400
    assert 0 < call["output_tokens"] <= 3 * row.events < 3 * 3000
