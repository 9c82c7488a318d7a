"""Work that must be finished whoever stops waiting for it: settlements of calls whose client left."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Keeps its tasks alive; a drain waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for work that a cancellation of the waiter does not touch."""
        task: asyncio.Task[T] = self.spawn(work)
        return await asyncio.shield(task)

    async def drain(self, timeout_s: float) -> int:
        """Waits for what is under way; returns how many did not end in time."""
        if not self._tasks:
            return 0
        _, pending = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return len(pending)
