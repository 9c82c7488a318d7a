"""A key that floods is answered from memory, but never beyond what made the answer true (rule 33)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.core.denial import Denial
from gateway.core.session import SessionState
from gateway.management.keys import NewKey
from gateway.management.sessions import set_state
from gateway.pipeline.denied import Trail
from gateway.pipeline.refusals import FLOOD_ABOVE, FULL_KEPT_US
from tests.management.full_line import full_line
from tests.management.hand_clock import by_hand
from tests.management.opening import ALICE, BOB, CONFIG, ENVIRONMENT, POLICY, Opened, opening

CACHED = {**CONFIG["models"], "small": {**CONFIG["models"]["small"], "cache": {"kept_for": "10m"}}}
ROUTED = [{"name": "long", "from": "small", "to": "large", "when": "call.input_bytes > 100000"}]
ONE_A_DAY = {"name": "one", "each": "user", "requests": 1, "window": "day"}


async def code_of(node: Opened, secret: str, **call: Any) -> str:
    reply = await node.chat(secret, **call)
    return "" if reply.status_code == 200 else str(reply.json()["error"]["code"])


async def flood(node: Opened, secret: str = ALICE, **call: Any) -> str:
    """Refuses the key until it is answered from memory; the code of that answer."""
    code = ""
    for _ in range(FLOOD_ABOVE + 2):
        code = await code_of(node, secret, **call)
    key = node.caller("alice" if secret == ALICE else "bob")
    assert node.plane.refusals.flooded(key.key_id, node.plane.clock.now_us())
    return code


def remembered(node: Opened) -> Denial | None:
    """What alice's key would be told from memory in the session `run`."""
    caller = node.caller("alice")
    trail = Trail("", "chat", caller, headers={"x-comptroller-session": "run"}, asked="small")
    return node.plane.refusals.answer(caller.key_id, trail.about, node.plane.clock.now_us())


async def test_rule_33_a_resumed_session_is_judged_anew(node: Opened) -> None:
    by_hand(node)
    await node.chat(ALICE)
    session_id = await node.session_id("run")
    await set_state(node.plane, session_id, SessionState.PAUSED, "look at it", "admin")
    assert await flood(node) == "session_paused"
    await set_state(node.plane, session_id, SessionState.OPEN, "", "admin")
    assert not await code_of(node, ALICE)


@pytest.mark.parametrize("changed", ["limit", "policy"])
async def test_rule_33_another_limit_or_policy_is_a_reason_to_judge_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    async with opening(tmp_path, limits=[ONE_A_DAY]) as node:
        by_hand(node)
        await node.chat(ALICE)
        if changed == "limit":
            assert await flood(node) == "budget_exhausted"
            text = yaml.safe_dump({**CONFIG, "limits": [{**ONE_A_DAY, "requests": 5}]}, sort_keys=False)
            (tmp_path / "comptroller.yaml").write_text(text)
        else:
            assert await flood(node, BOB, model="large") == "model_denied"
            rows = POLICY + "p, user:bob, large, *, model:invoke, , allow\n"
            (tmp_path / "policies" / "10-test.csv").write_text(rows)
        assert await node.application.keeper.reload() == ()
        secret, model = (ALICE, "small") if changed == "limit" else (BOB, "large")
        assert not await code_of(node, secret, model=model)


async def test_rule_33_a_changed_key_is_a_reason_to_judge_anew(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=[ONE_A_DAY]) as node:
        by_hand(node)
        await node.chat(ALICE)
        assert await flood(node) == "budget_exhausted"
        assert remembered(node) is not None
        await node.desk.create(NewKey("carl"), "admin")
        assert remembered(node) is None
        assert await code_of(node, ALICE) == "budget_exhausted"


def refused(node: Opened) -> int:
    return node.plane.capacity.figures()[0].refused


async def test_c10_a_flood_at_a_full_line_is_answered_from_memory_while_it_is_full(tmp_path: Path) -> None:
    async with full_line(tmp_path) as (node, running, waiting):
        assert await flood(node) == "concurrency_limited"
        known = remembered(node)
        assert known is not None
        assert not known.final
        before = refused(node)
        assert await code_of(node, ALICE) == "concurrency_limited"
        assert refused(node) == before + 1
        running.leave(0)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert remembered(node) is None


async def test_c10_what_comes_before_a_full_line_is_found_within_a_second(tmp_path: Path) -> None:
    async with full_line(tmp_path) as (node, _, _):
        clock = by_hand(node)
        assert await flood(node) == "concurrency_limited"
        clock.at_us += FULL_KEPT_US - 1
        assert remembered(node) is not None
        clock.at_us += 1
        assert remembered(node) is None


async def test_c10_another_key_model_or_session_is_judged_for_itself(tmp_path: Path) -> None:
    async with full_line(tmp_path) as (node, _, _):
        assert await flood(node) == "concurrency_limited"
        caller = node.caller("alice")
        for headers, asked in (
            ({"x-comptroller-session": "other"}, "small"),
            ({"x-comptroller-session": "run"}, "large"),
        ):
            trail = Trail("", "chat", caller, headers=headers, asked=asked)
            assert node.plane.refusals.answer(caller.key_id, trail.about, node.plane.clock.now_us()) is None


@pytest.mark.parametrize("sections", [{"models": CACHED}, {"routes": ROUTED}], ids=["kept answers", "routes"])
async def test_c10_calls_that_may_be_answered_otherwise_are_judged_whole(tmp_path: Path, sections: Any) -> None:
    async with full_line(tmp_path, **sections) as (node, _, _):
        assert await flood(node) == "concurrency_limited"
        assert remembered(node) is None
