"""What limits do at their end, over HTTP: they slow down, they only observe, they keep parts for some, they alert."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.report import AuditSearch
from gateway.management.limits import counters
from gateway.management.reporting import usage
from tests.management.opening import ALICE, BOB, CONFIG, Opened, opening

DAY_US = 86_400_000_000


def limits(*more: Mapping[str, Any]) -> dict[str, Any]:
    return {"limits": [*CONFIG["limits"], *more]}


async def listed(node: Opened, name: str) -> dict[str, Any]:
    (found,) = await counters(node.plane, node.reports, name)
    return found


async def alerts(node: Opened) -> list[dict[str, Any]]:
    found = await node.application.face.control.alerts.listed(None, 100)
    return [each for each in found if each["kind"] == "limit_threshold"]


async def held_rows(node: Opened, **search: Any) -> list[Mapping[str, Any]]:
    return [row.doc for row in await node.reports.audit(AuditSearch(kind="held", **search))]


async def test_rule_28_throttle_books_past_the_limit_slower_and_slower_and_then_says_429(tmp_path: Path) -> None:
    slow = {"name": "slow", "each": "user", "tokens": 200, "window": "day", "action": "throttle"}
    async with opening(tmp_path, **limits(slow)) as node:
        waits, refused = [], None
        for number in range(20):
            started = time.monotonic()
            reply = await node.chat(BOB, text=f"question {number}")
            if reply.status_code != 200:
                refused = reply
                break
            said = "slowed this call down" in reply.headers.get("x-comptroller-warning", "")
            waits.append((time.monotonic() - started, said))
        assert refused is not None
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limited"
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert "slows calls down" in refused.json()["error"]["message"]
        slowed = [wait for wait, said in waits if said]
        assert slowed
        assert slowed[-1] == max(slowed) > 0.2
        assert all(wait < 10 for wait in slowed)
        counter = await listed(node, "slow")
        assert counter["spent"] > 200
        assert (counter["held"], counter["action"], counter["would_deny"]) == (0, "throttle", False)


async def test_a_rate_that_throttles_paces_and_never_passes(tmp_path: Path) -> None:
    slow = {"name": "pace", "each": "user", "requests": 120, "window": "minute", "burst": 1, "action": "throttle"}
    async with opening(tmp_path, **limits(slow)) as node:
        started = time.monotonic()
        for number in range(4):
            assert (await node.chat(BOB, text=f"question {number}")).status_code == 200
        assert time.monotonic() - started > 1.4


async def test_observe_judges_and_records_and_refuses_nothing(tmp_path: Path) -> None:
    tried = {"name": "tried", "each": "user", "requests": 2, "window": "day", "mode": "observe"}
    async with opening(tmp_path, **limits(tried)) as node:
        replies = [await node.chat(BOB, text=f"question {number}") for number in range(4)]
        assert [reply.status_code for reply in replies] == [200] * 4
        said = [reply.headers.get("x-comptroller-warning") for reply in replies]
        assert said == [None, None, "limit:tried would deny", "limit:tried would deny"]
        assert all("limit=tried" not in reply.headers["x-comptroller-remaining"] for reply in replies)
        assert [doc.get("would_deny") for doc in await held_rows(node)] == [["limit:tried"]] * 2 + [None] * 2
        rows = await held_rows(node, would_deny=True)
        assert len(rows) == 2
        call = await node.reports.call(replies[3].headers["x-comptroller-call"])
        assert call.would_deny == ("limit:tried",)
        counter = await listed(node, "tried")
        assert (counter["mode"], counter["would_deny"], counter["spent"], counter["limit"]) == ("observe", True, 4, 2)
        for by in (("user",), ("session",)):
            (row,) = await usage(node.reports, by, None, None)
            assert (row["calls"], row["denied"], row["would_deny"]) == (4, 0, 2)
        metrics = (await node.admin("GET", "/metrics")).text
        assert 'comptroller_would_deny_total{by="limit:tried",kind="chat"} 2.0' in metrics
        assert (await node.reports.verify()).faults == ()
        assert await node.reports.recount() == []
        shown = await node.admin("GET", "/api/v1/audit?would_deny=true")
        assert len(shown.json()["rows"]) == 2


async def test_a_limit_that_observes_judges_by_what_would_have_been_admitted(tmp_path: Path) -> None:
    """Enforced, it would have cut the output down to the room instead of refusing."""
    tried = {"name": "tried", "each": "user", "tokens": 60, "window": "day", "mode": "observe"}
    async with opening(tmp_path, **limits(tried), estimates={"min_useful_output": 5}) as node:
        assert "x-comptroller-warning" not in (await node.chat(BOB)).headers


async def test_deny_rows_of_an_observe_file_are_recorded_for_models_and_tools(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "20-plan.observe.csv").write_text(
        "# tried out\np, user:bob, small, *, model:invoke, session.kind == 'header', deny\n"
    )
    async with opening(tmp_path) as node:
        reply = await node.chat(BOB)
        assert reply.status_code == 200
        assert reply.headers["x-comptroller-warning"] == "policy:policies/20-plan.observe.csv:2 would deny"
        assert "x-comptroller-warning" not in (await node.chat(ALICE)).headers
        (row,) = await held_rows(node, would_deny=True)
        assert row["would_deny"] == ["policy:policies/20-plan.observe.csv:2"]
        assert row["rule"] == "policies/10-test.csv:1"


ROUTED = {"name": "premium", "model": "large", "requests": 2, "window": "day", "action": {"route_to": "small"}}


async def test_rule_28_route_to_goes_on_with_the_other_model_and_the_books_name_both(tmp_path: Path) -> None:
    async with opening(tmp_path, **limits(ROUTED)) as node:
        for number in range(2):
            assert "x-comptroller-warning" not in (await node.chat(ALICE, model="large", text=f"no. {number}")).headers
        reply = await node.chat(ALICE, model="large", text="no. 3")
        assert reply.status_code == 200
        said = reply.headers["x-comptroller-warning"]
        assert said == "limit premium has no room for this call; answered by model small"
        call = await node.reports.call(reply.headers["x-comptroller-call"])
        assert (call.group["model"], call.routed_from) == ("small", "large")
        rows = await usage(node.reports, ("model",), None, None)
        assert {row["model"]: row["calls"] for row in rows} == {"large": 2, "small": 1}
        counter = await listed(node, "premium")
        assert (counter["spent"], counter["held"], counter["action"]) == (2, 0, "route_to")
        assert (await node.reports.verify()).faults == ()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            [{"name": "small-too", "model": "small", "requests": 1, "window": "day"}],
            "no room at the other model either",
        ),
        (
            [{"name": "hop", "model": "small", "requests": 1, "window": "day", "action": {"route_to": "large"}}],
            "no hop back",
        ),
    ],
)
async def test_rule_28_where_the_other_model_does_not_take_the_call_the_first_denial_stands(
    tmp_path: Path, more: list[dict[str, Any]], why: str
) -> None:
    async with opening(tmp_path, **limits(ROUTED, *more)) as node:
        assert (await node.chat(ALICE, model="small", text="first")).status_code == 200
        for number in range(2):
            await node.chat(ALICE, model="large", text=f"no. {number}")
        reply = await node.chat(ALICE, model="large", text="no. 3")
        assert reply.status_code == 402, why
        assert reply.json()["error"]["comptroller"]["limit"]["name"] == "premium"
        for name in ("premium", "session-tokens", "user-day"):
            assert (await listed(node, name))["held"] == 0


async def test_rule_28_a_model_that_the_policy_denies_is_no_way_out(tmp_path: Path) -> None:
    routed = {"name": "cheap", "user": "bob", "model": "small", "requests": 1, "window": "day"}
    async with opening(tmp_path, **limits({**routed, "action": {"route_to": "large"}})) as node:
        assert (await node.chat(BOB, text="one")).status_code == 200
        reply = await node.chat(BOB, text="two")
        assert reply.status_code == 402
        assert reply.json()["error"]["comptroller"]["limit"]["name"] == "cheap"
        (row,) = await usage(node.reports, ("user",), None, None)
        assert (row["calls"], row["denied"]) == (1, 1)


async def test_a_part_that_is_reserved_is_there_for_its_owner_after_others_were_refused(tmp_path: Path) -> None:
    pool = {"name": "pool", "org": "org", "usd": 0.001, "window": "total", "reserved": {"agent:reviewer": "40%"}}
    async with opening(tmp_path, **limits(pool), estimates={"min_useful_output": 5}) as node:
        denied = None
        for number in range(60):
            denied = await node.chat(BOB, text=f"question {number} " * 8)
            if denied.status_code != 200:
                break
        assert denied is not None
        assert denied.status_code == 402
        limit = denied.json()["error"]["comptroller"]["limit"]
        assert limit["limit"] == pytest.approx(0.0006)
        assert limit["reserved"] == pytest.approx(0.0004)
        assert limit["remaining"] == pytest.approx(limit["limit"] - limit["spent"] - limit["held"], abs=1e-9)
        assert limit["asked"] > limit["remaining"]
        assert "reserved for others" in denied.json()["error"]["message"]
        counter = await listed(node, "pool")
        assert counter["spent"] <= 0.0006
        assert counter["reserved"]["agent:reviewer"] == {"limit": 0.0004, "spent": 0, "kept": 0.0004}
        assert (await node.chat(ALICE, text="question")).status_code == 200
        assert (await listed(node, "pool"))["reserved"]["agent:reviewer"]["spent"] > 0
        assert (await node.chat(BOB, text="question " * 8)).status_code == 402
    async with opening(tmp_path, **limits(pool), estimates={"min_useful_output": 5}) as node:
        assert (await node.chat(BOB, text="question " * 8)).status_code == 402
        assert (await node.chat(ALICE, text="question")).status_code == 200


async def test_rule_28_alerts_go_out_once_a_mark_and_window_also_over_a_restart(tmp_path: Path) -> None:
    marked = {"name": "marked", "each": "user", "requests": 4, "window": "month", "alert_at": [50, 75, 100]}
    async with opening(tmp_path, **limits(marked)) as node:
        warnings = [(await node.chat(BOB)).headers.get("x-comptroller-warning") for _ in range(2)]
        assert warnings == [None, None]
        (alert,) = await alerts(node)
        assert alert["subject"] == "limit:marked"
        assert "is 50 % used" in alert["text"]
        assert "user:bob" in alert["text"]
    for told in (["75"], ["100"]):
        async with opening(tmp_path, **limits(marked)) as node:
            before = {each["id"] for each in await alerts(node)}
            reply = await node.chat(BOB)
            assert "limit marked is" in reply.headers["x-comptroller-warning"]
            new = [each for each in await alerts(node) if each["id"] not in before]
            assert [each["text"].partition("is ")[2].partition(" ")[0] for each in new] == told
            await node.chat(ALICE)
    async with opening(tmp_path, **limits(marked)) as node:
        assert len(await alerts(node)) == 4
        assert (await node.chat(BOB)).status_code == 402
        await node.chat(ALICE)
        assert [each["text"].partition(" is")[0] for each in await alerts(node)].count(
            "Limit 'marked' for user:alice"
        ) == 2
