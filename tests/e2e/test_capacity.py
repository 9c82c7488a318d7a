"""A provider's capacity on a real gateway: bounds, waiting, borrowing, leaving, and what its 429s do to it."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.conftest import LANES
from tests.support.clients import Answer, Crowd, ask, crowd, scripted
from tests.support.fixtures import LogRow
from tests.support.gateway import GatewayProcess, eventually

SHARES = {"team:platform": 3, "team:support": 1}


def capacity(**settings: Any) -> dict[str, Any]:
    return {"providers": {"mock": {"shares": SHARES, **settings}}}


def status(gateway: GatewayProcess) -> dict[str, Any]:
    """The provider's capacity as the status tells it."""
    found: dict[str, Any] = gateway.admin("GET", "/api/v1/status").json["capacity"][0]
    return found


def idle(gateway: GatewayProcess) -> bool:
    now = status(gateway)
    return now["in_flight"] == now["waiting"] == 0 and all(s["in_flight"] == s["waiting"] == 0 for s in now["shares"])


def most_at_once(rows: list[LogRow]) -> int:
    """How many requests the upstream worked on at the same time at most."""
    steps = sorted([(row.started_us, 1) for row in rows] + [(row.ended_us or 0, -1) for row in rows])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


async def chat(
    racing: Crowd, text: str, *, key: str = "alice", headers: Mapping[str, str] = {}, **fields: Any
) -> Answer:
    url = f"{racing.gateway.base_url}/chat/completions"
    marks = {**racing.headers(key, None), **headers}
    async with racing.session.post(url, json=ask(text, **fields), headers=marks) as reply:
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read())


async def waiting(gateway: GatewayProcess, count: int) -> None:
    await asyncio.to_thread(eventually, lambda: status(gateway)["waiting"] == count, what=f"{count} in line")


@pytest.mark.parametrize("stream", [False, True])
async def test_no_more_calls_are_in_flight_than_the_provider_takes_and_all_are_served(start, upstream, stream):
    gateway = start(capacity=capacity(concurrent=3))
    upstream.script(model="mock-ok", delay_s=0.05)
    async with crowd(gateway) as racing:
        calls = (chat(racing, f"call {n}", key=key, stream=stream) for n in range(8) for key in ("alice", "bob"))
        answers = await asyncio.gather(*calls)
    assert Counter(answer.status for answer in answers) == {200: 16}
    assert most_at_once(upstream.log()) == 3
    assert any(int(answer.headers.get("x-comptroller-waited-ms", 0)) >= 40 for answer in answers)
    assert len(gateway.settled()) == 16
    eventually(lambda: idle(gateway), what="the last turn given back")
    assert gateway.metric("comptroller_capacity_admitted_total", provider="mock") == 16
    assert gateway.metric("comptroller_capacity_limit", provider="mock", unit="concurrent") == 3
    assert gateway.metric("comptroller_capacity_waited_total") == status(gateway)["waited"] >= 13


async def test_a_call_that_waits_holds_no_budget_and_one_that_no_wait_helps_does_not_wait(start, upstream):
    limits = [
        {"name": "alice", "user": "alice", "requests": 2, "window": "total"},
        {"name": "bob", "user": "bob", "requests": 100, "window": "total"},
    ]
    gateway = start(capacity=capacity(concurrent=1), limits=limits)
    upstream.script(model="mock-ok", delay_s=4)

    def held() -> dict[str, int]:
        return {row["name"]: row["held"] for row in gateway.admin("GET", "/api/v1/limits").json["limits"]}

    async with crowd(gateway) as racing:
        upstream.script(contains="quick", delay_s=0)
        assert (await chat(racing, "quick")).status == (await chat(racing, "quick")).status == 200
        running = asyncio.create_task(chat(racing, "slow", key="bob"))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
        second = asyncio.create_task(chat(racing, "slow too", key="bob"))
        await waiting(gateway, 1)
        assert (await asyncio.to_thread(held))["bob"] == 1
        refused = await chat(racing, "no room")
        assert (refused.status, refused.code) == (402, "budget_exhausted")
        assert not second.done(), "it did not stand in line behind the others to be told"
        assert [answer.status for answer in await asyncio.gather(running, second)] == [200, 200]
    assert held()["bob"] == 0


async def test_rule_29_who_would_have_to_wait_too_long_is_refused_at_once_with_a_true_retry_after(start, upstream):
    gateway = start(capacity=capacity(concurrent=1, wait="1s"))
    upstream.script(model="mock-ok", delay_s=0.6)
    async with crowd(gateway) as racing:
        assert (await chat(racing, "so that it is known how long calls take")).status == 200
        calls = [asyncio.create_task(chat(racing, f"call {n}")) for n in range(6)]
        answers = await asyncio.gather(*calls)
        refused = [answer for answer in answers if answer.status == 429]
        assert 1 <= len(refused) <= 5
        assert {answer.code for answer in refused} == {"concurrency_limited"}
        machine = refused[-1].json["error"]["comptroller"]
        facts = machine["limit"]
        assert (facts["name"], facts["unit"], facts["limit"], facts["remaining"]) == (
            "capacity.mock",
            "concurrent",
            1,
            0,
        )
        assert 0.5 <= machine["retry_after_s"] <= 6
        assert int(refused[-1].headers["retry-after"]) >= 1
        now = await chat(racing, "who does not wait", headers={"x-comptroller-wait": "0"})
        assert now.status == 200, "nothing is in flight any more"
    assert gateway.metric("comptroller_capacity_refused_total") == len(refused)
    assert gateway.journal("denied")[-1]["code"] == "concurrency_limited"
    assert idle(gateway)


@pytest.mark.parametrize("lane", LANES)
async def test_a_client_that_leaves_while_it_waits_gives_up_its_place_at_once(start, upstream, lane):
    gateway = start(server=lane[0], fast_path=lane[1], capacity=capacity(concurrent=1))
    upstream.script(model="mock-ok", delay_s=6)
    async with crowd(gateway) as racing:
        running = asyncio.create_task(chat(racing, "running"))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
        leaving = [asyncio.create_task(chat(racing, f"leaving {n}", stream=n > 1)) for n in range(4)]
        await waiting(gateway, 4)
        for call in leaving:
            call.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await waiting(gateway, 0)
        assert not running.done()
        assert (await running).status == 200
    assert len(upstream.log()) == len(gateway.settled()) == 1
    assert idle(gateway)


async def test_a_turn_is_given_back_however_a_call_ends(start, upstream):
    limits = [{"name": "small", "user": "bob", "output_tokens": 60, "window": "total"}]
    gateway = start(capacity=capacity(concurrent=2), limits=limits)
    upstream.script(model="mock-ok", events=20, pace_s=0.005)
    ends = [{"fault": "rst_mid_stream"}, {"fault": "close_before_headers"}, {"status": 500}, {"status": 400}, {}]
    async with crowd(gateway) as racing:
        for stream in (False, True):
            for end in ends:
                await chat(racing, scripted("x", **end), stream=stream)
        for _ in range(3):
            await racing.chat(ask("leaves early", stream=True), leave_after=2)
            await racing.chat(ask("leaves at once", stream=True), leave_after=0)
        for n in range(3):
            await chat(racing, f"cut by the limit {n}", key="bob", stream=True)
    gateway.quiesce()
    eventually(lambda: idle(gateway), what="every turn given back")


async def test_a_429_that_a_wait_can_cure_is_cured_within_one_hold(start, upstream):
    gateway = start(capacity=capacity(concurrent=8))
    upstream.script(model="mock-ok", preset="mock-429", headers=[["retry-after", "1"]], times=1)
    async with crowd(gateway) as racing:
        began = time.monotonic()
        answer = await chat(racing, "please")
        took_s = time.monotonic() - began
    assert answer.status == 200
    assert took_s >= 1
    assert [row.outcome for row in upstream.log()] == ["complete", "complete"]
    assert len(gateway.rows("SELECT call_id FROM calls")) == 1
    assert gateway.settled()[0]["call_id"] == answer.call_id
    assert gateway.metric("comptroller_capacity_upstream_refusals_total") == 1
    own_s = gateway.metric("comptroller_own_seconds_sum")
    assert own_s < took_s - 0.9, "waiting for the provider is not our own time"
    assert status(gateway)["models"][0]["in_flight_max"] is not None, "it is careful for a while"
    assert gateway.metric("comptroller_capacity_effective", provider="mock", model="mock-ok") < 8


async def test_a_stream_whose_client_leaves_while_a_429_is_waited_out_costs_nothing(start, upstream):
    gateway = start(capacity=capacity(concurrent=8))
    upstream.script(model="mock-ok", preset="mock-429", headers=[["retry-after", "5"]])
    async with crowd(gateway) as racing:
        leaving = asyncio.create_task(chat(racing, "please", stream=True))
        await waiting(gateway, 1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await waiting(gateway, 0)
    gateway.quiesce()
    assert [row["state"] for row in gateway.rows("SELECT state FROM calls")] == ["voided"]
    assert len(upstream.log()) == 1
    assert idle(gateway)


async def test_a_429_that_no_wait_cures_reaches_the_caller_and_spares_the_provider_further_calls(start, upstream):
    gateway = start(capacity=capacity(concurrent=8, wait="2s"))
    upstream.script(model="mock-ok", preset="mock-429", headers=[["retry-after", "30"]])
    async with crowd(gateway) as racing:
        first = await chat(racing, "please")
        second = await chat(racing, "please again")
    assert (first.status, first.headers["retry-after"]) == (429, "30")
    assert first.json["error"]["code"] == "rate_limit_exceeded", "the provider's own words"
    assert (second.status, second.code) == (429, "rate_limited")
    assert 10 <= int(second.headers["retry-after"]) <= 30
    assert len(upstream.log()) == 1
    assert 5 <= gateway.metric("comptroller_capacity_paused_seconds", model="mock-ok") <= 30
    assert idle(gateway)
    told = [row for row in gateway.cli("doctor", "--json", check=False).json if row["what"] == "capacity of mock"]
    assert "0 of 8 in flight" in told[0]["found"]
    assert "paused for" in told[1]["found"]


async def test_what_the_provider_says_is_left_is_not_passed(start, upstream):
    gateway = start(capacity=capacity(wait="5s"))
    left = [["x-ratelimit-limit-requests", "2"], ["x-ratelimit-remaining-requests", "0"]]
    upstream.script(model="mock-ok", headers=[*left, ["x-ratelimit-reset-requests", "2s"]], times=1)
    async with crowd(gateway) as racing:
        await chat(racing, "one")
        began = time.monotonic()
        assert (await chat(racing, "two")).status == 200
        assert time.monotonic() - began >= 0.5, "one of two requests is back after half of the reset"


async def test_a_call_goes_to_the_next_deployment_where_the_first_has_no_place(start, upstream):
    provider = {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"}
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    deployments = [{"provider": "mock", "model": "mock-ok"}, {"provider": "spare", "model": "mock-spare"}]
    gateway = start(
        providers={"mock": provider, "spare": provider},
        models={"small": {"deployments": deployments, "price": price, "max_output_tokens": 4096}},
        capacity=capacity(concurrent=1),
    )
    upstream.script(delay_s=2)
    async with crowd(gateway) as racing:
        answers = await asyncio.gather(*(chat(racing, f"call {n}") for n in range(2)))
    assert most_at_once(upstream.log()) == 2
    assert [answer.status for answer in answers] == [200, 200]
    assert {row.model for row in upstream.log()} == {"mock-ok", "mock-spare"}


async def test_a_reload_lets_in_who_waits(start, upstream):
    gateway = start(capacity=capacity(concurrent=1))
    upstream.script(model="mock-ok", delay_s=4)
    async with crowd(gateway) as racing:
        calls = [asyncio.create_task(chat(racing, f"call {n}")) for n in range(3)]
        await waiting(gateway, 2)
        gateway.write_config({**gateway.config, "capacity": capacity(concurrent=3)})
        await upstream.until(lambda stats: stats["in_flight"] == 3)
        gateway.write_config({name: part for name, part in gateway.config.items() if name != "capacity"})
        assert [answer.status for answer in await asyncio.gather(*calls)] == [200] * 3
        await asyncio.to_thread(gateway.wait_for_log, "reloaded", count=2)
    assert gateway.admin("GET", "/api/v1/status").json["capacity"] == []


async def test_c10_a_tenant_at_ten_times_its_share_is_not_felt_by_a_quiet_one(start, upstream):
    """Judged by the time in line, which other work of the machine does not move; benchmarks/isolation.py measures
    what the client sees, at length and with the tight bound."""
    slots, service_ms = 8, 200
    gateway = start(capacity=capacity(concurrent=slots, wait="30s"))
    upstream.script(model="mock-ok", delay_s=service_ms / 1000)

    def waited_ms(answer: Answer) -> int:
        assert answer.status == 200
        return int(answer.headers.get("x-comptroller-waited-ms", 0))

    async with crowd(gateway) as racing:
        assert (await chat(racing, "the quiet one was here before", key="bob")).status == 200
        noise = [asyncio.create_task(chat(racing, f"noisy {n}")) for n in range(10 * slots)]
        await upstream.until(lambda stats: stats["in_flight"] >= slots - 1)
        quiet = [waited_ms(await chat(racing, f"quiet {n}", key="bob")) for n in range(6)]
        noisy = [waited_ms(answer) for answer in await asyncio.gather(*noise)]
    assert sorted(quiet)[-2] < service_ms / 2, "a place is free for it"
    assert max(noisy) > 5 * service_ms
    assert most_at_once(upstream.log()) <= slots
