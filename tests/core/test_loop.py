"""What a finding leads to: from which number on which answer, in words and figures."""

import pytest

from gateway.core.loop import Answer, Detector, Finding, LoopAction, LoopRules, Rung, judge

NOTE, WARN, THROTTLE, PAUSE, STOP = (
    Answer(action)
    for action in (LoopAction.NOTE, LoopAction.WARN, LoopAction.THROTTLE, LoopAction.PAUSE, LoopAction.STOP)
)
CHEAPER = Answer(LoopAction.ROUTE_TO, "small")
RULES = LoopRules(identical_requests=5, identical_tool_calls=6)


def answers(detector: Detector, rules: LoopRules, upto: int, stretch: int = 1) -> dict[Answer, int]:
    """Each answer with the count at which it is first given."""
    found: dict[Answer, int] = {}
    for times in range(1, upto + 1):
        verdict = judge([Finding(detector, times, stretch)], rules)
        if verdict is not None:
            found.setdefault(verdict.answer, times)
    return found


@pytest.mark.parametrize(
    ("detector", "stretch", "expected"),
    [
        (Detector.IDENTICAL_REQUESTS, 1, {WARN: 3, PAUSE: 5}),
        (Detector.IDENTICAL_TOOL_CALLS, 1, {WARN: 3, PAUSE: 6}),
        (Detector.IDENTICAL_TOOL_CALLS, 2, {WARN: 6, PAUSE: 12}),
        (Detector.IDENTICAL_RESULTS, 1, {WARN: 5, PAUSE: 10}),
        (Detector.IDENTICAL_RESULTS, 3, {WARN: 15, PAUSE: 30}),
        (Detector.CYCLE, 1, {WARN: 3, PAUSE: 4}),
        (Detector.ERRORS_IN_A_ROW, 1, {WARN: 5, PAUSE: 10}),
        (Detector.NO_PROGRESS, 1, {WARN: 5, PAUSE: 10}),
        (Detector.SPEND_VELOCITY, 1, {WARN: 5, PAUSE: 10}),
    ],
)
def test_rule_23_a_warning_first_and_the_action_at_the_number(
    detector: Detector, stretch: int, expected: dict[Answer, int]
) -> None:
    assert answers(detector, RULES, 40, stretch) == expected


def test_each_detector_may_have_its_own_action() -> None:
    rules = LoopRules(action=STOP, actions={Detector.CYCLE: CHEAPER, Detector.NO_PROGRESS: Answer(LoopAction.OFF)})
    assert answers(Detector.IDENTICAL_REQUESTS, rules, 6) == {WARN: 3, STOP: 5}
    assert answers(Detector.CYCLE, rules, 6) == {WARN: 3, CHEAPER: 4}
    assert answers(Detector.NO_PROGRESS, rules, 40) == {}


def test_a_ladder_has_milder_answers_before_the_number() -> None:
    rules = LoopRules(identical_tool_calls=10, ladder=(Rung(50, THROTTLE), Rung(80, CHEAPER)))
    assert answers(Detector.IDENTICAL_TOOL_CALLS, rules, 12) == {WARN: 3, THROTTLE: 5, CHEAPER: 8, PAUSE: 10}


def test_nothing_on_the_ladder_is_harder_than_the_action() -> None:
    rules = LoopRules(identical_tool_calls=10, action=NOTE, ladder=(Rung(50, STOP),))
    assert answers(Detector.IDENTICAL_TOOL_CALLS, rules, 12) == {NOTE: 3}


def test_zero_switches_a_detector_off() -> None:
    assert answers(Detector.CYCLE, LoopRules(cycle=0), 50) == {}


def test_the_gravest_finding_decides() -> None:
    warned, paused = Finding(Detector.IDENTICAL_TOOL_CALLS, 5), Finding(Detector.CYCLE, 4, period=2)
    for findings in ([warned, paused], [paused, warned]):
        verdict = judge(findings, RULES)
        assert verdict is not None
        assert verdict.finding is paused
        assert verdict.figures() == {"detector": "cycle", "count": 4, "acts_at": 4, "action": "pause", "period": 2}


@pytest.mark.parametrize("detector", list(Detector))
def test_words_hold_the_figures(detector: Detector) -> None:
    verdict = judge([Finding(detector, 60, period=3)], RULES)
    assert verdict is not None
    assert "60" in verdict.words()
    assert str(verdict.number) in verdict.words()
