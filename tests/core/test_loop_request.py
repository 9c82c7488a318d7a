"""Requests that repeat are counted as the rules say, and retries, twins and failures are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.loop import Detector, Finding, LoopAction, LoopRules, judge
from gateway.core.loop_request import FORGETS_AFTER_US, Requests

RULES = LoopRules(identical_requests=5)
NOW_US = 1_795_521_600_000_000
SECOND_US = 1_000_000
A, B, C = b"a", b"b", b"c"


class Caller:
    """A session's calls, one second apart."""

    def __init__(self) -> None:
        self.memory = Requests()
        self.now_us = NOW_US

    def sends(self, digest: bytes, question: bytes = b"") -> list[Finding]:
        self.now_us += SECOND_US
        return self.memory.judge(digest, lambda: question, self.now_us)

    def succeeds(self, digest: bytes, question: bytes = b"", answer: bytes = b"") -> list[Finding]:
        found = self.sends(digest, question)
        self.memory.answered(digest, answer, self.now_us)
        return found

    def fails(self, digest: bytes) -> list[Finding]:
        found = self.sends(digest)
        self.memory.withdraw(digest)
        return found


def counts(found: list[Finding], rules: LoopRules = RULES) -> tuple[int, bool] | None:
    """(how often, whether it is acted on) of equal requests in a row."""
    verdict = judge([each for each in found if each.detector is Detector.IDENTICAL_REQUESTS], rules)
    return None if verdict is None else (verdict.finding.times, verdict.answer.action is LoopAction.PAUSE)


def test_rule_23_warns_at_three_and_acts_at_the_configured_number() -> None:
    caller = Caller()
    assert [counts(caller.succeeds(A)) for _ in range(6)] == [None, None, (3, False), (4, False), (5, True), (6, True)]


def test_rule_23_only_consecutive_requests_count() -> None:
    caller = Caller()
    assert [counts(caller.succeeds(digest)) for digest in (A, A, B, A, A)] == [None] * 5
    assert counts(caller.succeeds(A)) == (3, False)


def test_rule_23_a_number_of_zero_switches_it_off() -> None:
    caller = Caller()
    assert [counts(caller.succeeds(A), LoopRules(identical_requests=0)) for _ in range(9)] == [None] * 9


@pytest.mark.parametrize(
    "story",
    [
        "refused first, then sent again",
        "every second one fails",
        "each with a parallel twin that fails",
        "each with a parallel twin that succeeds",
        "each after one that broke off",
        "another request was refused in between",
    ],
)
def test_rule_23_twins_failures_and_retries_never_count(story: str) -> None:
    caller = Caller()
    seen = []
    for _ in range(5):
        if story in ("refused first, then sent again", "every second one fails"):
            assert counts(caller.fails(A)) == counts(caller.succeeds(A))
        elif story == "each with a parallel twin that fails":
            caller.sends(A)
            assert counts(caller.sends(A)) is None
            caller.memory.withdraw(A)
            caller.memory.answered(A, b"", caller.now_us)
        elif story == "each with a parallel twin that succeeds":
            caller.sends(A)
            assert counts(caller.sends(A)) is None
            caller.memory.answered(A, b"", caller.now_us)
            caller.memory.answered(A, b"", caller.now_us)
        elif story == "each after one that broke off":
            caller.sends(A)  # never answered, never withdrawn: the client left
            caller.succeeds(A)
        else:
            caller.succeeds(A)
            caller.fails(B)
        seen.append(caller.memory.same.count)
    assert seen == [1, 2, 3, 4, 5]


def test_rule_23_of_twins_that_both_fail_none_counts() -> None:
    caller = Caller()
    caller.succeeds(A)
    for _ in range(20):
        caller.sends(A)
        caller.sends(A)
        caller.memory.withdraw(A)
        caller.memory.withdraw(A)
    assert caller.memory.same.count == 1


@pytest.mark.parametrize(("pause_us", "count"), [(FORGETS_AFTER_US, 3), (FORGETS_AFTER_US + 1, 1)])
def test_rule_23_after_ten_minutes_it_is_forgotten(pause_us: int, count: int) -> None:
    memory = Requests()
    for _ in range(2):
        memory.judge(A, bytes, NOW_US)
        memory.answered(A, b"", NOW_US)
    memory.judge(A, bytes, NOW_US + pause_us)
    assert memory.same.count == count


actions = st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(["ok", "fail", "cut", "twin"])), max_size=40)


@given(story=actions)
def test_rule_23_the_count_is_that_of_equal_successes_in_a_row(story: list[tuple[bytes, str]]) -> None:
    """Never more than the successful answers to the last request in a row, refused and failed ones left out."""
    caller = Caller()
    run: tuple[bytes, int] = (b"", 0)
    for digest, how in story:
        if how == "fail":
            caller.fails(digest)
            continue
        if how == "cut":
            caller.sends(digest)
            if digest != run[0]:
                run = (digest, 0)
            continue
        caller.sends(digest)
        if how == "twin":
            caller.sends(digest)
            caller.memory.withdraw(digest)
        caller.memory.answered(digest, b"", caller.now_us)
        run = (digest, run[1] + 1 if digest == run[0] else 1)
        assert caller.memory.same.count <= run[1]
        if all(kind in ("ok", "fail", "twin") for _, kind in story):
            assert caller.memory.same.count == run[1]


def times(found: list[Finding], detector: Detector) -> int:
    return max((each.times for each in found if each.detector is detector), default=0)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_the_same_few_requests_in_turns_are_a_cycle(length: int) -> None:
    caller = Caller()
    seen = [times(caller.succeeds(b"request %d" % (turn % length)), Detector.CYCLE) for turn in range(4 * length)]
    assert seen[length - 1] == 0
    assert [seen[rounds * length - 1] for rounds in (2, 3, 4)] == [2, 3, 4]


def test_requests_that_overlap_are_no_cycle() -> None:
    caller = Caller()
    for _ in range(12):
        found = [*caller.sends(A), *caller.sends(B)]
        caller.memory.answered(A, b"", caller.now_us)
        caller.memory.answered(B, b"", caller.now_us)
        assert times(found, Detector.CYCLE) == 0


def test_the_same_question_with_new_ids_counts_while_the_answer_is_the_same() -> None:
    caller = Caller()
    seen = [times(caller.succeeds(b"%d" % n, b"question", b"answer"), Detector.NO_PROGRESS) for n in range(6)]
    assert seen == [0, 0, 0, 2, 3, 4]
    assert times(caller.succeeds(b"x", b"another", b"answer"), Detector.NO_PROGRESS) == 0


@pytest.mark.parametrize("story", ["answers differ", "too little is asked", "answers are not known", "they overlap"])
def test_new_questions_and_new_answers_are_progress(story: str) -> None:
    caller = Caller()
    for n in range(20):
        question = b"" if story == "too little is asked" else b"question"
        answer = b"%d" % n if story == "answers differ" else b"" if story == "answers are not known" else b"answer"
        request = b"request %d" % n
        if story == "they overlap":
            caller.sends(b"other %d" % n, b"other")
        assert times(caller.succeeds(request, question, answer), Detector.NO_PROGRESS) == 0
