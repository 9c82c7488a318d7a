"""C4: `kill -9` with calls and streams in flight. How long until nothing is held, and is all spending booked?"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site, keys, model
from benchmarks.correctness.words import name_in, spoken
from tests.support.clients import Answer, Crowd, ask, crowd
from tests.support.gateway import GatewayProcess

PACE_S = 0.05
HANG_S = 60.0
WORDS = 2_000
SESSIONS = 8
NOTHING_HELD_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Killed:
    """What was known when the gateway died: calls that were answered, and how many had none yet."""

    answered: list[Answer]
    in_flight: int


async def run(site: Site) -> Report:
    count = site.size(1_000, 40)
    limit = {"name": "room", "user": "u0", "tokens": 500_000_000, "window": "total"}
    gateway = site.gateway(keys=keys(1), models={"words": model()}, limits=[limit])
    killed = await _storm(site, gateway, count)
    sent = {name_in(row.json["messages"][0]["content"]): row for row in site.upstream.log()}
    held_before = gateway.held()
    began_s = time.monotonic()
    gateway.start()
    seconds = time.monotonic() - began_s
    rows = {row["call_id"]: row for row in gateway.rows("SELECT * FROM calls")}
    held = {doc["subject"]: doc for doc in gateway.journal("held")}
    orphans = [row for row in rows.values() if row["outcome"] == "orphan"]
    broken = differing("calls still held", gateway.held(), 0)
    broken += [] if held_before >= count else [f"only {held_before} of {count} calls were in flight"]
    broken += [] if len(rows) >= len(sent) else [f"{len(sent) - len(rows)} calls reached the provider unrecorded"]
    lost = [a.call_id for a in killed.answered if rows.get(a.call_id, {}).get("state") != "settled"]
    broken += differing("answered calls that were lost", lost, [])
    for row in orphans:
        hold = held[row["call_id"]]["held"]
        if not 0 < row["input_tokens"] + row["output_tokens"] <= hold["input_tokens"] + hold["output_tokens"]:
            broken.append(f"orphan {row['call_id']} is not within its hold")
    settlements = [doc["subject"] for doc in gateway.journal("settled")]
    broken += differing("calls that ended twice", len(settlements) - len(set(settlements)), 0)
    broken += differing("the audit chain", gateway.cli("audit", "verify", "--json", check=False).code, 0)
    broken += await _goes_on(gateway)
    if seconds > NOTHING_HELD_WITHIN_S and not site.small:
        broken.append(f"it took {seconds:.1f} s until nothing was held")
    figure = (
        f"kill -9 with {held_before} calls in flight: nothing held {seconds:.1f} s after the start began, "
        f"{len(orphans)} settled as orphans, {len(lost)} of {len(killed.answered)} answered calls lost"
    )
    return Report(figure, tuple(broken), {"seconds": seconds, "held": held_before, "orphans": len(orphans)})


async def _storm(site: Site, gateway: GatewayProcess, count: int) -> Killed:
    """Half of the calls stream, half hang; they are all under way when the gateway is killed."""
    async with crowd(gateway) as clients:
        answered = [await _short(clients, n) for n in range(10)]
        calls = [asyncio.create_task(_long(clients, n)) for n in range(count)]
        await site.upstream.until(lambda stats: stats["in_flight"] == count, timeout_s=60)
        gateway.kill()
        await asyncio.gather(*calls, return_exceptions=True)
    return Killed(answered, count)


async def _short(clients: Crowd, number: int) -> Answer:
    body = ask(spoken(f"short-{number}", 20), model="words", stream=number % 2 == 0, max_tokens=40)
    return await clients.chat(body, key="k0", session=f"s{number % SESSIONS}")


async def _long(clients: Crowd, number: int) -> None:
    script: dict[str, Any] = {"delay_s": HANG_S} if number % 2 else {"pace_s": PACE_S}
    body = ask(spoken(f"long-{number}", WORDS, **script), model="words", stream=number % 2 == 0, max_tokens=WORDS)
    with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
        await clients.chat(body, key="k0", session=f"s{number % SESSIONS}")


async def _goes_on(gateway: GatewayProcess) -> list[str]:
    """The next call passes, and the counter is the sum of the ledger."""
    async with crowd(gateway) as clients:
        answer = await _short(clients, 0)
    gateway.quiesce()
    total = gateway.rows("SELECT sum(input_tokens + output_tokens) AS n FROM calls WHERE state = 'settled'")[0]["n"]
    rows = gateway.admin("GET", "/api/v1/limits").json["limits"]
    counter = [(row["spent"], row["held"]) for row in rows if row["name"] == "room"]
    return differing("the next call", answer.status, 200) + differing("(spent, held)", counter, [(total, 0)])
