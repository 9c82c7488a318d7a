"""Sub-agents that their programs mark: a child session each, without a part of its own, counted on all above it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.session import Session, SessionState
from gateway.management.sessions import set_state
from gateway.pipeline.tool_call import tool_session
from tests.management.hand_clock import SECOND_US, by_hand
from tests.management.opening import ALICE, BOB, CONFIG, Opened, opening

RUN = "0b1c2d3e-run"
CLAUDE = {"x-claude-code-session-id": RUN}
CODEX = {"originator": "codex_exec", "session-id": RUN, "thread-id": "t1"}
NO_LIMITS: Mapping[str, Any] = {"limits": []}


def claude(agent: str) -> dict[str, str]:
    return {**CLAUDE, "x-claude-code-agent-id": agent}


def codex(thread: str, parent: str) -> dict[str, str]:
    spawned = {"thread-id": thread, "x-codex-parent-thread-id": parent, "x-openai-subagent": "collab_spawn"}
    return {**CODEX, **spawned}


def opencode(own: str, parent: str = "") -> dict[str, str]:
    return {"x-session-id": own, **({"x-parent-session-id": parent} if parent else {})}


async def call(node: Opened, headers: Mapping[str, str], secret: str = ALICE) -> str:
    """The session that the call belonged to, or the code of its refusal."""
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
    sent = {"authorization": f"Bearer {secret}", **headers}
    reply = await node.client.post("/v1/chat/completions", json=body, headers=sent)
    await node.application.node.books.totals([])
    return str(reply.headers["x-comptroller-session"] if reply.is_success else reply.json()["error"]["code"])


async def stored(node: Opened, session_id: str) -> Session:
    found = await node.application.node.books.session(session_id)
    assert found is not None
    return found


@pytest.mark.parametrize("run_first", [True, False])
@pytest.mark.parametrize(
    ("run", "below", "lower"),
    [
        (CLAUDE, claude("a1"), None),
        (CODEX, codex("t2", "t1"), codex("t3", "t2")),
        (opencode("ses_1"), opencode("ses_2", "ses_1"), opencode("ses_3", "ses_2")),
    ],
    ids=["claude-code", "codex", "opencode"],
)
async def test_each_has_a_child_session_below_the_one_that_began_it(
    tmp_path: Path, run: dict[str, str], below: dict[str, str], lower: dict[str, str] | None, run_first: bool
) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        first = await call(node, run) if run_first else ""
        child = await call(node, below)
        root = await call(node, run)
        assert first in ("", root)
        assert (await stored(node, child)).ancestors == (root,)
        assert (await stored(node, root)).ancestors == ()
        if lower is not None:
            assert (await stored(node, await call(node, lower))).ancestors == (child, root)
        assert await call(node, below) == child
    async with opening(tmp_path, **NO_LIMITS) as again:
        assert await call(again, below) == child
        assert await call(again, run) == root


async def test_another_keys_sub_agent_is_never_below_this_ones_run(tmp_path: Path) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        mine = await call(node, claude("a1"))
        other = await call(node, claude("a1"), BOB)
        assert other != mine
        assert (await stored(node, other)).ancestors != (await stored(node, mine)).ancestors


async def test_many_first_calls_at_once_open_one_run_and_one_child(tmp_path: Path) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        found = await asyncio.gather(*(call(node, claude(f"a{n % 2}")) for n in range(20)))
        assert len(set(found)) == 2
        assert len({(await stored(node, each)).ancestors for each in found}) == 1
        rows = await node.reports.sessions(key_id=None, state=None, limit=100)
        assert len(rows) == 3


async def test_what_sub_agents_spend_counts_on_the_run_and_its_budget_holds_for_all(tmp_path: Path) -> None:
    limits = [{"name": "run", "each": "session", "tokens": 200}]
    async with opening(tmp_path, limits=limits) as node:
        seen = [await call(node, claude(f"a{n}")) for n in range(12)]
        assert "session_budget_exhausted" in seen
        root = await call(node, CLAUDE)
        assert root == "session_budget_exhausted"
        rows = await node.reports.sessions(key_id=None, state=None, limit=100)
        (run,) = [row for row in rows if not row.session.ancestors]
        spent = run.posted.input_tokens + run.posted.output_tokens
        below = run.below.input_tokens + run.below.output_tokens
        assert 0 < spent + below <= 200
        children = [row.posted for row in rows if row.session.ancestors == (run.session.id,)]
        assert below == sum(posted.input_tokens + posted.output_tokens for posted in children)


async def test_beyond_the_children_and_the_depth_allowed_calls_count_above(tmp_path: Path) -> None:
    sessions = {**CONFIG["sessions"], "max_children": 2, "max_depth": 2}
    async with opening(tmp_path, sessions=sessions, **NO_LIMITS) as node:
        root = await call(node, CLAUDE)
        children = [await call(node, claude(f"a{n}")) for n in range(3)]
        assert root not in children[:2]
        assert children[2] == root
        assert await call(node, claude("a0")) == children[0]
        line = [await call(node, opencode(own, above)) for own, above in (("s1", ""), ("s2", "s1"), ("s3", "s2"))]
        assert len(set(line)) == 3
        assert await call(node, opencode("s4", "s3")) == line[-1]


async def test_every_session_that_a_call_opens_is_counted(tmp_path: Path) -> None:
    async with opening(tmp_path, sessions={**CONFIG["sessions"], "max_new_per_hour": 3}, **NO_LIMITS) as node:
        assert (await call(node, claude("a1"))).startswith("ses_")  # the run and the child
        assert (await call(node, claude("a2"))).startswith("ses_")
        assert await call(node, claude("a3")) == await call(node, CLAUDE), "a third child would be one session too many"
        assert await call(node, {**CLAUDE, "x-claude-code-session-id": "another-run"}) == "session_limit"


async def test_a_refused_first_call_leaves_neither_behind(tmp_path: Path) -> None:
    limits = [{"name": "run", "each": "session", "tokens": 1}]
    async with opening(tmp_path, limits=limits) as node:
        assert await call(node, claude("a1")) == "session_budget_exhausted"
        assert node.plane.sessions.counts()["sessions"] == 0
        assert await node.reports.sessions(key_id=None, state=None, limit=100) == []


@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.STOPPED])
async def test_the_switch_of_the_run_acts_on_its_sub_agents(tmp_path: Path, state: SessionState) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        child, root = await call(node, claude("a1")), await call(node, CLAUDE)
        await set_state(node.plane, root, state, "look at it", "admin")
        assert await call(node, claude("a1")) == f"session_{state.value}"
        assert await call(node, claude("a2")) == f"session_{state.value}"
        await set_state(node.plane, root, SessionState.OPEN, "", "admin")
        assert await call(node, claude("a1")) == child


async def test_a_run_that_comes_back_after_idling_comes_back_with_its_sub_agent(tmp_path: Path) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        clock = by_hand(node)
        child, root = await call(node, claude("a1")), await call(node, CLAUDE)
        clock.at_us += 2 * 3_600 * SECOND_US
        for _ in ("children", "their parents"):
            node.plane.sessions.sweep(node.plane.catalog.sessions, clock.at_us)
        assert node.plane.sessions.counts()["sessions"] == 0
        assert await call(node, claude("a1")) == child
        assert await call(node, CLAUDE) == root


async def test_a_run_whose_wall_time_is_over_takes_its_sub_agents_along(tmp_path: Path) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        clock = by_hand(node)
        await call(node, CLAUDE)
        for _ in range(16):
            clock.at_us += 1_750 * SECOND_US
            assert (await call(node, claude("a1"))).startswith("ses_")
        clock.at_us += 1_750 * SECOND_US
        assert await call(node, claude("a1")) == "session_expired"


async def test_a_request_to_mcp_without_a_mark_means_the_run(tmp_path: Path) -> None:
    async with opening(tmp_path, **NO_LIMITS) as node:
        await call(node, claude("a1"))
        root = await call(node, CLAUDE)
        assert (await tool_session(node.plane, node.caller("alice"), {}, None)).id == root


async def test_sessions_that_name_each_other_as_their_parents_end_nowhere(tmp_path: Path) -> None:
    """What clients send must not lead the search for the session above round in a circle."""
    async with opening(tmp_path, sessions={**CONFIG["sessions"], "max_depth": 1}, **NO_LIMITS) as node:
        clock = by_hand(node)
        run, child = await call(node, opencode("s1")), await call(node, opencode("s2", "s1"))
        assert await call(node, opencode("s3", "s2")) == child
        clock.at_us += 2 * 3_600 * SECOND_US
        async with asyncio.timeout(10):
            assert await call(node, opencode("s2", "s3")) == child
            assert await call(node, opencode("s3", "s2")) == child
            assert await call(node, opencode("s1", "s3")) == run
