"""Copilot CLI in its other formats: how its run is found where nobody names it, and how it stops."""

import pytest

from tests.e2e.agents.books import told, written
from tests.e2e.more_agents.runs import MODEL, MODEL_CLAUDE, copilot
from tests.e2e.more_agents.test_opencode import sessions_of

pytestmark = pytest.mark.xdist_group("agents")

UNNAMED = {"COPILOT_PROVIDER_HEADERS": ""}
RESPONSES = {**UNNAMED, "COPILOT_PROVIDER_WIRE_API": "responses"}
TOOL = {"name": "bash", "arguments": {"command": "echo tool-ran > made.txt", "description": "make it"}}


def messages(gateway):
    return {**UNNAMED, "COPILOT_PROVIDER_TYPE": "anthropic", "COPILOT_PROVIDER_BASE_URL": gateway.origin}


def test_in_the_responses_format_its_run_is_found_by_itself(gateway, upstream, tmp_path, before):
    upstream.script(text="it is done")
    upstream.script(tool_calls=[TOOL], times=1)
    ran = copilot(gateway, tmp_path, "make a file", "--allow-all-tools", settings=RESPONSES)
    assert ran.code == 0, ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    ran = copilot(gateway, tmp_path, "go on", "--continue", settings=RESPONSES)
    assert ran.code == 0, ran
    assert {row.target for row in upstream.log()} == {"/v1/responses"}
    calls = gateway.settled()[before:]
    assert [written(call) for call in calls] == [told(row) for row in upstream.log()]
    (session,) = sessions_of(gateway, calls)
    assert session["kind"] == "copilot"

    (tmp_path / "other").mkdir()
    copilot(gateway, tmp_path / "other", "say hello", settings=RESPONSES)
    assert len(sessions_of(gateway, gateway.settled()[before:])) == 2


def test_in_the_responses_format_a_spent_budget_ends_it_with_the_words_of_the_denial(gateway, upstream, tmp_path):
    asked = gateway.calls_seen()
    ran = copilot(gateway, tmp_path, "say hello", key="poor", settings=RESPONSES)
    assert ran.code != 0
    assert "poor-run" in ran.out + ran.err, ran
    assert gateway.calls_seen() == asked + 1
    assert upstream.log() == []


def test_it_talks_to_claude_in_the_format_of_messages(gateway, upstream, tmp_path, before):
    upstream.script(text="it is done")
    upstream.script(tool_calls=[TOOL], times=1)
    settings = messages(gateway)
    ran = copilot(gateway, tmp_path, "make a file", "--allow-all-tools", model=MODEL_CLAUDE, settings=settings)
    assert ran.code == 0, ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    assert [row.target for row in upstream.log()] == ["/v1/messages", "/v1/messages"]
    assert [written(call) for call in gateway.settled()[before:]] == [told(row) for row in upstream.log()]


def test_in_the_format_of_messages_a_spent_budget_ends_it_with_the_words_of_the_denial(gateway, upstream, tmp_path):
    asked = gateway.calls_seen()
    ran = copilot(gateway, tmp_path, "say hello", key="poor", model=MODEL_CLAUDE, settings=messages(gateway))
    assert ran.code != 0
    assert "poor-run" in ran.out + ran.err, ran
    assert gateway.calls_seen() == asked + 1
    assert upstream.log() == []


def test_unnamed_runs_on_chat_completions_share_the_session_of_the_key(gateway, upstream, tmp_path, before):
    upstream.script(text="hello there")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert copilot(gateway, tmp_path / name, "say hello", model=MODEL, settings=UNNAMED).code == 0
    (session,) = sessions_of(gateway, gateway.settled()[before:])
    assert session["kind"] == "implicit"
