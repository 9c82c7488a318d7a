"""A provider whose only slot is taken, and a line before it that has no place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.core.attribution import attribute
from gateway.pipeline.capacity import Turn
from tests.management.hand_clock import by_hand
from tests.management.opening import Opened, opening


def line(node: Opened, *, calls: int) -> list[Turn]:
    """So many turns that alice's calls of `small` would take, or wait for."""
    caller, model = node.caller("alice"), node.plane.catalog.models["small"]
    who = attribute(caller.key, node.plane.catalog.directory)
    turns = [node.plane.capacity.turn(model.deployments, who, {}, None, lambda: (0,)) for _ in range(calls)]
    return [turn for turn in turns if turn is not None]


async def nothing() -> None:
    """What a call does before it waits."""


@asynccontextmanager
async def full_line(directory: Path, **sections: Any) -> AsyncIterator[tuple[Opened, Turn, list[asyncio.Task[None]]]]:
    """A provider with one slot, which is taken, and a line of alice's that has no place: the turn and who waits."""
    capacity = {"providers": {"sim": {"concurrent": 1, "queue": 4, "wait": "30s"}}}
    async with opening(directory, capacity=capacity, **sections) as node:
        by_hand(node)
        turns = line(node, calls=3)
        await turns[0].come(nothing)
        waiting = [asyncio.create_task(turn.come(nothing)) for turn in turns[1:]]
        await asyncio.sleep(0)
        try:
            yield node, turns[0], waiting
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
