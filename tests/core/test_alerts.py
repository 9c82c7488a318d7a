"""Flood control of alerts and the marks of limits (rule 28)."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.alert_flood import Counted, Flood, Raise
from gateway.core.alert_threshold import mark_reached

WINDOW_US = 100


def test_the_first_goes_out_at_once_and_the_rest_of_the_window_is_one_sum() -> None:
    flood = Flood(WINDOW_US)
    assert flood.judge("a", "denials", 0, "id-1") == Raise("id-1", "a", 0)
    assert flood.judge("a", "denials", 10, "id-2") == Raise("id-2", "a", 100)
    assert flood.judge("a", "denials", 20, "id-3") is None
    assert flood.judge("a", "denials", 30, "id-4") is None
    assert flood.judge("b", "denials", 30, "id-5") == Raise("id-5", "b", 30)
    assert flood.counted() == [Counted("id-2", 3, 30)]
    assert flood.counted() == []


def test_a_flood_that_goes_on_is_one_alert_a_window() -> None:
    flood = Flood(WINDOW_US)
    raised = [flood.judge("a", "loop", at_us, f"id-{at_us}") for at_us in range(0, 1_000, 5)]
    assert [found.due_us for found in raised if found is not None] == [0, *range(100, 1_001, 100)]


def test_after_a_quiet_window_the_next_goes_out_at_once() -> None:
    flood = Flood(WINDOW_US)
    for at_us in (0, 10):
        flood.judge("a", "loop", at_us, f"id-{at_us}")
    assert flood.judge("a", "loop", 210, "later") == Raise("later", "a", 210)
    flood.sweep(500)
    assert len(flood) == 0


def test_too_many_different_alerts_are_summed_by_kind() -> None:
    flood = Flood(WINDOW_US, keys_max=2)
    raised = [flood.judge(f"key-{n}", "denials", n, f"id-{n}") for n in range(6)]
    assert [found.dedupe for found in raised if found is not None] == [
        "key-0",
        "key-1",
        "denials:others",
        "denials:others",
    ]


def test_a_window_of_nothing_sums_nothing() -> None:
    flood = Flood(0)
    assert [flood.judge("a", "loop", 1, name) for name in "xy"] == [Raise("x", "a", 1), Raise("y", "a", 1)]


@given(st.lists(st.integers(0, 40), max_size=60))
def test_no_alert_is_lost_and_none_counted_twice(gaps: list[int]) -> None:
    flood = Flood(WINDOW_US)
    now_us, sums = 0, {}
    for number, gap in enumerate(gaps):
        now_us += gap
        raised = flood.judge("a", "loop", now_us, f"id-{number}")
        if raised is not None:
            sums[raised.alert_id] = 1
        if number % 7 == 0:
            sums.update((counted.alert_id, counted.times) for counted in flood.counted())
    sums.update((counted.alert_id, counted.times) for counted in flood.counted())
    assert sum(sums.values()) == len(gaps)


@given(st.integers(0, 2_000), st.integers(0, 500), st.lists(st.integers(1, 200), max_size=5))
def test_rule_28_a_mark_is_reached_by_posted_over_limit(spent: int, limit: int, marks: list[int]) -> None:
    reached = mark_reached(marks, limit, spent)
    assert reached == max([mark for mark in marks if limit and 100 * spent / limit >= mark], default=0)


def test_an_alert_counts_under_its_kind_and_subject_unless_it_says_otherwise() -> None:
    alert = Alert(AlertKind.LOOP, Severity.WARNING, "session:ses_1", "A loop.", 1)
    assert alert.key == "loop:session:ses_1"
    assert Alert(AlertKind.LOOP, Severity.WARNING, "session:ses_1", "A loop.", 1, dedupe="mine").key == "mine"
    assert Severity.INFO.rank < Severity.WARNING.rank < Severity.CRITICAL.rank
