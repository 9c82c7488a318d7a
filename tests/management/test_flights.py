"""Calls in flight that are ended while they wait, seen from inside: what waits for room, and two ends at once."""

import asyncio
from pathlib import Path

import pytest

from gateway.core.attribution import attribute
from gateway.core.budget import Ask
from gateway.core.denial import Code, Denial
from gateway.core.ledger import Amounts
from gateway.core.session import SessionState
from gateway.management.sessions import set_state
from gateway.pipeline.flights import Flight, FlightEnded
from tests.management.opening import ALICE, Opened, opening

STOPPED = Denial(Code.SESSION_STOPPED, "stopped")


async def flight(node: Opened) -> Flight:
    await node.chat(ALICE)
    live = await node.plane.sessions.by_id(await node.session_id("run"))
    key = node.plane.keys.named("alice")
    assert live is not None
    assert key is not None
    return Flight("call_1", live, key)


async def test_a_call_that_waits_for_room_is_refused_at_once_and_recorded(tmp_path: Path) -> None:
    async with opening(tmp_path, limits=[{"name": "room", "each": "session", "tokens": 1_000}]) as node:
        await node.chat(ALICE)
        session_id = await node.session_id("run")
        plane, caller = node.plane, node.caller("alice")
        await plane.tokens.count(["the tokenizer is loaded before anything is timed"])
        attribution = attribute(caller.key, plane.catalog.directory, roles=caller.roles)
        bindings, now_us = plane.limiter.bindings(attribution, session_id, ()), plane.clock.now_us()
        room = Ask(Amounts(input_tokens=plane.limiter.rooms(bindings, now_us)[0].left - 5))
        other = plane.limiter.reserve("call_other", attribution, session_id, bindings, room, now_us)
        assert not isinstance(other, tuple)
        waiting = asyncio.create_task(node.chat(ALICE, text="let me in"))
        async with asyncio.timeout(1.5):
            while node.application.node.limiter._freed is None:  # noqa: ASYNC110 - nothing tells that a call waits
                await asyncio.sleep(0)
        changed = await set_state(plane, session_id, SessionState.PAUSED, "look at it", "admin:eve")
        error = (await waiting).json()["error"]
        plane.limiter.void(other, written=False)
        assert (changed["ended"], error["code"]) == (1, "session_paused")
        row = await node.reports.call(error["comptroller"]["call"])
        assert row is not None
        assert row.denial is not None
        assert row.denial["code"] == "session_paused"
        assert len(plane.flights) == 0
        assert plane.sessions.in_flight == 0


async def test_an_end_interrupts_what_is_awaited_and_says_why(node: Opened) -> None:
    flying = await flight(node)

    async def call() -> None:
        with flying:
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert flying.end(STOPPED)
    assert not flying.end(Denial(Code.KEY_REVOKED, "too late"))
    with pytest.raises(FlightEnded) as ended:
        await task
    assert (ended.value.denial.code, ended.value.denial.call_id) == (Code.SESSION_STOPPED, "call_1")
    with pytest.raises(FlightEnded), flying:
        raise AssertionError("nothing begins after the end")


async def test_a_client_that_leaves_at_the_same_moment_is_still_a_client_that_left(node: Opened) -> None:
    flying = await flight(node)

    async def call() -> None:
        with flying:
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    flying.end(STOPPED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_end_that_is_swallowed_below_cancels_nothing_later(node: Opened) -> None:
    flying = await flight(node)
    reached = []

    async def call() -> None:
        with flying:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                reached.append("swallowed")
        await asyncio.sleep(0)
        task = asyncio.current_task()
        reached.append("on" if task is not None and not task.cancelling() else "cancelled")

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    flying.end(STOPPED)
    await task
    assert reached == ["swallowed", "on"]
