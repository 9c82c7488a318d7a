"""Runs a coroutine on uvloop where it is installed, so that the tools of the measurement cost as little as they can."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

try:
    from uvloop import new_event_loop as _uvloop
except ImportError:
    LOOP_FACTORY: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    LOOP_FACTORY = _uvloop


_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        return runner.run(main)
