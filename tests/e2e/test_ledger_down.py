"""Books that cannot be written: 503 `ledger_unavailable`, nothing reaches the provider, and it recovers by itself."""

import asyncio
import contextlib
import resource
import sqlite3
import sys
from collections.abc import Iterator

import pytest

from tests.support.clients import Answer, Counted, Crowd, ask, crowd, scripted, sdk
from tests.support.gateway import GatewayProcess, eventually


@contextlib.contextmanager
def full_disk(gateway: GatewayProcess) -> Iterator[None]:
    """No file can grow beyond a few bytes any more, which is what a full disk or an exceeded quota does."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)


@contextlib.contextmanager
def locked(gateway: GatewayProcess) -> Iterator[None]:
    """Another process writes, and does not end."""
    with contextlib.closing(sqlite3.connect(gateway.books_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


FAULTS = {"disk full": full_disk, "locked": locked}
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit is a call of Linux")


def works(gateway: GatewayProcess) -> bool:
    with Counted(gateway, "alice", max_retries=0) as counted, contextlib.suppress(Exception):
        return bool(counted.chat(**ask("are you back?")))
    return False


async def burst(racing: Crowd, count: int, **fields: object) -> list[Answer]:
    return list(await asyncio.gather(*(racing.chat(ask(f"call {n}", **fields)) for n in range(count))))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_rule_9_nothing_is_sent_that_is_not_written_down_first(start, upstream, fault, stream):
    gateway = start(limits=[{"name": "org", "org": "org", "requests": 1000, "window": "total"}])
    async with crowd(gateway) as racing:
        assert {answer.status for answer in await burst(racing, 5)} == {200}
        gateway.quiesce()
        with FAULTS[fault](gateway):
            answers = await burst(racing, 20, stream=stream)
            assert {(answer.status, answer.code) for answer in answers} == {(503, "ledger_unavailable")}
            assert all(float(answer.headers.get("retry-after", 0)) >= 1 for answer in answers), answers[0]
            assert all("x-should-retry" not in answer.headers for answer in answers)
            assert len(upstream.log()) == 5
            assert gateway.status_of("/healthz") == 200
            assert gateway.running
        eventually(lambda: works(gateway), what="recovery")
    assert gateway.status_of("/readyz") == 200
    gateway.quiesce()
    (counter,) = [row for row in gateway.cli("limits", "list", "--json").json if row["name"] == "org"]
    assert (counter["spent"], counter["held"]) == (len(gateway.settled()), 0)
    assert counter["spent"] == len(upstream.log())
    assert gateway.cli("audit", "verify", "--json").code == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_rule_9_a_reply_whose_settlement_cannot_be_written_is_delivered_and_booked_later(start, upstream, fault):
    gateway = start()
    async with crowd(gateway) as racing:
        stream = asyncio.create_task(racing.chat(ask(scripted("s", events=20, pace_s=0.02), stream=True)))
        plain = asyncio.create_task(racing.chat(ask(scripted("p", delay_s=0.4))))
        await upstream.until(lambda stats: stats["in_flight"] == 2)
        with FAULTS[fault](gateway):
            answers = await asyncio.gather(stream, plain)
            assert [answer.status for answer in answers] == [200, 200]
            assert answers[0].events[-1] == "[DONE]"
            eventually(lambda: gateway.status_of("/readyz") == 503, what="readiness 503")
            assert gateway.metric("comptroller_ledger_behind") in (0, 1)
            refused = await racing.chat(ask("one more"))
            assert (refused.status, refused.code) == (503, "ledger_unavailable")
            assert len(upstream.log()) == 2
        eventually(lambda: gateway.status_of("/readyz") == 200, what="readiness")
    rows = {row["call_id"]: row for row in gateway.settled()}
    assert [rows[answer.call_id]["output_tokens"] for answer in answers] == [20, 5]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sdk_gets_over_a_short_outage(start, upstream, fault):
    gateway = start()
    with sdk(gateway, max_retries=4) as client:
        with FAULTS[fault](gateway):
            assert not works(gateway)
        assert client.chat.completions.create(**ask()).choices
    assert len(upstream.log()) == 1


def test_a_restart_after_a_full_disk_continues_the_same_books(start, upstream):
    gateway = start()
    assert works(gateway)
    with full_disk(gateway):
        assert not works(gateway)
    gateway.kill()
    gateway.start()
    assert works(gateway)
    assert gateway.cli("audit", "verify", "--json").code == 0
    assert len(gateway.settled()) == 2
