"""Runaway agents: what is looked for, from which number on something is done about it, and what. Pure.

Detectors live in the files beside this one (`loop_*.py`), one a file; `loop_memory.py` is what one session remembers.
A detector says how often something came again; the rules here say what that leads to. Several findings: the gravest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

ALWAYS_WARNS_AT = 3
"""Rule 23: the third equal one in a row is worth a word, whatever number is configured."""


class Detector(StrEnum):
    """What may repeat. The values are the names of the settings."""

    IDENTICAL_REQUESTS = "identical_requests"
    IDENTICAL_TOOL_CALLS = "identical_tool_calls"
    IDENTICAL_RESULTS = "identical_results"
    CYCLE = "cycle"
    ERRORS_IN_A_ROW = "errors_in_a_row"
    NO_PROGRESS = "no_progress"
    SPEND_VELOCITY = "spend_velocity"


_WARNS_EARLY = frozenset({Detector.IDENTICAL_REQUESTS, Detector.IDENTICAL_TOOL_CALLS, Detector.CYCLE})


class LoopAction(StrEnum):
    """From mild to hard."""

    OFF = "off"
    NOTE = "note"
    WARN = "warn"
    THROTTLE = "throttle"
    ROUTE_TO = "route_to"
    PAUSE = "pause"
    STOP = "stop"


_ORDER = tuple(LoopAction)


class Answer(NamedTuple):
    """What is done; `model` is the alias that `route_to` goes to."""

    action: LoopAction
    model: str = ""


PAUSE = Answer(LoopAction.PAUSE)


class Rung(NamedTuple):
    """An earlier answer: from this share of a detector's number on."""

    percent: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class LoopRules:
    """Operator settings. From its number on a detector has its answer, before that the ladder's; 0 switches it off.

    `spend_velocity` is how many times its usual spend of a quarter of an hour an agent may reach; sums below
    `spend_velocity_from_usd_micros` never count.
    """

    identical_requests: int = 5
    identical_tool_calls: int = 6
    action: Answer = PAUSE
    identical_results: int = 10
    cycle: int = 4
    errors_in_a_row: int = 10
    no_progress: int = 10
    spend_velocity: int = 10
    spend_velocity_from_usd_micros: int = 1_000_000
    actions: Mapping[Detector, Answer] = field(default_factory=dict)
    ladder: tuple[Rung, ...] = ()

    def number(self, detector: Detector) -> int:
        number: int = getattr(self, detector.value)
        return number

    def answer(self, detector: Detector) -> Answer:
        return self.actions.get(detector, self.action)


class Finding(NamedTuple):
    """What a detector saw. `stretch` = how many times its number is asked for, where the evidence is weaker.

    `period` is the length of a cycle; `figures` are those of a detector that counts no repetitions.
    """

    detector: Detector
    times: int
    stretch: int = 1
    period: int = 0
    figures: Mapping[str, Any] | None = None

    def words(self) -> str:
        """What happened, to follow "this session"."""
        match self.detector:
            case Detector.IDENTICAL_REQUESTS:
                return f"sent the same request {self.times} times in a row"
            case Detector.IDENTICAL_TOOL_CALLS:
                return f"made the same tool call with the same arguments {self.times} times in a row"
            case Detector.IDENTICAL_RESULTS:
                return f"got the same result from the same tool {self.times} times without anything new"
            case Detector.CYCLE:
                return f"went through the same {self.period} steps {self.times} times in a row"
            case Detector.ERRORS_IN_A_ROW:
                return f"went on after {self.times} errors in a row"
            case Detector.NO_PROGRESS:
                return f"added nothing new {self.times} times in a row"
            case Detector.SPEND_VELOCITY:
                return f"spends {self.times} times what its agent usually spends in a quarter of an hour"


class Verdict(NamedTuple):
    """What a call leads to; `number` is the detector's, stretched where the evidence is weaker."""

    finding: Finding
    number: int
    answer: Answer

    def figures(self) -> dict[str, Any]:
        """For the denial, the audit row and whoever explains them."""
        found = self.finding
        facts: dict[str, Any] = {
            "detector": found.detector.value,
            "count": found.times,
            "acts_at": self.number,
            "action": self.answer.action.value,
        }
        if found.period:
            facts["period"] = found.period
        return {**facts, **(found.figures or {})}

    def words(self) -> str:
        return f"{self.finding.words()} (limit {self.number})"


def judge(findings: Iterable[Finding], rules: LoopRules) -> Verdict | None:
    """The gravest verdict; of equal ones that which is furthest beyond its number."""
    worst: Verdict | None = None
    for found in findings:
        verdict = _graded(found, rules)
        if verdict is not None and (worst is None or _gravity(verdict) > _gravity(worst)):
            worst = verdict
    return worst


def _graded(found: Finding, rules: LoopRules) -> Verdict | None:
    if found.times < 2:
        return None
    number = rules.number(found.detector) * found.stretch
    final = rules.answer(found.detector)
    if not number or final.action is LoopAction.OFF:
        return None
    if found.times >= number:
        return Verdict(found, number, final)
    warns_at = ALWAYS_WARNS_AT if found.detector in _WARNS_EARLY and found.stretch == 1 else max(2, -(-number // 2))
    rungs = [(warns_at, Answer(LoopAction.WARN)), *((-(-number * r.percent // 100), r.answer) for r in rules.ladder)]
    reached = [answer for at, answer in rungs if found.times >= max(2, at)]
    if not reached:
        return None
    # Before its number a detector never does more than at it: `action: note` is not announced louder than it acts.
    return Verdict(found, number, min(max(reached, key=_rank), final, key=_rank))


def _rank(answer: Answer) -> int:
    return _ORDER.index(answer.action)


def _gravity(verdict: Verdict) -> tuple[int, float]:
    return _rank(verdict.answer), verdict.finding.times / verdict.number
