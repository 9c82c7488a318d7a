"""kill -9 with hundreds of calls in flight: no hold is left, nothing acknowledged is lost, and the books say so."""

import asyncio
import contextlib
import sqlite3

import aiohttp
import pytest

from tests.support.clients import Answer, ask, crowd, scripted, sdk
from tests.support.gateway import GatewayProcess, eventually

IN_FLIGHT = 300


async def storm(gateway: GatewayProcess, upstream) -> list[Answer]:
    """Calls that are answered, and calls that are in flight when the gateway is killed: plain ones that hang, streams
    that drip. Returns the acknowledged ones."""
    acknowledged: list[Answer] = []

    async def answered(number: int) -> None:
        answer = await storming.chat(ask(f"quick {number}", stream=number % 2 == 0), session=f"s{number % 7}")
        assert answer.status == 200
        acknowledged.append(answer)

    async def cut_off(number: int) -> None:
        slow = {"delay_s": 60} if number % 2 else {"events": 500, "pace_s": 0.2}
        body = ask(scripted(f"slow {number}", **slow), stream=number % 2 == 0, max_tokens=600)
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            await storming.chat(body, session=f"s{number % 7}")

    async with crowd(gateway) as storming:
        await asyncio.gather(*(answered(number) for number in range(60)))
        slow = [asyncio.create_task(cut_off(number)) for number in range(IN_FLIGHT)]
        await upstream.until(lambda stats: stats["in_flight"] == IN_FLIGHT, timeout_s=20)
        # More come and go at the very moment of the kill.
        late = [asyncio.create_task(answered(number)) for number in range(60, 160)]
        done, _ = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        assert done
        gateway.kill()
        await asyncio.gather(*slow, *late, return_exceptions=True)
    return acknowledged


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
async def test_rule_8_kill_minus_9_leaves_no_hold_and_loses_nothing(start, upstream, server):
    limits = [{"name": "org", "org": "org", "tokens": 10_000_000, "window": "total"}]
    gateway = start(server=server, limits=limits)
    acknowledged = await storm(gateway, upstream)
    assert len(acknowledged) >= 61
    sent = len(upstream.log())
    assert gateway.held() >= IN_FLIGHT

    gateway.start()
    assert gateway.held() == 0
    rows = {row["call_id"]: row for row in gateway.rows("SELECT * FROM calls")}
    lost = [answer.call_id for answer in acknowledged if rows.get(answer.call_id, {}).get("state") != "settled"]
    assert lost == []
    orphans = [row for row in rows.values() if row["outcome"] == "orphan"]
    assert len(orphans) >= IN_FLIGHT
    assert {row["estimated"] for row in orphans} == {"orphan"}
    assert all(row["input_tokens"] > 0 and row["usd_micros"] > 0 for row in orphans)
    assert len(rows) >= sent, "a call reached the provider without a row in the books"
    assert len(gateway.journal("settled")) == len({row["subject"] for row in gateway.journal("settled")})

    verified = gateway.cli("audit", "verify", "--json")
    assert verified.code == 0
    with contextlib.closing(sqlite3.connect(f"file:{gateway.books_file}?mode=ro", uri=True)) as books:
        assert books.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with sdk(gateway) as client:
        client.chat.completions.create(**ask("life goes on"))
    gateway.quiesce()
    (counter,) = [row for row in gateway.cli("limits", "list", "--json").json if row["name"] == "org"]
    booked = gateway.rows("SELECT sum(input_tokens + output_tokens) AS n FROM calls WHERE state = 'settled'")[0]["n"]
    assert (counter["spent"], counter["held"]) == (booked, 0)


async def test_killed_again_and_again_the_chain_still_verifies(start, upstream):
    gateway = start()
    for _ in range(3):
        async with crowd(gateway) as storming:
            calls = [asyncio.create_task(storming.chat(ask(f"{n}", stream=n % 2 == 0))) for n in range(80)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            gateway.kill()
            await asyncio.gather(*calls, return_exceptions=True)
        gateway.start()
        assert gateway.held() == 0
    assert gateway.cli("audit", "verify", "--json").code == 0
    seen = gateway.rows("SELECT count(*) AS n FROM calls")[0]["n"]
    assert seen >= len(upstream.log())


def test_a_second_gateway_on_the_same_books_is_refused(start):
    gateway = start()
    ran = gateway.refused_start()
    assert "comptroller.db" in ran.err
    assert gateway.status_of("/readyz") == 200


def test_books_that_are_damaged_are_refused_at_start_and_left_as_they_are(prepare):
    gateway = prepare()
    gateway.books_file.parent.mkdir()
    damaged = b"not a database at all" * 300
    gateway.books_file.write_bytes(damaged)
    gateway.refused_start()
    assert gateway.books_file.read_bytes() == damaged


def test_state_files_are_for_their_owner_only(start):
    gateway = start()
    with sdk(gateway) as client:
        client.chat.completions.create(**ask())
    files = eventually(lambda: list(gateway.books_file.parent.iterdir()))
    assert {file.name for file in files if file.stat().st_mode & 0o077} == set()
