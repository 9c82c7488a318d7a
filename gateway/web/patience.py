"""A bound on how long a call may take for something: what `asyncio.timeout` does, at a third of its price."""

import asyncio
from types import TracebackType


class Patience:
    """Ends what is awaited inside it with TimeoutError after so many seconds. Other cancellations stay as they are."""

    __slots__ = ("_before", "_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("patience is for tasks")
        self._task, self._before, self._over = task, task.cancelling(), False
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self._over = True
        self._task.cancel()
