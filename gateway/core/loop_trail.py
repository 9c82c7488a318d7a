"""What one conversation, or a session on MCP, did with its tools: every step is shown to every detector. Pure.

Two readings of each result (`loop_text.Step`): as what it says, and without ids, dates and times. The second is weaker
evidence, so it needs twice the number: a job that is polled and tells only the time of day may be waited for a while.
"""

from gateway.core.loop import Detector, Finding
from gateway.core.loop_cycle import NO_CYCLE, Cycles
from gateway.core.loop_progress import Progress, Sightings
from gateway.core.loop_result import SameResults
from gateway.core.loop_text import ResultKind, Step, result_kind
from gateway.core.loop_tool_call import SameCalls

PLAIN_STRETCH = 2


class Trail:
    __slots__ = (
        "_cycles",
        "_latest",
        "_plain_cycles",
        "_plain_same",
        "_progress",
        "_results",
        "_said",
        "_same",
        "_seen",
        "base",
        "errors",
        "taken",
        "withdrawn",
    )

    def __init__(self) -> None:
        self._same, self._plain_same = SameCalls(), SameCalls()
        self._cycles, self._plain_cycles = Cycles(), Cycles()
        self._results = SameResults()
        self._progress = Progress()
        self._seen = Sightings()
        self._said = Sightings()
        self._latest = NO_CYCLE, NO_CYCLE
        self.errors = 0
        self.base = b""
        """The turn that the conversation's latest request went on from."""
        self.taken: tuple[bytes, ...] = ()
        """What of its messages after that turn was counted already."""
        self.withdrawn = False
        """Whether that request was refused or failed, so that its successor may bring the same again."""

    def anew(self) -> "Trail":
        """A trail that has counted nothing, but knows what was counted."""
        fresh = Trail()
        fresh.base, fresh.taken, fresh.withdrawn = self.base, self.taken, self.withdrawn
        return fresh

    def take(self, step: Step) -> None:
        """A tool was called and answered; one that gave no answer at all failed, and says nothing else."""
        result, plain = step.result, step.plain
        if step.failed and not result:
            self.errors += 1
            return
        self._same.see(step.call, result)
        self._plain_same.see(step.call, plain)
        self._latest = self._cycles.see(step.call, result), self._plain_cycles.see(step.call, plain)
        self.errors = self.errors + 1 if step.failed else 0
        if not result:
            return
        came_before = self._seen.see(step.tool + plain)
        known = self._progress.see(step.call + plain)
        kind = ResultKind.LONG if step.failed or not came_before else result_kind(step.head, step.length)
        if (not came_before and not step.failed) or (kind is ResultKind.DONE and not known):
            self._results.something_new()
            self._progress.something_new()
        self._results.see(step.tool, plain, kind)

    def hear(self, words: bytes) -> None:
        """Somebody said something; `words` without numbers, so that `attempt 7` is not new after `attempt 6`."""
        if not self._said.see(words):
            self._results.something_new()
            self._progress.something_new()
            self.errors = 0

    def talk(self, turn: bytes) -> None:
        """A turn without tools: what was answered and what was said to it, as one digest."""
        self._progress.see(turn)

    def findings(self, tool: bytes | None) -> list[Finding]:
        """After the latest step, a call of `tool`; None = it was talk."""
        if tool is None:
            stale = self._progress.stale
            return [Finding(Detector.NO_PROGRESS, stale)] if stale else []
        return self._found(tool, self._same.count, self._plain_same.count, *self._latest)

    def ahead(self, tool: bytes, call: bytes) -> list[Finding]:
        """Before a call of `tool` is made."""
        cycles, plain_cycles = self._cycles.ahead(call), self._plain_cycles.ahead(call)
        return self._found(tool, self._same.ahead(call), self._plain_same.ahead(call), cycles, plain_cycles)

    def _found(
        self, tool: bytes, same: int, plain_same: int, cycle: tuple[int, int], plain_cycle: tuple[int, int]
    ) -> list[Finding]:
        found: list[Finding] = []
        if same > 1 or plain_same > 1:
            found.append(Finding(Detector.IDENTICAL_TOOL_CALLS, same))
            found.append(Finding(Detector.IDENTICAL_TOOL_CALLS, plain_same, PLAIN_STRETCH))
        if cycle[0] > 1 or plain_cycle[0] > 1:
            found.append(Finding(Detector.CYCLE, cycle[0], 1, cycle[1]))
            found.append(Finding(Detector.CYCLE, plain_cycle[0], PLAIN_STRETCH, plain_cycle[1]))
        count, stretch = self._results.of(tool)
        if count > 1:
            found.append(Finding(Detector.IDENTICAL_RESULTS, count, stretch))
        if self.errors > 1:
            found.append(Finding(Detector.ERRORS_IN_A_ROW, self.errors))
        if self._progress.stale > 1:
            found.append(Finding(Detector.NO_PROGRESS, self._progress.stale))
        return found
