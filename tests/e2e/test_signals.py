"""SIGTERM: what runs is finished and booked, nothing new is let in, exit code 0. A second one ends it at once."""

import asyncio
import signal

import pytest

from tests.support.clients import ask, crowd, scripted
from tests.support.gateway import eventually

WHOLE = [f"word{n}" for n in range(20)]


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
async def test_rule_10_sigterm_drains_and_ends_with_0(start, upstream, server):
    gateway = start(server=server)
    async with crowd(gateway) as clients:
        stream = ask(scripted("a stream", events=20, pace_s=0.05), stream=True)
        plain = ask(scripted("a call", delay_s=0.8))
        running = [asyncio.create_task(clients.chat(body)) for body in (stream, plain, stream)]
        await upstream.until(lambda stats: stats["in_flight"] == 3)
        gateway.signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: gateway.status_of("/readyz") == 503, what="readiness 503")
        late = await clients.chat(ask("too late"))
        answers = await asyncio.gather(*running)
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[0].text.split() == answers[2].text.split() == WHOLE
    assert answers[0].events[-1] == answers[2].events[-1] == "[DONE]"
    assert late.status == 503
    assert "retry-after" in late.headers
    assert await asyncio.to_thread(gateway.exit_code) == 0
    assert not gateway.books_file.with_name("comptroller.db-wal").exists(), "the books are closed, whole, in one file"
    assert gateway.held() == 0
    assert sorted(row["output_tokens"] for row in gateway.settled()) == [5, 20, 20]
    assert {row["estimated"] for row in gateway.settled()} == {None}
    assert len(upstream.log()) == 3
    assert gateway.log("stopped")


async def test_rule_10_a_drain_ends_when_its_time_is_over(start, upstream):
    gateway = start(timeouts={"drain": "500ms"})  # and the calls would take an hour
    async with crowd(gateway) as clients:
        hangs = asyncio.create_task(clients.chat(ask(scripted("hangs", waits=True))))
        drips = asyncio.create_task(clients.chat(ask(scripted("drips", events=36_000, pace_s=0.1), stream=True)))
        await upstream.until(lambda stats: stats["in_flight"] == 2)
        code = await asyncio.to_thread(gateway.terminate)
        await asyncio.gather(hangs, drips, return_exceptions=True)
    assert code == 0
    gateway.start()
    assert gateway.held() == 0
    rows = gateway.settled()
    assert len(rows) == 2 or {row["state"] for row in gateway.rows("SELECT state FROM calls")} <= {"settled", "voided"}


async def test_a_second_sigterm_ends_it_at_once(start, upstream):
    gateway = start(timeouts={"drain": "10m"})
    async with crowd(gateway) as clients:
        hangs = asyncio.create_task(clients.chat(ask(scripted("hangs", waits=True))))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
        gateway.signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: gateway.status_of("/readyz") == 503)
        code = await asyncio.to_thread(gateway.terminate)
        await asyncio.gather(hangs, return_exceptions=True)
    assert code == 0
    gateway.start()
    assert gateway.held() == 0


def test_a_drain_does_not_wait_for_what_a_reload_replaced(start):
    gateway = start(timeouts={"drain": "10m"})
    gateway.write_config(
        {**gateway.config, "limits": [{"name": "org", "org": "org", "tokens": 1_000, "window": "day"}]}
    )
    gateway.wait_for_log("reloaded")
    assert gateway.terminate() == 0
