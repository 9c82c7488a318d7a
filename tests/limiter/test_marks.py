"""Marks of `alert_at` on live counters (rule 28): once a mark, counter and window, whatever happens in between."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.alert_threshold import Reached, threshold_alert
from gateway.core.attribution import Attribution
from gateway.core.hold import Hold
from gateway.core.limit import Action, Limit, Mode, Unit
from gateway.core.window import parse
from tests.limiter.clocked import Clocked

ALICE = Attribution("key_1", "one", user="alice")
BOB = Attribution("key_2", "two", user="bob")
DAY_US = 86_400_000_000
MORNING_US = int(datetime(2026, 11, 25, 6, tzinfo=UTC).timestamp()) * 1_000_000
KEY = b"k" * 16
MARKS = (50, 80, 100)


def marked(**fields: object) -> Limit:
    made = {"unit": Unit.TOKENS, "amount": 100, "window": parse("day"), "each": "user", "alert_at": MARKS, **fields}
    return Limit("l", **made)  # type: ignore[arg-type]


def spent(node: Clocked, caller: Attribution, count: int) -> list[int]:
    taken = node.hold(caller, count, slowed=True)
    assert isinstance(taken, Hold)
    return [reached.mark for reached in node.settle(taken, count)]


@pytest.mark.parametrize("fields", [{}, {"action": Action.WARN}, {"action": Action.THROTTLE}, {"mode": Mode.OBSERVE}])
def test_each_mark_is_told_once_for_each_counter(fields: dict[str, object]) -> None:
    node = Clocked((marked(**fields),), MORNING_US)
    assert [spent(node, ALICE, count) for count in (49, 1, 20, 25, 5)] == [[], [50], [], [80], [100]]
    assert spent(node, BOB, 90) == [50, 80]
    node.now_us += DAY_US
    assert spent(node, ALICE, 60) == [50]


def test_an_override_has_marks_of_its_own_amount() -> None:
    node = Clocked((marked(overrides=(("user:bob", 1_000),)),), MORNING_US)
    assert spent(node, BOB, 100) == []
    assert spent(node, BOB, 400) == [50]


def test_a_limit_that_was_lowered_tells_at_the_next_settlement_and_one_that_was_raised_not_again() -> None:
    node = Clocked((marked(),), MORNING_US)
    assert spent(node, ALICE, 60) == [50]
    node.change(marked(amount=70))
    assert spent(node, ALICE, 1) == [80]
    node.change(marked(amount=1_000))
    assert spent(node, ALICE, 500) == []
    assert spent(node, ALICE, 400) == []
    assert spent(node, ALICE, 39) == [100]


def test_a_settlement_after_the_edge_tells_of_the_window_of_its_hold() -> None:
    node = Clocked((marked(),), MORNING_US)
    crossing = node.hold(ALICE, 60)
    assert isinstance(crossing, Hold)
    node.now_us += DAY_US
    (reached,) = node.settle(crossing, 60)
    assert (reached.mark, reached.start_us) == (50, MORNING_US - DAY_US // 4)


def test_a_rolling_window_may_tell_again_when_it_was_below() -> None:
    node = Clocked((marked(window=parse("60m")),), MORNING_US)
    assert spent(node, ALICE, 60) == [50]
    assert spent(node, ALICE, 1) == []
    node.restart()
    assert spent(node, ALICE, 1) == []
    node.now_us += 2 * 3_600_000_000
    assert spent(node, ALICE, 1) == []
    assert spent(node, ALICE, 60) == [50]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["spend", "restart", "tomorrow"]), st.integers(0, 70)), max_size=30),
    st.sampled_from(["day", "week", "month", "total"]),
)
def test_ids_are_one_for_each_mark_that_the_books_say_is_reached(steps: list[tuple[str, int]], window: str) -> None:
    node = Clocked((marked(window=parse(window), action=Action.WARN),), MORNING_US)
    told: dict[str, Reached] = {}
    sums: dict[int, int] = {}
    for what, count in steps:
        if what == "restart":
            node.restart()
        elif what == "tomorrow":
            node.now_us += DAY_US
        else:
            taken = node.hold(ALICE, count)
            assert isinstance(taken, Hold)
            start_us = node.view(ALICE).resets_at_us or 0
            sums[start_us] = sums.get(start_us, 0) + count
            for reached in node.settle(taken, count):
                told[threshold_alert(reached, ALICE, KEY, node.now_us).once] = reached
    expected = [mark for total in sums.values() for mark in MARKS if total >= mark]
    assert sorted(reached.mark for reached in told.values()) == sorted(expected)


def test_an_alert_says_what_a_program_and_a_person_need_and_its_id_gives_nothing_away() -> None:
    money = marked(unit=Unit.USD, amount=5_000_000, timezone=UTC)
    alert = threshold_alert(Reached(money, "user:alice", 80, 4_100_000, 5_000_000, MORNING_US), ALICE, KEY, 1)
    assert alert.text == "Limit 'l' for user:alice is 82 % used: 4.1 of 5 usd since 2026-11-25T06:00:00Z."
    assert alert.facts["spent_usd_micros"] == 4_100_000
    assert (alert.subject, alert.severity.value, alert.attribution) == ("limit:l", "warning", ALICE)
    full = threshold_alert(Reached(money, "user:alice", 100, 5_000_000, 5_000_000, 0), ALICE, KEY, 1)
    assert full.severity.value == "critical"
    other_key = threshold_alert(Reached(money, "user:alice", 80, 4_100_000, 5_000_000, MORNING_US), ALICE, b"o", 1)
    assert len({alert.once, full.once, other_key.once, replace(alert, once="").once}) == 4
