"""What an agent is told about its own budgets, and that it is told of nobody else's."""

from typing import Any

import pytest

from gateway.core.denial import Refused
from gateway.core.identity import KeyState
from gateway.core.report import AuditSearch
from gateway.core.session import SessionState
from gateway.management import quota
from gateway.management.keys import NewKey
from gateway.management.sessions import set_state
from gateway.pipeline.refusals import FLOOD_ABOVE
from tests.management.opening import ALICE, BOB, Opened, opening

LOOSE = {"name": "org-day", "org": "org", "tokens": 10_000_000, "window": "day"}
TIGHT = [LOOSE, {"name": "session-tokens", "each": "session", "tokens": 300}]


def names(limits: list[dict[str, Any]]) -> list[str]:
    return [limit["name"] for limit in limits]


async def status(node: Opened, name: str = "alice", session: str | None = None, **headers: str) -> dict[str, Any]:
    return await quota.status(node.plane, node.caller(name), headers, session)


async def estimate(node: Opened, name: str = "alice", **arguments: Any) -> dict[str, Any]:
    return await quota.estimate(node.plane, node.caller(name), {}, arguments)


async def test_rule_15_without_a_session_all_open_ones_of_the_key_are_listed(node: Opened) -> None:
    for session in ("one", "two"):
        await node.chat(ALICE, session=session)
    await node.chat(BOB, session="three")
    found = await status(node)
    ids = {await node.session_id("one"), await node.session_id("two")}
    assert {session["session"] for session in found["sessions"]} == ids
    assert all("session-tokens" in names(session["limits"]) for session in found["sessions"])
    assert await node.session_id("three") not in str(found)


@pytest.mark.parametrize("by", ["own id", "client's id"])
async def test_rule_15_one_session_is_told_by_either_id(node: Opened, by: str) -> None:
    await node.chat(ALICE, session="one")
    await node.chat(ALICE, session="two")
    wanted = await node.session_id("one")
    found = await status(node, session=wanted if by == "own id" else "one")
    assert [session["session"] for session in found["sessions"]] == [wanted]


async def test_a_session_of_another_key_is_unknown(node: Opened) -> None:
    await node.chat(BOB, session="three")
    for session in (await node.session_id("three"), "three", "nothing"):
        with pytest.raises(Refused, match="No session"):
            await status(node, session=session)


async def test_how_many_sessions_may_be_opened_does_not_bind_one_that_is_open(tmp_path) -> None:
    async with opening(tmp_path, sessions={"max_new_per_hour": 2}) as node:
        await node.chat(ALICE)
        assert (await status(node))["binds_first"]["name"] != "sessions.max_new_per_hour"
        assert "sessions.max_new_per_hour" in names((await status(node))["limits"])


async def test_what_binds_first_is_what_is_nearest_to_its_end(tmp_path) -> None:
    async with opening(tmp_path, limits=TIGHT) as node:
        await node.chat(ALICE)
        found = await status(node)
    assert found["binds_first"]["name"] == "session-tokens"
    assert "session-tokens" in found["summary"]
    spent = found["binds_first"]["spent"]
    assert found["binds_first"]["remaining"] == 300 - spent > 0


@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.STOPPED])
async def test_rule_15_it_works_while_the_session_does_not(node: Opened, state: SessionState) -> None:
    await node.chat(ALICE)
    session_id = await node.session_id("run")
    await set_state(node.plane, session_id, state, "enough", "admin")
    found = await status(node)
    assert [session["state"] for session in found["sessions"]] == [state.value]
    assert state.value in found["summary"]
    assert (await estimate(node, model="small", input_tokens=1))["would_allow"] is False


async def test_rule_15_it_works_while_exhausted(tmp_path) -> None:
    async with opening(tmp_path, limits=TIGHT) as node:
        while (await node.chat(ALICE)).status_code == 200:
            pass
        found = await status(node)
        assert found["binds_first"]["name"] == "session-tokens"
        assert names((await quota.limits(node.plane, node.caller("alice"), {}, None))["limits"])


@pytest.mark.parametrize(("tokens", "allowed"), [(200, True), (290, False), (301, False)])
async def test_an_estimate_says_what_the_call_would_meet(tmp_path, tokens: int, allowed: bool) -> None:
    async with opening(tmp_path, limits=TIGHT) as node:
        found = await estimate(node, model="small", input_tokens=tokens, output_tokens=20)
        assert found["would_allow"] is allowed
        assert (found["binding_limit"] is None) is allowed
        if allowed:
            assert tokens + 2 * 20 <= round(found["cost_usd"] * 1_000_000) <= tokens + 2 * 20 + 2
        else:
            assert found["binding_limit"]["name"] == "session-tokens"


async def test_what_an_estimate_promises_the_call_gets_and_what_a_call_is_refused_was_foretold(tmp_path) -> None:
    messages = [{"role": "user", "content": "hi"}]
    async with opening(tmp_path, limits=TIGHT) as node:
        for _ in range(20):
            told = await estimate(node, model="small", messages=messages, output_tokens=20, session=None)
            reply = await node.chat(ALICE)
            if reply.status_code != 200:
                assert told["would_allow"] is False
                assert reply.json()["error"]["comptroller"]["limit"]["name"] == told["binding_limit"]["name"]
                return
    raise AssertionError("the budget never ended")


async def test_estimates_hold_nothing_and_leave_no_trace(node: Opened) -> None:
    for _ in range(3):
        await estimate(node, model="small", input_tokens=10, output_tokens=10)
        await estimate(node, tool="files__read", arguments={"path": "/tmp"})
    views = node.plane.limiter.views(node.plane.clock.now_us())
    assert all(view.held == 0 and view.spent == 0 for view in views)
    assert not [view for view in views if view.scope in ("session:", quota.NEW_SESSION)]
    assert await node.reports.sessions(key_id=None, state=None, limit=10) == []


@pytest.mark.parametrize(
    ("name", "tool", "allowed"),
    [
        ("alice", "files__read", True),
        ("alice", "files__delete", False),
        ("bob", "files__delete", True),
        ("bob", "web__get", False),
    ],
)
async def test_a_tool_is_estimated_with_the_policy(node: Opened, name: str, tool: str, allowed: bool) -> None:
    assert (await estimate(node, name, tool=tool))["would_allow"] is allowed


@pytest.mark.parametrize("model", ["large", "nothing"])
async def test_a_model_that_may_not_be_used_is_not_estimated(node: Opened, model: str) -> None:
    found = await estimate(node, "bob", model=model, input_tokens=1)
    assert found["would_allow"] is False
    assert "small" in found["summary"]


async def test_models_are_those_that_the_key_may_use(node: Opened) -> None:
    listed = {name: await quota.models(node.plane, node.caller(name)) for name in ("alice", "bob")}
    assert [model["name"] for model in listed["alice"]["models"]] == ["small", "large"]
    assert listed["bob"]["models"] == [{"name": "small", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}]


async def test_limits_are_told_in_the_order_of_the_file_also_before_the_first_call(node: Opened) -> None:
    found = await quota.limits(node.plane, node.caller("bob"), {}, None)
    assert names(found["limits"])[:2] == ["session-tokens", "user-day"]
    by_name = {limit["name"]: limit for limit in found["limits"]}
    assert by_name["session-tokens"]["remaining"] == 100_000
    assert by_name["user-day"]["limit"] == 2


async def test_a_denial_is_explained_with_the_figures_of_its_moment(tmp_path) -> None:
    async with opening(tmp_path, limits=TIGHT) as node:
        while (reply := await node.chat(ALICE)).status_code == 200:
            pass
        denial = reply.json()["error"]["comptroller"]
        found = await quota.explain(node.plane, node.reports, node.caller("alice"), denial["call"])
    assert found["comptroller"] == denial
    limit = found["comptroller"]["limit"]
    assert limit["remaining"] == limit["limit"] - limit["spent"] - limit["held"]
    assert limit["asked"] > limit["remaining"]
    for figure in ("spent", "held", "limit", "remaining", "asked"):
        assert str(limit[figure]) in found["summary"]


async def test_calls_of_other_keys_are_unknown(node: Opened) -> None:
    reply = await node.chat(BOB, model="large")
    call = reply.json()["error"]["comptroller"]["call"]
    mine = await quota.explain(node.plane, node.reports, node.caller("bob"), call)
    assert mine["comptroller"]["code"] == "model_denied"
    for asked in (call, "call_nothing"):
        found = await quota.explain(node.plane, node.reports, node.caller("alice"), asked)
        assert found == {"summary": f"No call {asked} of this key is known."}


async def test_a_key_does_not_inherit_the_calls_of_a_revoked_one_of_its_name(node: Opened) -> None:
    _, secret = await node.desk.create(NewKey("carl"), "admin")
    calls = [(await node.chat(secret, model=model)).headers["x-comptroller-call"] for model in ("small", "large")]
    await node.desk.set_state("carl", KeyState.REVOKED, "admin")
    await node.desk.create(NewKey("carl"), "admin")
    for call in calls:
        found = await quota.explain(node.plane, node.reports, node.caller("carl"), call)
        assert found == {"summary": f"No call {call} of this key is known."}


async def test_an_allowed_call_is_said_to_be_none(node: Opened) -> None:
    call = (await node.chat(ALICE)).headers["x-comptroller-call"]
    found = await quota.explain(node.plane, node.reports, node.caller("alice"), call)
    assert "not refused" in found["summary"]


async def test_rule_33_a_flood_is_explained_to_the_last_and_is_no_other_sessions_fault(tmp_path) -> None:
    async with opening(tmp_path, limits=[{"name": "once", "each": "session", "requests": 1}]) as node:
        assert (await node.chat(ALICE, session="spent")).status_code == 200
        answers = [await node.chat(ALICE, session="spent") for _ in range(FLOOD_ABOVE + 10)]
        told = [answer.json()["error"]["comptroller"] for answer in answers]
        assert {machine["code"] for machine in told} == {"session_budget_exhausted"}
        for machine in told:
            explained = await quota.explain(node.plane, node.reports, node.caller("alice"), machine["call"])
            assert explained["comptroller"] == machine
            assert "1 spent and 0 held of 1 requests" in explained["summary"]
        others = await quota.explain(node.plane, node.reports, node.caller("bob"), told[-1]["call"])
        assert "comptroller" not in others
        assert len(await node.reports.audit(AuditSearch(kind="denied", limit=1_000))) == FLOOD_ABOVE
        assert (await node.chat(ALICE, session="another")).status_code == 200
