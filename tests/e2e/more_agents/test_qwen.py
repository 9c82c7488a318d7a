"""Qwen Code: what it does beside its turns, and how its sub-agents are counted."""

import json

import pytest

from tests.e2e.agents.books import told, written
from tests.e2e.more_agents.runs import qwen
from tests.e2e.more_agents.test_opencode import sessions_of

pytestmark = pytest.mark.xdist_group("agents")


def test_its_sub_agent_counts_on_the_session_of_its_run(gateway, upstream, tmp_path, before):
    task = {"description": "look", "prompt": "say where you are", "subagent_type": "general-purpose"}
    upstream.script(text="it is done")
    upstream.script(tool_calls=[{"name": "agent", "arguments": task}], times=1)
    ran = qwen(gateway, tmp_path, "send somebody", "-y")
    assert ran.code == 0, ran
    rows = upstream.log()
    assert any("say where you are" in json.dumps(row.json["messages"][-1]) for row in rows[1:])
    calls = gateway.settled()[before:]
    assert sorted(written(call) for call in calls) == sorted(told(row) for row in rows if row.usage)
    assert len(calls) >= 3
    assert len(sessions_of(gateway, calls)) == 1


def test_the_gateways_tools_are_found_over_mcp(gateway, upstream, tmp_path, before):
    tool = "mcp__comptroller__quota_status"
    upstream.script(text="it is known")
    upstream.script(tool_calls=[{"name": tool, "arguments": {}}], times=1)
    ran = qwen(gateway, tmp_path, "what is left?", "-y", key="watched")
    assert ran.code == 0, ran
    first, second = upstream.log()[:2]
    left = 1_000_000 - sum(told(first))
    assert f"{left} of 1000000 tokens remain" in json.dumps(second.json["messages"])
