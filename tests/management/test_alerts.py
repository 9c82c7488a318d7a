"""What gives rise to alerts, over real books: denials, loops, sessions, unusual spending; and what an operator sees."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.anomaly import HOUR_US, AnomalyRules
from gateway.core.ledger import Amounts
from gateway.management.spend_watch import SpendWatch
from tests.management.opening import ALICE, BOB, Opened, opening
from tests.storage.entries import ALICE as BURST
from tests.storage.entries import placed, settled


async def alerts_of(node: Opened, kind: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await node.admin("GET", "/api/v1/alerts")).json()["alerts"]
    return [alert for alert in found if kind in (None, alert["kind"])]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Opened]:
    limits = [
        {"name": "once", "each": "session", "user": "bob", "requests": 1},
        {"name": "pausing", "each": "session", "user": "alice", "requests": 3, "action": "pause"},
    ]
    async with opening(tmp_path, limits=limits, loops={"identical_requests": 3, "action": "stop"}) as opened:
        yield opened


async def test_a_call_that_is_let_in_raises_none(node: Opened) -> None:
    assert (await node.chat(ALICE)).status_code == 200
    assert await alerts_of(node) == []


async def test_denials_are_summed_by_code_and_subject(node: Opened) -> None:
    for _ in range(6):
        await node.chat(BOB, text="hi")
    for _ in range(2):
        await node.chat(BOB, model="large")
    node.application.node.alerting.desk.flush(node.plane.clock.now_us())
    counts = {(each["facts"]["code"], each["count"]) for each in await alerts_of(node, "denials")}
    assert counts == {("session_budget_exhausted", 1), ("session_budget_exhausted", 4), ("model_denied", 1)}
    assert {each["subject"] for each in await alerts_of(node)} == {"user:bob"}
    assert all(each["deliveries"] == [] for each in await alerts_of(node))


async def test_a_limit_that_pauses_and_a_person_who_stops_are_told(node: Opened) -> None:
    for number in range(4):
        await node.chat(ALICE, text=f"hello {number}")
    (paused,) = await alerts_of(node, "session_paused")
    session = await node.session_id("run")
    assert paused["facts"] == {"session": session, "state": "paused", "by": "limit pausing"}
    assert paused["severity"] == "warning"
    await node.admin("POST", f"/api/v1/sessions/{session}", {"action": "stop"})
    (stopped,) = await alerts_of(node, "session_stopped")
    assert (stopped["severity"], stopped["facts"]["by"]) == ("info", "admin")


async def test_a_loop_is_told_with_what_became_of_the_session(node: Opened) -> None:
    for _ in range(3):
        await node.chat(ALICE, text="again")
    (told,) = await alerts_of(node, "loop")
    assert told["facts"]["state"] == "stopped"
    assert told["subject"] == f"session:{await node.session_id('run')}"
    assert "agent:reviewer" in told["text"]


async def test_a_test_without_any_way_out_is_kept_and_says_so(node: Opened) -> None:
    told = (await node.admin("POST", "/api/v1/alerts")).json()
    assert (told["kind"], told["deliveries"]) == ("test", [])
    assert (await node.admin("POST", "/api/v1/alerts")).json()["id"] != told["id"]


async def test_unusual_spending_is_told_once_an_hour(node: Opened) -> None:
    """Twelve hours at a dollar, then one at nine; another agent that always spends nine is left in peace."""
    books, now_us = node.application.node.books, 1_700_000_000_000_000
    burst, always = BURST, replace(BURST, agent="steady", team="support")
    for hour in range(13):
        for name, attribution in (("burst", burst), ("always", always)):
            usd_micros = 9_000_000 if name == "always" or hour == 12 else 1_000_000
            at_us = now_us - (12 - hour) * HOUR_US
            hold = placed(f"call_{name}_{hour}", attribution, at_us=at_us)
            await books.commit(hold, settled(hold, posted=Amounts(usd_micros=usd_micros, requests=1)))
    watch = SpendWatch(node.plane.alerts, books.reports)
    for _ in range(3):
        await watch.look(AnomalyRules(), now_us)
    told = await alerts_of(node, "spend_anomaly")
    assert {each["subject"] for each in told} == {"agent:reviewer", "team:platform"}
    assert {each["count"] for each in told} == {1}
    assert {each["facts"]["spent_usd_micros"] for each in told} == {9_000_000}
    await watch.look(AnomalyRules(), now_us + HOUR_US)
    assert len(await alerts_of(node, "spend_anomaly")) == 2
