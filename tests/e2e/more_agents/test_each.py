"""opencode, Copilot CLI, Qwen Code, LangChain and Pydantic AI: each answers, works, streams, and stops with the reason
in sight after few requests when its budget is spent, a person pauses it or the provider fails. The books say what the
provider said."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.agents.books import FAULTS, one_session, told, written
from tests.e2e.more_agents.clients import CLIENTS
from tests.e2e.more_agents.runs import COPILOT_RUN, OPENCODE_RUN, QWEN_RUN
from tests.support.gateway import eventually

pytestmark = pytest.mark.xdist_group("agents")

WAIT_FOR_FILE = "while [ ! -e go ]; do sleep 0.1; done; rm go"
PROGRAMS = {"opencode": OPENCODE_RUN, "copilot": COPILOT_RUN, "qwen": QWEN_RUN, **CLIENTS}
EACH = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)


def booked_as_told(gateway, upstream, before):
    """The charged calls of this test, which must be those that the provider reported."""
    calls = gateway.settled()[before:]
    assert sorted(written(call) for call in calls) == sorted(told(row) for row in upstream.log() if row.usage)
    assert [call["estimated"] for call in calls] == [None] * len(calls)
    return calls


@EACH
def test_it_answers_and_its_run_is_a_session(gateway, upstream, tmp_path, before, program):
    upstream.script(text="hello there")
    ran = program.run(gateway, tmp_path, "say hello")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    assert {(row.target, row.stream) for row in upstream.log()} == {(program.path, True)}
    calls = booked_as_told(gateway, upstream, before)
    run = one_session(gateway, calls)
    (session,) = [row for row in gateway.cli("sessions", "list", "--json").json if row["id"] == run]
    assert session["kind"] == program.kind


@EACH
def test_it_runs_a_tool_and_ends(gateway, upstream, tmp_path, before, program):
    upstream.script(text="it is done")
    upstream.script(tool_calls=[program.tool("echo tool-ran > made.txt")], times=1)
    ran = program.run(gateway, tmp_path, "make a file", *program.works)
    assert ran.code == 0, ran
    assert "it is done" in ran.out
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    first, second = upstream.log()[:2]
    assert second.json["messages"][: len(first.json["messages"])] == first.json["messages"]
    one_session(gateway, booked_as_told(gateway, upstream, before))


@EACH
def test_a_long_answer_reaches_it_whole(gateway, upstream, tmp_path, before, program):
    upstream.script(events=400, pace_s=0.002)
    ran = program.run(gateway, tmp_path, "say a lot")
    assert ran.code == 0, ran
    assert ran.out.split()[:400] == [f"word{n}" for n in range(400)]
    booked_as_told(gateway, upstream, before)


@EACH
def test_a_spent_budget_ends_it_after_one_request_with_the_words_of_the_denial(gateway, upstream, tmp_path, program):
    asked = gateway.calls_seen()
    ran = program.run(gateway, tmp_path, "say hello", key="poor")
    assert ran.code != 0
    assert "poor-run" in ran.err + ran.out, ran
    assert gateway.calls_seen() == asked + 1
    assert upstream.log() == []


@EACH
def test_a_stream_that_is_cut_at_its_budget_shows_why(gateway, upstream, tmp_path, before, program):
    upstream.script(events=3000, obey_cap=False, pace_s=0.002)
    ran = program.run(gateway, tmp_path, "say a lot", key="cut")
    assert "cut-run" in ran.out + ran.err, ran
    (row,) = upstream.log()
    (call,) = gateway.settled()[before:]
    assert call["outcome"] == "cut_by_limit"
    assert 0 < call["output_tokens"] <= 3 * row.events < 3 * 3000


@pytest.mark.parametrize("fault", FAULTS)
@EACH
def test_a_provider_that_fails_once_costs_nothing_and_it_finishes(gateway, upstream, tmp_path, before, program, fault):
    upstream.script(text="all is well")
    upstream.script(times=1, **FAULTS[fault])
    ran = program.run(gateway, tmp_path, "say hello")
    assert ran.code == 0, ran
    assert "all is well" in ran.out
    assert len([row for row in upstream.log() if not row.usage]) == 1
    booked_as_told(gateway, upstream, before)


@pytest.mark.parametrize("fault", ["close_mid_stream", "hang_mid_stream"])
@EACH
def test_a_stream_that_breaks_off_is_booked_as_far_as_it_came(gateway, upstream, tmp_path, before, program, fault):
    upstream.script(text="all is well")
    upstream.script(times=1, events=40, fault=fault, fault_after=20)
    ran = program.run(gateway, tmp_path, "say hello")
    assert ("all is well" if program.asks_again else "provider") in ran.out + ran.err, ran
    first, *others = upstream.log()
    assert len(others) == program.asks_again
    broken, *calls = gateway.settled()[before:]
    assert broken["estimated"]
    assert 0 < broken["output_tokens"] <= 3 * first.events
    assert [written(call) for call in calls] == [told(row) for row in others]
    one_session(gateway, [broken, *calls])


@EACH
def test_a_session_paused_in_mid_stream_ends_it_and_goes_on_when_resumed(gateway, upstream, tmp_path, before, program):
    upstream.script(events=3000, pace_s=0.01)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(program.run, gateway, tmp_path, "say a lot")
        eventually(lambda: any(row.events > 20 for row in upstream.log()), timeout_s=60, what="the stream")
        (held,) = gateway.rows("SELECT session_id FROM calls WHERE state = 'held'")
        gateway.cli("sessions", "pause", held["session_id"], "--reason", "a person looks")
        ran = running.result(60)
    assert "paused" in ran.out + ran.err, ran
    (row,) = upstream.log()
    assert row.events < 3000
    (call,) = gateway.settled()[before:]
    assert call["session_id"] == held["session_id"]
    assert 0 < call["output_tokens"] <= 3 * row.events

    upstream.reset()
    upstream.script(text="all is well")
    gateway.cli("sessions", "resume", held["session_id"])
    ran = program.run(gateway, tmp_path, "go on", *program.goes_on)
    assert (ran.code, "all is well" in ran.out) == (0, True), ran
    assert one_session(gateway, booked_as_told(gateway, upstream, before + 1)) == held["session_id"]


@EACH
def test_a_session_paused_while_a_tool_runs_ends_it_at_its_next_turn(gateway, upstream, tmp_path, before, program):
    upstream.script(text="never said")
    upstream.script(tool_calls=[program.tool(WAIT_FOR_FILE)], times=1)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(program.run, gateway, tmp_path, "wait for me", *program.works)
        eventually(lambda: len(upstream.log()) == 1, timeout_s=60, what="the first turn")
        (call,) = eventually(lambda: gateway.settled()[before:], timeout_s=60, what="its settlement")
        gateway.cli("sessions", "pause", call["session_id"])
        (tmp_path / "project/go").touch()
        ran = running.result(60)
    assert ran.code != 0
    assert "paused" in ran.out + ran.err, ran
    assert len(upstream.log()) == 1
    booked_as_told(gateway, upstream, before)
