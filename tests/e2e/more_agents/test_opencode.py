"""opencode: its title beside its first turn, its sub-agents, and Claude through its Anthropic provider."""

import json

import pytest

from tests.e2e.agents.books import told, written
from tests.e2e.more_agents.runs import MODEL_CLAUDE, opencode

pytestmark = pytest.mark.xdist_group("agents")


def test_its_title_is_asked_for_in_the_same_session(gateway, upstream, tmp_path, before):
    upstream.script(text="hello there")
    ran = opencode(gateway, tmp_path, "say hello", title="")
    assert (ran.code, ran.out.strip()) == (0, "hello there"), ran
    rows = upstream.log()
    assert sorted(bool(row.json.get("tools")) for row in rows) == [False, True]
    calls = gateway.settled()[before:]
    assert sorted(written(call) for call in calls) == sorted(told(row) for row in rows)
    (session,) = sessions_of(gateway, calls)
    assert session["kind"] == "opencode"
    assert session["client_id"].startswith("ses_")


def test_its_sub_agent_has_a_child_session_of_its_run(gateway, upstream, tmp_path, before):
    task = {"description": "look", "prompt": "say where you are", "subagent_type": "general"}
    upstream.script(text="it is done")
    upstream.script(tool_calls=[{"name": "task", "arguments": task}], times=1)
    ran = opencode(gateway, tmp_path, "send somebody")
    assert ran.code == 0, ran
    assert "it is done" in ran.out
    rows = upstream.log()
    assert any("say where you are" in json.dumps(row.json["messages"][1]) for row in rows[1:])
    calls = gateway.settled()[before:]
    assert len(calls) == len(rows) == 3
    run, child = sorted(sessions_of(gateway, calls), key=lambda row: row["depth"])
    assert (run["depth"], child["depth"], child["parent"]) == (0, 1, run["id"])
    assert (run["calls"], child["calls"]) == (2, 1)


def test_its_tools_of_the_gateway_tell_what_its_own_run_spent(gateway, upstream, tmp_path, before):
    upstream.script(text="it is known")
    upstream.script(tool_calls=[{"name": "comptroller_quota_status", "arguments": {}}], times=1)
    ran = opencode(gateway, tmp_path, "what is left?", key="watched")
    assert ran.code == 0, ran
    first, second = upstream.log()
    # opencode gives the model the text of a tool's result, not the document beside it.
    left = 1_000_000 - sum(told(first))
    assert f"{left} of 1000000 tokens remain" in second.json["messages"][-1]["content"]


def test_it_talks_to_claude_in_the_format_of_messages(gateway, upstream, tmp_path, before):
    upstream.script(text="it is done")
    upstream.script(tool_calls=[{"name": "bash", "arguments": {"command": "echo tool-ran > made.txt"}}], times=1)
    ran = opencode(gateway, tmp_path, "make a file", model=MODEL_CLAUDE, npm="@ai-sdk/anthropic")
    assert ran.code == 0, ran
    assert (tmp_path / "project/made.txt").read_text() == "tool-ran\n"
    assert [row.target for row in upstream.log()] == ["/v1/messages", "/v1/messages"]
    calls = gateway.settled()[before:]
    assert [written(call) for call in calls] == [told(row) for row in upstream.log()]
    (session,) = sessions_of(gateway, calls)
    assert session["kind"] == "opencode"


def sessions_of(gateway, calls):
    used = {call["session_id"] for call in calls}
    return [row for row in gateway.cli("sessions", "list", "--json").json if row["id"] in used]
