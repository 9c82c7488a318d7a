"""A key that floods is answered from memory, but never beyond what made the answer true (rule 33)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.core.denial import Denial
from gateway.core.session import SessionState
from gateway.management.keys import NewKey
from gateway.management.sessions import set_state
from gateway.pipeline.denied import Trail
from gateway.pipeline.refusals import FLOOD_ABOVE
from tests.management.hand_clock import by_hand
from tests.management.opening import ALICE, BOB, CONFIG, ENVIRONMENT, POLICY, Opened, opening

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
    return node.plane.refusals.answer(caller.key_id, trail.about)


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
