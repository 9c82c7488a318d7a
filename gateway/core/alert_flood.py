"""Flood control: the first alert of a kind goes out at once, the same again within the window is summed into one.

A window with repetitions is followed by the next one, so a flood that goes on is one alert a window. What is summed has
an id, and so a row in the outbox, from its first repetition on: a crash loses at most the last count.
"""

from dataclasses import dataclass
from typing import NamedTuple

KEYS_MAX = 5_000
OTHERS = "others"


class Raise(NamedTuple):
    """Write this alert into the outbox, to be sent from `due_us` on. `dedupe` is the key that it counts under."""

    alert_id: str
    dedupe: str
    due_us: int


class Counted(NamedTuple):
    """An alert that waits in the outbox stands for `times` of them by now."""

    alert_id: str
    times: int
    last_at_us: int


@dataclass(slots=True)
class _Window:
    until_us: int
    summed_id: str = ""
    count: int = 0


class Flood:
    """The windows of the dedupe keys in use. `window_us` may change between two alerts; 0 sums nothing."""

    def __init__(self, window_us: int, keys_max: int = KEYS_MAX) -> None:
        self.window_us = window_us
        self._keys_max = keys_max
        self._windows: dict[str, _Window] = {}
        self._grown: dict[str, Counted] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def judge(self, dedupe: str, kind: str, at_us: int, fresh_id: str) -> Raise | None:
        """What to write about this alert; None if it is only counted. `fresh_id` is the id it gets if it is written."""
        if self.window_us <= 0:
            return Raise(fresh_id, dedupe, at_us)
        window = self._windows.get(dedupe)
        if window is None and len(self._windows) >= self._keys_max:
            dedupe = f"{kind}:{OTHERS}"
            window = self._windows.get(dedupe)
        if window is not None and at_us >= window.until_us:
            window = self._turn(dedupe, window, at_us)
        if window is None:
            self._windows[dedupe] = _Window(at_us + self.window_us)
            return Raise(fresh_id, dedupe, at_us)
        window.count += 1
        if not window.summed_id:
            window.summed_id = fresh_id
            return Raise(fresh_id, dedupe, window.until_us)
        self._grown[window.summed_id] = Counted(window.summed_id, window.count, at_us)
        return None

    def counted(self) -> list[Counted]:
        """Sums that grew since this was last asked for."""
        grown = list(self._grown.values())
        self._grown.clear()
        return grown

    def sweep(self, now_us: int) -> None:
        """Forgets windows that were followed by a quiet one."""
        for dedupe in [key for key, window in self._windows.items() if now_us >= window.until_us + self.window_us]:
            del self._windows[dedupe]

    def _turn(self, dedupe: str, window: _Window, at_us: int) -> _Window | None:
        """The window after one that is over: a summing one if it had repetitions and is followed closely, else none."""
        if window.count and at_us < window.until_us + self.window_us:
            following = _Window(window.until_us + self.window_us)
            self._windows[dedupe] = following
            return following
        del self._windows[dedupe]
        return None
