"""Detector: a conversation that goes on without anything new in it. Pure.

A turn is stale when it was there at least twice before: going through the same files a second time to check them is
work, a third time turn after turn is not. This finds the cycles that are longer than four steps, and wandering.
"""

TURNS_KEPT = 48
_STALE_FROM = 2


class Sightings:
    """How often each thing came, the oldest forgotten first."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: dict[bytes, int] = {}

    def see(self, thing: bytes) -> int:
        """How often it came before."""
        times = self._times.pop(thing, 0)
        self._times[thing] = times + 1
        if len(self._times) > TURNS_KEPT:
            del self._times[next(iter(self._times))]
        return times


class Progress:
    """How many stale turns came in a row."""

    __slots__ = ("_turns", "stale")

    def __init__(self) -> None:
        self._turns = Sightings()
        self.stale = 0

    def see(self, turn: bytes) -> int:
        """How often the turn came before."""
        times = self._turns.see(turn)
        self.stale = self.stale + 1 if times >= _STALE_FROM else 0
        return times

    def something_new(self) -> None:
        self.stale = 0
