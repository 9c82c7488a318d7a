"""The line of a tool call on an opened node: what conditions see, what is booked, which session it belongs to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.denial import Refused
from gateway.core.session import SessionState
from gateway.core.tool import ToolAsk, ToolDone
from gateway.core.tool_name import ToolNames
from gateway.management import quota
from gateway.pipeline.tool_call import tool_call, tool_lister
from tests.management.opening import ALICE, BOB, Opened, opening

LOOPS = {"identical_requests": 1000, "identical_tool_calls": 3}


@asynccontextmanager
async def governed(directory: Path, rows: str = "", **sections: Any) -> AsyncIterator[Opened]:
    """`rows` come beside the policy of `opening`."""
    (directory / "policies").mkdir()
    if rows:
        (directory / "policies" / "20-more.csv").write_text(rows)
    async with opening(directory, **sections) as node:
        yield node


async def called(
    node: Opened, tool: str = "files__read", *, key: str = "alice", session: str = "", price: int = 0, **headers: str
) -> ToolDone[str]:
    async def send() -> str:
        return "done"

    server, _, own = tool.partition("__")
    if session:
        headers["x-comptroller-session"] = session
    ask = ToolAsk(
        server, own, tool, {"path": "/srv"}, price, {name.replace("_", "-"): v for name, v in headers.items()}
    )
    done = await tool_call(node.plane, node.caller(key), ask, send)
    await node.application.node.books.totals([])
    return done


async def refusal(node: Opened, tool: str = "files__read", **how: Any) -> str:
    with pytest.raises(Refused) as caught:
        await called(node, tool, **how)
    return caught.value.denial.code.value


@pytest.mark.parametrize(
    ("row", "before", "after"),
    [
        ("p, role:everyone, *, web__*, tool:call, {}, allow", 'limit[""few""].used_ratio < 0.5', "tool_denied"),
        ("p, user:alice, *, files__read, tool:call, {}, deny", 'limit[""few""].used_ratio >= 0.5', "tool_denied"),
    ],
)
async def test_rule_21_a_tool_call_sees_its_limits_before_its_hold(
    tmp_path: Path, row: str, before: str, after: str
) -> None:
    tool = "web__get" if "web" in row else "files__read"
    limits = [{"name": "few", "each": "user", "tool_calls": 2, "window": "day"}]
    async with governed(tmp_path, row.format(f'"{before}"') + "\n", limits=limits) as node:
        assert (await called(node, tool)).result == "done"
        assert await refusal(node, tool) == after


async def test_a_tool_call_is_judged_with_the_tier_and_provider_of_its_model(tmp_path: Path) -> None:
    row = "p, role:everyone, *, files__read, tool:call, model.tier == 'premium', deny\n"
    async with governed(tmp_path, row) as node:
        await node.chat(ALICE, session="cheap", model="small")
        await node.chat(ALICE, session="dear", model="large")
        assert (await called(node, session="cheap")).result == "done"
        assert await refusal(node, session="dear") == "tool_denied"


async def test_tags_of_a_tool_call_are_booked_and_can_deny(tmp_path: Path) -> None:
    row = "p, role:everyone, *, files__read, tool:call, call.tags.project == 'secret', deny\n"
    async with governed(tmp_path, row) as node:
        await called(node, price=2_000, x_comptroller_tags="project=open")
        rows = await node.reports.usage(("tag",), None, None)
        assert [(*each.group, each.cost_usd_micros) for each in rows] == [("project=open", 2_000)]
        assert await refusal(node, x_comptroller_tags="project=secret") == "tool_denied"
        assert await refusal(node, x_comptroller_tags="nonsense") == "request_malformed"


async def test_rule_24_a_tool_call_that_a_limit_refuses_is_no_repetition(tmp_path: Path) -> None:
    limits = [{"name": "few", "each": "user", "tool_calls": 1, "window": "day"}]
    async with governed(tmp_path, limits=limits, loops=LOOPS) as node:
        await called(node, session="one")
        assert [await refusal(node, session="one") for _ in range(5)] == ["budget_exhausted"] * 5
        (live,) = node.plane.sessions.of_key(node.caller("alice").key_id)
        assert live.session.state is SessionState.OPEN


async def test_rule_14_wall_time_ends_a_session_for_tools_that_name_none(node: Opened) -> None:
    await node.chat(ALICE, session="old")
    (live,) = node.plane.sessions.of_key(node.caller("alice").key_id)
    wall_us = int(node.plane.catalog.sessions.wall_time_s * 1_000_000)
    live.session = replace(live.session, run_started_us=live.session.run_started_us - wall_us - 1_000_000)
    assert await refusal(node) == "session_expired"
    assert await refusal(node, session="old") == "session_expired"


async def test_rule_15_the_list_is_judged_in_the_session_of_the_request(tmp_path: Path) -> None:
    rows = "p, role:everyone, small, files__*, tool:list, session.kind == 'header', allow\n"
    async with governed(tmp_path, rows) as node:
        for session in ("one", "two"):
            await node.chat(BOB, session=session)
        seen = await tool_lister(node.plane, node.caller("bob"), {"x-comptroller-session": "two"})
        assert seen("files__read")
        assert not (await tool_lister(node.plane, node.caller("bob"), {}))("files__read")
        assert len(node.plane.sessions.of_key(node.caller("bob").key_id)) == 2


async def test_rule_20_an_estimate_of_a_tool_has_its_price_and_its_policy_under_any_name(tmp_path: Path) -> None:
    servers = {"files": {"transport": "http", "url": "http://127.0.0.1:9/mcp", "price_usd_per_call": 0.5}}
    limits = [{"name": "user-day", "each": "user", "usd": 0.75, "window": "day"}]
    async with governed(tmp_path, limits=limits, mcp={"servers": servers}) as node:
        node.plane.offer_tools(ToolNames({"files__read", "files__delete"}, ("comptroller",)))

        async def estimate(tool: str) -> dict[str, Any]:
            return await quota.estimate(node.plane, node.caller("alice"), {}, {"tool": tool})

        found = await estimate("mcp__comptroller__files__read")
        assert (found["would_allow"], found["cost_usd"]) == (True, 0.5)
        await called(node, price=500_000)
        found = await estimate("files__read")
        assert (found["would_allow"], found["binding_limit"]["name"]) == (False, "user-day")
        assert not (await estimate("mcp__comptroller__files__delete"))["would_allow"]


async def test_models_that_a_rule_on_the_time_allows_are_listed_and_estimated(tmp_path: Path) -> None:
    async with governed(tmp_path, "p, user:bob, large, *, model:invoke, time.hour >= 0, allow\n") as node:
        bob = node.caller("bob")
        assert [each["name"] for each in (await quota.models(node.plane, bob))["models"]] == ["small", "large"]
        found = await quota.estimate(node.plane, bob, {}, {"model": "large", "input_tokens": 1})
        assert found["would_allow"]
        assert (await node.chat(BOB, model="large")).status_code == 200


async def test_rule_19_every_name_of_a_denied_tool_is_stripped(tmp_path: Path) -> None:
    names = ["files__delete", "mcp__comptroller__files__delete", "comptroller_files__delete", "files__read"]
    names.append("files\r\n.delete: \u20ac")  # a name that no header holds
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
    row = "p, role:everyone, *, files__delete, model:invoke, , deny\n"
    async with governed(tmp_path, row, tools={"denied_declared": "strip"}) as node:
        node.plane.offer_tools(ToolNames({"files__read", "files__delete"}, ("comptroller",)))
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20, "tools": tools}
        reply = await node.client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {ALICE}"})
        assert reply.status_code == 200
        assert reply.headers["x-comptroller-stripped"].split(", ") == sorted(
            [*names[:3], "files%0D%0A.delete:%20%E2%82%AC"]
        )


async def test_an_explained_denial_says_what_decided_and_what_to_do(tmp_path: Path) -> None:
    limits = [{"name": "few", "each": "user", "tool_calls": 1, "window": "day", "action": "pause"}]
    async with governed(tmp_path, limits=limits) as node:

        async def explained(tool: str) -> str:
            with pytest.raises(Refused) as caught:
                await called(node, tool)
            call_id = str(caught.value.denial.call_id)
            return str((await quota.explain(node.plane, node.reports, node.caller("alice"), call_id))["summary"])

        words = await explained("web__get")
        assert "what nothing allows is denied. Go on without the tool" in words
        await called(node)
        words = await explained("files__read")
        assert "1 spent and 0 held of 1 tool_calls, 0 remained" in words
        assert "It resets at 20" in words
        assert "ask for more with quota_request" in words
        assert "A person must resume" in await explained("files__read")
        listed = (await quota.limits(node.plane, node.caller("alice"), {}, None))["limits"]
        assert {limit["name"]: limit["action"] for limit in listed} == {
            "few": "pause",
            "sessions.max_new_per_hour": "block",
        }
