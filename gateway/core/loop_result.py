"""Detector: the same result from the same tool, whatever the arguments, with nothing new in between. Pure.

Search words turned round and round that find nothing; pages that are all the same. A tool that says `done` to each new
call works; a word or a figure that many calls may well share (a label, a status) counts only over three times as many.
"""

from gateway.core.loop_text import ResultKind

TOOLS_KEPT = 12
SHORT_STRETCH = 3


class SameResults:
    """Per tool: its latest result, how often it came since there was something new, what kind of result it is."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[bytes, tuple[bytes, int, ResultKind]] = {}

    def see(self, tool: bytes, result: bytes, kind: ResultKind) -> None:
        before, count, _ = self._runs.get(tool, (b"", 0, kind))
        if len(self._runs) >= TOOLS_KEPT and tool not in self._runs:
            del self._runs[next(iter(self._runs))]
        self._runs[tool] = (result, count + 1 if result == before else 1, kind)

    def something_new(self) -> None:
        if self._runs:
            self._runs.clear()

    def of(self, tool: bytes) -> tuple[int, int]:
        """(count, stretch) of a tool; count 0 = says nothing."""
        run = self._runs.get(tool)
        if run is None or run[2] is ResultKind.DONE:
            return 0, 1
        return run[1], SHORT_STRETCH if run[2] is ResultKind.SHORT else 1
