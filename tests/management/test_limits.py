"""Counters and limits as people see them: always what the ledger says."""

import pytest

from gateway.core.ledger import Amounts
from gateway.management.keys import NewKey
from gateway.management.limits import counters, show_limit
from gateway.management.refused import Unknown
from tests.management.opening import ALICE, BOB, Opened, opening

CONTRACT = {"name", "scope", "unit", "limit", "spent", "held", "remaining", "window", "resets_at"}


async def listed(node: Opened, name: str | None = None) -> list[dict]:
    return await counters(node.plane, node.reports, name)


async def test_counters_have_the_fields_of_the_contract_and_add_up(node: Opened) -> None:
    await node.chat(ALICE)
    found = await listed(node)
    assert {"session-tokens", "user-day", "sessions.max_new_per_hour"} <= {counter["name"] for counter in found}
    for counter in found:
        assert set(counter) == CONTRACT | {"granted", "action", "mode", "would_deny", "reserved"}
        assert counter["remaining"] == pytest.approx(counter["limit"] - counter["spent"] - counter["held"], abs=1e-9)


async def test_money_is_in_dollars_and_equals_the_ledger(node: Opened) -> None:
    await node.chat(BOB)
    (counter,) = await listed(node, "user-day")
    (row,) = await node.reports.usage(("user",), None, None)
    assert (counter["scope"], counter["unit"], counter["limit"]) == ("user:bob", "usd", 2)
    assert round(counter["spent"] * 1_000_000) == row.cost_usd_micros > 0
    assert counter["resets_at"].endswith("T00:00:00Z")


async def test_rule_11_counters_are_there_again_after_a_restart(tmp_path) -> None:
    async with opening(tmp_path) as node:
        for secret in (ALICE, ALICE, BOB):
            await node.chat(secret)
        before = [c for c in await listed(node) if c["name"] in ("session-tokens", "user-day")]
        assert all(counter["spent"] > 0 for counter in before)
    async with opening(tmp_path) as node:
        after = [c for c in await listed(node) if c["name"] in ("session-tokens", "user-day")]
    assert after == before


async def test_looking_holds_nothing_and_counts_nothing(node: Opened) -> None:
    await node.chat(ALICE)
    first = await listed(node)
    assert await listed(node) == first
    (row,) = await node.reports.sessions(key_id=None, state=None, limit=10)
    assert row.posted != Amounts()
    assert row.calls == 1


async def test_a_limit_is_shown_with_its_rule(node: Opened) -> None:
    await node.chat(BOB)
    found = await show_limit(node.plane, node.reports, node.application.face.control.key_limits(), "user-day")
    assert found["rule"] == {
        "name": "user-day",
        "unit": "usd",
        "limit": 5,
        "window": "day",
        "each": "user",
        "where": {},
        "action": "block",
        "mode": "enforce",
        "overrides": {"user:bob": 2},
        "route_to": None,
        "reserved": {},
        "alert_at": [],
        "key": None,
    }
    assert [counter["scope"] for counter in found["limits"]] == ["user:bob"]


async def test_the_limit_of_a_key_is_shown_too(node: Opened) -> None:
    await node.desk.create(NewKey("carl", limits=("usd=1/day",)), "admin")
    key_limits = node.application.face.control.key_limits()
    found = await show_limit(node.plane, node.reports, key_limits, "key-carl-usd-day")
    assert (found["rule"]["key"], found["rule"]["limit"], found["limits"]) == ("carl", 1, [])


async def test_an_unknown_limit_is_said_to_be_unknown(node: Opened) -> None:
    with pytest.raises(Unknown):
        await show_limit(node.plane, node.reports, {}, "nothing")
