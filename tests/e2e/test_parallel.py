"""Two hundred calls at once against a limit with room for exactly twenty: never one more or less, on all lanes."""

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.e2e.conftest import LANES
from tests.support.clients import Answer, Crowd, ask, async_sdk, crowd
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import GatewayProcess

RACERS, ROOM = 200, 20
PROMPT = "x" * 200

# What one call holds and costs, to the token. What PROMPT holds is learned first, the upstream then reports just
# that: nothing is given back at settlement (but a micro-USD by which a bound on money is rounded up), so there is room
# for twenty and no more.
OUTPUT = 50


async def held_by_one(gateway: GatewayProcess, racing: Crowd, **fields: Any) -> dict[str, int]:
    """The amounts that a call of this size holds."""
    await racing.chat(ask(PROMPT, max_tokens=OUTPUT, **fields), key="bob", session="probe")
    gateway.quiesce()
    held: dict[str, int] = gateway.journal("held")[-1]["held"]
    return held


async def race(racing: Crowd, **fields: Any) -> list[Answer]:
    calls = (racing.chat(ask(PROMPT, max_tokens=OUTPUT, **fields)) for _ in range(RACERS))
    return list(await asyncio.gather(*calls))


def counters(gateway: GatewayProcess) -> dict[str, dict[str, Any]]:
    """The live counters of the limits, by name, as the command shows them."""
    rows = gateway.cli("limits", "list", "--json").json
    return {row["name"]: row for row in rows}


def limited(unit: str, amount: float) -> list[dict[str, Any]]:
    return [{"name": "room", "user": "alice", unit: amount, "window": "total"}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("lane", LANES)
async def test_twenty_of_two_hundred_pass_a_limit_on_requests(start, upstream, lane, stream):
    gateway = start(server=lane[0], fast_path=lane[1], limits=limited("requests", ROOM))
    upstream.script(model="mock-ok", delay_s=0.05)
    async with crowd(gateway) as racing:
        answers = await race(racing, stream=stream)
    assert Counter(answer.status for answer in answers) == {200: ROOM, 402: RACERS - ROOM}
    assert {answer.code for answer in answers if answer.status != 200} == {"budget_exhausted"}
    settled = gateway.settled()
    assert len(settled) == len(upstream.log()) == ROOM
    assert {row["call_id"] for row in settled} == {a.call_id for a in answers if a.status == 200}
    counter = counters(gateway)["room"]
    assert (counter["spent"], counter["held"], counter["remaining"]) == (ROOM, 0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("unit", ["tokens", "input_tokens", "output_tokens", "usd"])
async def test_twenty_of_two_hundred_pass_a_limit_on_what_calls_cost(start, upstream, unit, stream):
    gateway = start()
    async with crowd(gateway) as racing:
        held = await held_by_one(gateway, racing, stream=stream)
        prompt = held["input_tokens"]
        one = {"tokens": prompt + OUTPUT, "usd": held["usd_micros"] / 1e6, **held}[unit]
        gateway.write_config({**gateway.config, "limits": limited(unit, round(ROOM * one, 6))})
        gateway.wait_for_log("reloaded")
        upstream.reset()
        upstream.script(model="mock-ok", delay_s=0.05, usage={"prompt_tokens": prompt, "completion_tokens": OUTPUT})
        answers = await race(racing, stream=stream)
    assert Counter(answer.status for answer in answers) == {200: ROOM, 402: RACERS - ROOM}
    assert len(upstream.log()) == ROOM
    rows = [row for row in gateway.settled() if row["call_id"] in {a.call_id for a in answers}]
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [(prompt, OUTPUT)] * ROOM
    assert {row["estimated"] for row in rows} == {None}
    counter = counters(gateway)["room"]
    booked = {"tokens": prompt + OUTPUT, "usd": (prompt + 2 * OUTPUT) / 1e6, **held}[unit]
    assert (counter["spent"], counter["held"]) == (pytest.approx(ROOM * booked, abs=1e-9), 0)
    assert counter["spent"] <= counter["limit"]


async def test_twenty_of_two_hundred_sdks_with_retries_pass(start, upstream):
    gateway = start(limits=limited("requests", ROOM))

    async def call() -> int:
        try:
            await client.chat.completions.create(**ask())
        except Exception as error:  # noqa: BLE001 - the status is looked at
            return int(getattr(error, "status_code", 0))
        return 200

    async with async_sdk(gateway) as client:
        statuses = Counter(await asyncio.gather(*(call() for _ in range(60))))
    assert statuses == {200: ROOM, 402: 40}
    assert gateway.calls_seen() == 60, "nobody tried again"
    assert len(upstream.log()) == ROOM


@pytest.mark.parametrize("lane", LANES)
async def test_rule_10_clients_that_hang_up_at_a_random_moment_pay_for_what_was_streamed(start, upstream, lane):
    gateway = start(server=lane[0], fast_path=lane[1], limits=limited("requests", ROOM))
    # Far longer than the last of them stays, or a slow machine has read it all before they leave.
    upstream.script(model="mock-ok", events=1_000, pace_s=0.01)
    luck = random.Random(7)
    async with crowd(gateway) as racing:
        calls = (
            racing.chat(ask(PROMPT, stream=True, max_tokens=1_000), leave_after=luck.randrange(0, 55))
            for _ in range(RACERS)
        )
        answers = [answer for answer in await asyncio.gather(*calls) if answer.status == 200]
    assert len(answers) == ROOM
    rows = {row["call_id"]: row for row in gateway.settled()}
    await upstream.until(lambda stats: stats["in_flight"] == 0)
    produced = {row.json["messages"][0]["content"]: row for row in upstream.log()}
    assert len(rows) == ROOM
    assert len(produced) >= 1
    most = max(row.events for row in upstream.log())
    for answer in answers:
        row = rows[answer.call_id]
        words = len(answer.text.split())
        assert (row["outcome"], row["estimated"]) == ("cut_by_client", "cut_by_client")
        assert words <= row["output_tokens"] <= 4 * most
        assert row["input_tokens"] > 0
        assert row["usd_micros"] == row["input_tokens"] + 2 * row["output_tokens"]
    streamed = sum(row.events for row in upstream.log())
    booked = sum(row["output_tokens"] for row in rows.values())
    assert 0.8 * streamed <= booked <= 4 * streamed
    assert all(row.outcome == "client_gone" for row in upstream.log()), "the provider was told to stop"
    counter = counters(gateway)["room"]
    assert (counter["spent"], counter["held"]) == (ROOM, 0)


async def test_rule_10_a_plain_call_whose_client_left_is_booked_with_its_real_usage(start, upstream):
    gateway = start()
    upstream.script(model="mock-ok", delay_s=0.3)
    async with crowd(gateway) as racing:
        calls = [asyncio.create_task(racing.chat(ask(f"call {n}"))) for n in range(20)]
        await upstream.until(lambda stats: stats["in_flight"] == 20)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    rows = gateway.settled()
    assert [(row["outcome"], row["output_tokens"], row["estimated"]) for row in rows] == [("ok", 5, None)] * 20
    assert {row.outcome for row in upstream.log()} == {"complete"}


@pytest.mark.parametrize("stream", [False, True])
async def test_many_limits_bind_at_once_and_all_counters_equal_the_ledger(start, upstream, stream):
    limits = [
        {"name": "org", "org": "org", "tokens": 1_000_000, "window": "month"},
        {"name": "team", "each": "team", "usd": 1, "window": "day"},
        {"name": "user", "each": "user", "requests": 90, "window": "hour", "burst": 90},
        {"name": "agent", "each": "agent", "output_tokens": 100_000, "window": "5h"},
        {"name": "session", "each": "session", "tokens": 20_000},
        {"name": "key", "each": "key", "input_tokens": 500_000, "window": "week"},
    ]
    gateway = start(limits=limits)
    upstream.script(model="mock-ok", delay_s=0.02)
    async with crowd(gateway) as racing:
        calls = (
            racing.chat(ask(f"{n}", stream=stream, max_tokens=30), key=key, session=f"s{n % 5}")
            for n in range(100)
            for key in ("alice", "bob")
        )
        answers = list(await asyncio.gather(*calls))
    passed = [answer for answer in answers if answer.status == 200]
    rows = gateway.settled()
    assert len(rows) == len(passed) == len(upstream.log()) == 180
    tokens = sum(row["input_tokens"] + row["output_tokens"] for row in rows)
    money = sum(row["usd_micros"] for row in rows)
    found = gateway.cli("limits", "list", "--json").json
    by_name = {name: [row for row in found if row["name"] == name] for name in ("org", "team", "session", "key")}
    assert [row["spent"] for row in by_name["org"]] == [tokens]
    assert round(sum(row["spent"] for row in by_name["team"]) * 1e6) == money
    assert sum(row["spent"] for row in by_name["session"]) == tokens
    assert sum(row["spent"] for row in by_name["key"]) == sum(row["input_tokens"] for row in rows)
    assert all(row["held"] == 0 for row in found)
    assert json.dumps(found)


def test_counters_are_the_same_after_a_restart(start, upstream: UpstreamProcess):
    gateway = start(limits=limited("requests", 5))

    async def burst() -> list[Answer]:
        async with crowd(gateway) as racing:
            return list(await asyncio.gather(*(racing.chat(ask(str(n))) for n in range(8))))

    assert Counter(answer.status for answer in asyncio.run(burst())) == {200: 5, 402: 3}
    gateway.restart()
    assert Counter(answer.status for answer in asyncio.run(burst())) == {402: 8}
    assert len(upstream.log()) == 5
