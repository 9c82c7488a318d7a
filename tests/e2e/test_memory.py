"""A long run, compressed: thousands of sessions come and go, and the process does not grow with them."""

import asyncio
import statistics
from collections.abc import Iterator

import psutil
import pytest

from gateway.limiter.memory import BINDINGS_KEPT
from tests.support.clients import Crowd, ask, crowd
from tests.support.gateway import GatewayProcess

WARM_UP = BINDINGS_KEPT + 500
"""Sessions after which the caches of a fixed size are full: what they take is not growth."""
SESSIONS = 2_000
AT_ONCE = 40
MEASURED_EVERY = 100
GROWTH_MAX = 0.02
RESIDENT_MAX_MB = 200


async def sessions(clients: Crowd, first: int, count: int, turns: int) -> None:
    """Agent runs under ids that never come back; every other turn is a stream."""
    numbers = iter(range(first, first + count))

    async def worker(mine: Iterator[int]) -> None:
        for number in mine:
            for turn in range(turns):
                body = ask(f"session {number} turn {turn}", stream=turn % 2 == 1)
                assert (await clients.chat(body, session=f"run-{number}")).status == 200

    await asyncio.gather(*(worker(numbers) for _ in range(AT_ONCE)))


async def run(gateway: GatewayProcess) -> list[float]:
    """Resident megabytes, measured as sessions come and go."""
    process = psutil.Process(gateway.pid)
    measured = []
    async with crowd(gateway) as clients:
        await sessions(clients, 0, WARM_UP, turns=1)
        for first in range(WARM_UP, WARM_UP + SESSIONS, MEASURED_EVERY):
            await sessions(clients, first, MEASURED_EVERY, turns=2)
            measured.append(process.memory_info().rss / 1e6)
    return measured


@pytest.mark.timeout(180)
def test_memory_is_flat_over_thousands_of_sessions(start):
    limits = [
        {"name": "session", "each": "session", "tokens": 100_000},
        {"name": "user", "each": "user", "usd": 100, "window": "day"},
    ]
    gateway = start(limits=limits, sessions={"max_new_per_hour": 100_000, "idle_timeout": "1s"})
    measured = asyncio.run(run(gateway))
    gateway.quiesce()
    assert gateway.rows("SELECT count(*) AS n FROM sessions") == [{"n": WARM_UP + SESSIONS}]
    half = len(measured) // 2
    grown = statistics.median(measured[-3:]) / statistics.median(measured[half : half + 3]) - 1
    print(f"resident: {measured[0]:.0f} MB, {measured[-1]:.0f} MB at the end, {grown:+.1%} in the second half")
    assert grown < GROWTH_MAX, measured
    assert measured[-1] < RESIDENT_MAX_MB
