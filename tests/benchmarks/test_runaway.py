"""Runaway agents are stopped and honest ones are not: a part of `make bench-runaway` with the real SDKs."""

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import Server, free_port, running
from benchmarks.runaway.gateway_files import write_files
from benchmarks.runaway.honest import HONEST
from benchmarks.runaway.measure import Run, chosen, play_all, spent_usd
from benchmarks.runaway.provider import Provider
from benchmarks.runaway.runaways import RUNAWAYS
from benchmarks.runaway.table import faults, table
from gateway.core.identity import make_secret

pytestmark = pytest.mark.xdist_group("runaway")

LOST = {
    "same_question": (5, "identical_requests"),
    "same_question_new_id": (12, "no_progress"),
    "two_questions_in_turns": (8, "cycle"),
    "same_tool_call_streamed": (6, "identical_tool_calls"),
    "same_tool_call_nagged": (6, "identical_tool_calls"),
    "only_the_last_step_sent": (6, "identical_tool_calls"),
    "ping_pong": (8, "cycle"),
    "cycle_of_four": (16, "cycle"),
    "reworded_search": (10, "identical_results"),
    "error_storm": (10, "errors_in_a_row"),
    "nothing_new_said": (12, "no_progress"),
    "provider_hammered": (10, "errors_in_a_row"),
    "mcp_same_call": (6, "identical_tool_calls"),
    "mcp_flood": (10, "identical_results"),
    "model_and_mcp": (12, "identical_tool_calls"),
}
"""At most so many calls, and by what."""

WORKING = (
    *("coding", "stuck_for_a_while", "polling", "clock_polling", "batch_extraction", "linting", "sub_agents"),
    *("asking_many_times_at_once", "two_readings", "mcp_parallel", "mcp_flaky"),
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """(URL, key, directory)"""
    key, port = make_secret(secrets.randbits(192)), free_port()
    directory = tmp_path_factory.mktemp("runaway")
    with Provider() as provider:
        config = write_files(directory, provider.port)
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(config), "--port", str(port)]
        with running(Server(command, port, "/readyz", {"BENCH_KEY": key}, directory, None)):
            yield f"http://127.0.0.1:{port}", key, directory


async def test_every_runaway_is_stopped_by_what_it_is(gateway: tuple[str, str, Path]) -> None:
    url, key, directory = gateway
    runs = await play_all(url, key, [(name, RUNAWAYS[name], 0) for name in LOST], at_once=3)
    assert faults(runs, []) == []
    assert {run.name: run.detector for run in runs} == {name: detector for name, (_, detector) in LOST.items()}
    assert [run for run in runs if run.calls > LOST[run.name][0]] == []
    assert {run.stopped for run in runs} == {"loop_detected"}
    assert max(spent_usd(directory / "books.db").values()) < 0.1


async def test_no_honest_agent_is_stopped(gateway: tuple[str, str, Path]) -> None:
    url, key, _ = gateway
    runs = await play_all(url, key, [(name, HONEST[name], 7) for name in WORKING], at_once=3)
    assert faults([], runs) == []
    assert sum(run.calls for run in runs) > 300


def test_the_table_says_what_was_missed_and_who_was_stopped() -> None:
    lost = Run("ping_pong", "ses_1", 120, 0, "", "")
    honest = [Run("coding", "ses_2", 40, 1, "", ""), Run("coding", "ses_3", 12, 3, "loop_detected", "cycle")]
    assert faults([lost], honest) == [
        "ping_pong was not stopped",
        "coding was stopped after 12 calls: loop_detected cycle",
    ]
    text = table([lost], honest, {"ses_1": 0.5})
    assert "| ping pong | `**nothing**` | 120 | 0.5000 |" in text
    assert "| coding | 2 | 52 | 4 | 1 |" in text


def test_traces_of_one_kind_differ_by_their_seed() -> None:
    traces = chosen(HONEST, 100)
    assert len({(name, seed) for name, _, seed in traces}) == 100
    assert {name for name, _, _ in traces} == set(HONEST)
    assert len(RUNAWAYS) >= 12
