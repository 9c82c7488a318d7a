"""Asking for more, deciding, and what a grant does to the very next call (SEMANTICS.md rules 15, 28, 29)."""

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.denial import Refused
from gateway.management import quota
from gateway.management.approver import Approver, approver_of
from gateway.management.asking import Wish
from gateway.management.own_requests import quota_request
from gateway.management.refused import ManagementRefused, Unknown
from gateway.management.requests import NEW_REQUESTS, RequestDesk
from tests.management.hand_clock import HOUR_US, NOON_US, SECOND_US, by_hand
from tests.management.opening import ALICE, BOB, ENVIRONMENT, POLICY, Opened, opening

ADMIN = approver_of("admin")
CAROL = approver_of("admin:user:carol")
TWO = [{"name": "two", "each": "user", "requests": 2, "window": "day"}]
LEADS = (
    POLICY
    + "p, role:lead, -, -, portal:requests:approve, , allow\ng, user:carol, role:lead\ng, user:alice, role:lead\n"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload reads it."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


async def write_policy(node: Opened, directory: Path, rows: str) -> None:
    (directory / "policies" / "10-test.csv").write_text(rows)
    assert await node.application.keeper.reload() == ()


def desk(node: Opened) -> RequestDesk:
    return node.application.node.requests


async def ask(node: Opened, name: str = "alice", **arguments: Any) -> dict[str, Any]:
    wish = {"limit": "two", "amount": 1, "reason": "one more page to read", **arguments}
    found = await quota_request(desk(node), node.caller(name), {}, {n: v for n, v in wish.items() if v is not None})
    return dict(found["requests"][0])


async def spent(node: Opened, secret: str = ALICE) -> dict[str, Any]:
    """Calls until a limit refuses; its denial."""
    while (reply := await node.chat(secret)).status_code == 200:
        pass
    return dict(reply.json()["error"])


async def rows(node: Opened, path: str = "/api/v1/audit?kind=request&limit=100") -> list[Mapping[str, Any]]:
    return [row["doc"] for row in (await node.admin("GET", path)).json()["rows"]][::-1]


async def test_rule_29_a_denial_says_how_to_ask_and_an_approval_lets_the_next_call_in(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        by_hand(node)
        error = await spent(node)
        assert "quota_request" in error["message"]
        asked = await ask(node, limit=None, call=error["comptroller"]["call"], until="2h")
        assert (asked["state"], asked["limit"], asked["scope"]) == ("pending", "two", "user:alice")
        assert (await node.chat(ALICE)).status_code == 402, "asking alone changes nothing"
        await desk(node).approve(asked["request"], ADMIN, None, None, "")
        assert (await node.chat(ALICE)).status_code == 200
        denied = await spent(node)
        assert denied["comptroller"]["limit"] | {"resets_at": None, "asked": 1} == {
            "name": "two",
            "scope": "user:alice",
            "unit": "requests",
            "limit": 3,
            "granted": 1,
            "spent": 3,
            "held": 0,
            "remaining": 0,
            "asked": 1,
            "resets_at": None,
        }


async def test_a_grant_ends_at_its_microsecond_by_the_clock_alone(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        clock = by_hand(node)
        await desk(node).grant(ADMIN, "two", "user:alice", 5, "1h", "a long day")
        clock.at_us = NOON_US + HOUR_US - 1
        assert [(await node.chat(ALICE)).status_code for _ in range(3)] == [200] * 3
        clock.at_us += 1
        assert (await node.chat(ALICE)).status_code == 402
        (limit,) = [each for each in await limits(node) if each["scope"] == "user:alice"]
        assert (limit["limit"], limit["granted"], limit["spent"], limit["remaining"]) == (2, 0, 3, 0)
        assert (await node.chat(BOB)).status_code == 200
        shown = await desk(node).listed("expired", 10)
        assert [request.limit for request in shown] == ["two"]
        assert [row["action"] for row in await rows(node)] == ["granted", "used", "expired"]


async def limits(node: Opened) -> list[dict[str, Any]]:
    found = await node.admin("GET", "/api/v1/limits?name=two")
    return list(found.json()["limits"])


async def test_a_grant_is_seen_everywhere_at_once(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        await node.chat(ALICE)
        asked = await ask(node, amount=3)
        await desk(node).approve(asked["request"], ADMIN, 2, None, "two will do")
        (listed,) = await limits(node)
        status = await node.application.node.front.governance.status(node.caller("alice"), {}, None)
        (told,) = [limit for limit in status["limits"] if limit["name"] == "two"]
        assert (listed["limit"], listed["granted"]) == (told["limit"], told["granted"]) == (4, 2)
        (mine,) = status["requests"]
        assert (mine["state"], mine["amount"], mine["granted"], mine["note"]) == ("approved", 3, 2, "two will do")
        assert (await quota_request(desk(node), node.caller("bob"), {}, {}))["requests"] == []


async def test_asking_again_shows_the_request_that_is_there(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        first = await ask(node)
        again = await ask(node, amount=7, reason="now even more")
        assert again == first
        await desk(node).reject(first["request"], ADMIN, "not today")
        assert (await ask(node))["state"] == "denied", "the same wish is not asked anew at once"
        other = await ask(node, amount=2)
        assert other["request"] != first["request"]
        assert other["state"] == "pending"
        assert [row["action"] for row in await rows(node)] == ["opened", "rejected", "opened"]


async def test_two_at_once_are_one_request_and_one_decision(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        both = await asyncio.gather(ask(node), ask(node))
        assert both[0] == both[1]
        decide = [desk(node).approve(both[0]["request"], ADMIN, None, None, "") for _ in range(3)]
        done = await asyncio.gather(*decide, return_exceptions=True)
        assert sorted(isinstance(each, ManagementRefused) for each in done) == [False, True, True]
        await node.chat(ALICE)
        (listed,) = await limits(node)
        assert listed["granted"] == 1


async def test_nobody_decides_about_what_they_asked_for_themselves(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        await write_policy(node, tmp_path, LEADS)
        asked = await ask(node)
        for own in (approver_of("admin:user:alice"), approver_of("admin:alice")):
            with pytest.raises(ManagementRefused, match="another person"):
                await desk(node).approve(asked["request"], own, None, None, "")
        with pytest.raises(ManagementRefused, match="own limit"):
            await desk(node).grant(approver_of("admin:user:alice"), "two", "user:alice", 1, None, "for me")
        assert (await desk(node).approve(asked["request"], CAROL, None, None, "")).decided_by == "user:carol"


async def test_who_asks_on_behalf_of_a_key_has_asked_as_well(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        await write_policy(node, tmp_path, LEADS)
        made = await desk(node).ask(node.caller("bob"), {}, Wish(1, "for bob", limit="two"), "admin:user:carol")
        with pytest.raises(ManagementRefused, match="another person"):
            await desk(node).approve(made.id, CAROL, None, None, "")


@pytest.mark.parametrize("person", [CAROL, approver_of("admin:user:bob")])
async def test_a_person_needs_the_right_and_the_administrator_does_not(tmp_path: Path, person: Approver) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        asked = await ask(node)
        for decide in (desk(node).approve(asked["request"], person, None, None, ""), desk(node).withdraw("x", person)):
            with pytest.raises(ManagementRefused, match=r"portal:requests:approve|no request"):
                await decide
        with pytest.raises(ManagementRefused, match="portal:requests:approve"):
            await desk(node).withdraw(asked["request"], person)
        assert (await desk(node).approve(asked["request"], ADMIN, None, None, "")).decided_by == "admin"


async def test_decisions_are_within_what_was_asked(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        by_hand(node)
        asked = await ask(node, amount=3, until="2h")
        for amount, until in ((4, None), (1.5, None), (None, "3h"), (None, "yesterday"), (None, "2020-01-01")):
            with pytest.raises(ManagementRefused):
                await desk(node).approve(asked["request"], ADMIN, amount, until, "")
        approved = await desk(node).approve(asked["request"], ADMIN, 2, "30m", "")
        assert (approved.granted, approved.ends_us - NOON_US) == (2, HOUR_US // 2)


WRONG: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no limit": ({"limit": "nothing"}, "No limit"),
    "another's limit": ({"limit": "bob-only"}, "No limit"),
    "both": ({"call": "call_1"}, "either the limit, or the call"),
    "neither": ({"limit": None}, "either the limit, or the call"),
    "no call": ({"limit": None, "call": "call_1"}, "No call"),
    "half a request": ({"amount": 1.5}, "whole numbers"),
    "too much": ({"amount": 1e18}, "at most"),
    "no reason": ({"reason": "  "}, "Reason"),
    "a long reason": ({"reason": "a" * 501}, "Reason"),
    "no amount": ({"amount": None}, "`amount` is missing"),
    "the past": ({"until": "2020-01-01"}, "Until"),
    "for ever": ({"until": "40d"}, "Until"),
    "no time": ({"until": "soon"}, "span such as 2h"),
    "another's scope": ({"scope": "user:bob"}, "user:alice"),
    "a change": ({"request": "req_1"}, "never changed"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wish_that_makes_no_sense_is_refused_with_why(tmp_path: Path, case: str) -> None:
    arguments, why = WRONG[case]
    bob_only = {"name": "bob-only", "user": "bob", "requests": 1, "window": "day"}
    async with opening(tmp_path, limits=[*TWO, bob_only]) as node:
        with pytest.raises(Refused) as refused:
            await ask(node, **arguments)
        assert why in refused.value.denial.message
        assert await rows(node) == []


async def test_a_key_that_asks_for_more_and_more_is_told_to_wait(tmp_path: Path) -> None:
    many = [{**TWO[0], "name": f"two-{number}"} for number in range(8)]
    async with opening(tmp_path, limits=many) as node:
        clock = by_hand(node)
        for number in range(NEW_REQUESTS.burst):
            await ask(node, limit=f"two-{number}")
        with pytest.raises(Refused) as refused:
            await ask(node, limit="two-7")
        assert (await ask(node, limit="two-0"))["state"] == "pending", "what is there can always be looked at"
        assert (await ask(node, "bob", limit="two-7"))["state"] == "pending"
        clock.at_us += round((refused.value.denial.retry_after_s or 0) * SECOND_US)
        assert (await ask(node, limit="two-7"))["state"] == "pending"


async def test_requests_and_grants_survive_a_restart_and_are_not_applied_twice(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        approved, pending = await ask(node), await ask(node, "bob")
        await desk(node).approve(approved["request"], ADMIN, None, None, "")
    for _ in range(2):
        async with opening(tmp_path, limits=TWO) as node:
            assert (await ask(node, "bob"))["request"] == pending["request"]
            (mine,) = (await quota_request(desk(node), node.caller("alice"), {}, {}))["requests"]
            assert (mine["state"], mine["reason"]) == ("approved", "one more page to read")
            with pytest.raises(ManagementRefused, match="approved"):
                await desk(node).approve(approved["request"], ADMIN, None, None, "")
            await spent(node)
            (limit,) = [each for each in await limits(node) if each["scope"] == "user:alice"]
            assert (limit["limit"], limit["granted"], limit["spent"]) == (3, 1, 3)
            verified = (await node.admin("GET", "/api/v1/audit/verify")).json()
            assert verified["faults"] == []


async def test_rule_28_approving_resumes_what_the_limit_paused_and_nothing_else(tmp_path: Path) -> None:
    paused = [{**TWO[0], "action": "pause"}]
    async with opening(tmp_path, limits=paused) as node:
        error = await spent(node)
        await spent(node, BOB)
        assert (await node.chat(ALICE)).json()["error"]["code"] == "session_paused"
        asked = await ask(node, limit=None, call=error["comptroller"]["call"])
        await desk(node).approve(asked["request"], ADMIN, None, None, "")
        assert (await node.chat(ALICE)).status_code == 200
        assert (await node.chat(BOB)).json()["error"]["code"] == "session_paused"


async def test_rule_33_a_grant_is_a_reason_to_judge_a_flooding_key_anew(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        by_hand(node)
        asked = await ask(node)
        assert [(await node.chat(ALICE)).status_code for _ in range(70)][-1] == 402
        assert node.plane.refusals.flooded(node.caller("alice").key_id, NOON_US) is not None
        await desk(node).approve(asked["request"], ADMIN, None, None, "")
        assert (await node.chat(ALICE)).status_code == 200


async def test_a_session_asks_for_itself(tmp_path: Path) -> None:
    one = [{"name": "run", "each": "session", "requests": 1}]
    async with opening(tmp_path, limits=one) as node:
        await node.chat(ALICE, session="a")
        await node.chat(ALICE, session="b")
        asked = await ask(node, limit="run", session="b")
        assert asked["scope"] == f"session:{await node.session_id('b')}"
        with pytest.raises(Refused, match="No session"):
            await ask(node, "bob", limit="run", session="b")
        await desk(node).approve(asked["request"], ADMIN, None, None, "")
        assert [(await node.chat(ALICE, session=name)).status_code for name in ("a", "b")] == [402, 200]


async def test_a_request_of_another_key_does_not_exist(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        asked = await ask(node)
        for arguments in ({"request": asked["request"]}, {"request": asked["request"], "withdraw": True}):
            with pytest.raises(Refused, match="of this key"):
                await quota_request(desk(node), node.caller("bob"), {}, arguments)


async def test_withdrawing_drops_a_request_and_ends_a_grant(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        asked = await ask(node)
        gone = await quota_request(
            desk(node), node.caller("alice"), {}, {"request": asked["request"], "withdraw": True}
        )
        assert gone["requests"][0]["state"] == "withdrawn"
        given = await desk(node).grant(ADMIN, "two", "user:alice", 5, "1h", "a long day")
        assert [(await node.chat(ALICE)).status_code for _ in range(3)] == [200] * 3
        assert (await desk(node).withdraw(given.id, ADMIN)).state.value == "revoked"
        assert (await node.chat(ALICE)).status_code == 402


async def test_a_request_that_nobody_decided_lapses(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        clock = by_hand(node)
        asked = await ask(node, until="1h")
        clock.at_us += HOUR_US
        with pytest.raises(ManagementRefused, match="lapsed"):
            await desk(node).approve(asked["request"], ADMIN, None, None, "")
        assert [row["action"] for row in await rows(node)] == ["opened", "lapsed"]


@pytest.mark.parametrize(
    ("name", "scope"), [("two", "alice"), ("two", "team:platform"), ("two", "user:"), ("org", "user:alice")]
)
async def test_a_raise_needs_a_scope_that_the_limit_can_have(tmp_path: Path, name: str, scope: str) -> None:
    org = {"name": "org", "org": "org", "requests": 1, "window": "day"}
    async with opening(tmp_path, limits=[*TWO, org]) as node:
        with pytest.raises(ManagementRefused, match=r"scope|counts by"):
            await desk(node).grant(ADMIN, name, scope, 1, None, "why not")
        with pytest.raises(Unknown):
            await desk(node).grant(ADMIN, "nothing", scope, 1, None, "why not")


async def test_rule_12_the_journal_has_pseudonyms_and_no_words_of_anybodys_own(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        asked = await ask(node, reason="Alice wants to see her daughter Zoe")
        await desk(node).approve(asked["request"], ADMIN, None, None, "granted to Zoe's mother")
        await node.application.node.books.totals([])
    raw = b"".join(path.read_bytes() for path in (tmp_path / "var").glob("comptroller.db*"))
    assert raw.count(b"Zoe") > 0, "kept beside the journal"
    async with opening(tmp_path, limits=TWO) as node:
        assert "Zoe" not in str(await rows(node))
        key = await node.application.node.books.erase("user", "Zoe", "admin", node.plane.clock.now_us())
        assert key == 0
        shown = await desk(node).listed(None, 10)
        assert [(request.reason, request.note) for request in shown] == [("", "")]
        assert "user:alice" in shown[0].subjects


async def test_a_stored_request_that_was_tampered_with_is_told(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        given = await desk(node).grant(ADMIN, "two", "user:alice", 5, "1h", "a long day")
        await desk(node).withdraw(given.id, ADMIN)
    with sqlite3.connect(tmp_path / "var" / "comptroller.db") as raw:
        raw.execute(
            "UPDATE quota_requests SET state = 'approved', seq = (SELECT min(seq) FROM journal WHERE kind = 'request')"
        )
    async with opening(tmp_path, limits=TWO) as node:
        faults = (await node.admin("GET", "/api/v1/audit/verify")).json()["faults"]
        assert any("is not what the journal says" in fault["what"] for fault in faults)


async def test_people_are_told_that_somebody_asks_and_what_was_decided(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        asked = await ask(node, reason="a secret reason")
        await desk(node).approve(asked["request"], ADMIN, None, None, "")
        alerts = (await node.admin("GET", "/api/v1/alerts")).json()["alerts"]
    told = {alert["kind"]: alert for alert in alerts if alert["kind"].startswith("request_")}
    assert set(told) == {"request_waiting", "request_decided"}
    assert asked["request"] in told["request_waiting"]["text"]
    assert "secret" not in str(alerts)


async def test_an_estimate_counts_what_was_granted(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        await spent(node)
        wish = {"model": "small", "input_tokens": 1}
        assert not (await quota.estimate(node.plane, node.caller("alice"), {}, wish))["would_allow"]
        await desk(node).grant(ADMIN, "two", "user:alice", 1, "1h", "one more")
        assert (await quota.estimate(node.plane, node.caller("alice"), {}, wish))["would_allow"]


async def test_an_asker_that_stops_waiting_leaves_one_whole_request(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=TWO) as node:
        for turns in range(1, 12):
            asking = asyncio.create_task(ask(node))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await node.plane.background.drain(5.0)
        asked = await ask(node)
        assert asked["state"] == "pending"
        assert [row["action"] for row in await rows(node)] == ["opened"]


async def test_rule_16_the_part_of_a_child_can_be_raised_for_the_child(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=[{"name": "run", "each": "session", "requests": 50}]) as node:
        await node.chat(ALICE)
        own = {"authorization": f"Bearer {ALICE}", "x-comptroller-session": "run"}
        child = (await node.admin("POST", "/api/v1/me/children", {"requests": 1}, **own)).json()
        assert [(await node.chat(ALICE, session=child["token"])).status_code for _ in range(2)] == [200, 402]
        error = (await node.chat(ALICE, session=child["token"])).json()["error"]["comptroller"]
        asked = await ask(node, limit=None, call=error["call"])
        assert (asked["limit"], asked["scope"]) == (error["limit"]["name"], f"session:{child['session']}")
        await desk(node).approve(asked["request"], ADMIN, None, None, "")
        assert [(await node.chat(ALICE, session=child["token"])).status_code for _ in range(2)] == [200, 402]
