"""Patience ends what takes too long, and only that."""

import asyncio

import pytest

from gateway.web.patience import Patience


async def test_what_takes_too_long_ends() -> None:
    with pytest.raises(TimeoutError), Patience(0.001):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task is not left cancelled"
    await asyncio.sleep(0)


async def test_what_is_in_time_is_left_alone() -> None:
    with Patience(0.001):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def waits() -> None:
        with Patience(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_both_at_once_the_cancellation_wins() -> None:
    async def waits() -> None:
        with Patience(0):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_passes_even_when_time_is_up() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(KeyError), Patience(0.001):
        await fails_when_cancelled()
