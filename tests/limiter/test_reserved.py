"""Reserved parts: nobody else uses them up, nobody is refused for what is not kept, no more than all is spent."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.attribution import Attribution
from gateway.core.budget import refusal
from gateway.core.denial import Code
from gateway.core.hold import Hold
from gateway.core.limit import Limit, Unit
from gateway.core.window import parse
from tests.limiter.clocked import Clocked

DAY_US = 86_400_000_000
MIDNIGHT_US = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp()) * 1_000_000
MORNING_US = MIDNIGHT_US + DAY_US // 4
CHECKOUT = Attribution("key_1", "one", team="a", app="checkout", environment="live")
BATCH = Attribution("key_2", "two", team="a", app="batch", agent="night", environment="live")
OTHER = Attribution("key_3", "three", team="a", app="search")


def shared(*parts: tuple[str, int], amount: int = 100, window: str = "day", unit: Unit = Unit.USD) -> Limit:
    return Limit("shared", unit, amount, parse(window), where=(("team", "a"),), reserved=parts)


def clocked(*parts: tuple[str, int], at_us: int = MORNING_US, **fields: object) -> Clocked:
    return Clocked((shared(*parts, **fields),), at_us)  # type: ignore[arg-type]


@pytest.mark.parametrize("subject", ["app:checkout", "environment:live"])
@pytest.mark.parametrize("unit", [Unit.USD, Unit.TOKENS, Unit.INPUT_TOKENS, Unit.UNCACHED_TOKENS])
@pytest.mark.parametrize("window", ["hour", "day", "week", "month", "5h", "total"])
def test_others_stop_where_the_reserved_part_begins_and_its_owner_goes_on(
    subject: str, unit: Unit, window: str
) -> None:
    node = clocked((subject, 3_000), unit=unit, window=window)
    assert node.most(OTHER) == 70
    assert node.spend(OTHER, 70)
    assert not node.spend(OTHER, 1)
    assert node.spend(CHECKOUT, 30)
    assert (node.most(CHECKOUT), node.most(OTHER)) == (0, 0)


def test_an_owner_uses_what_is_free_like_everybody_and_then_it_is_gone_for_all() -> None:
    node = clocked(("app:checkout", 3_000))
    assert node.most(CHECKOUT) == 100
    assert node.spend(CHECKOUT, 60)
    assert node.most(OTHER) == 40
    assert node.spend(OTHER, 40)
    assert node.most(CHECKOUT) == 0


def test_a_call_of_two_owners_counts_for_both() -> None:
    node = clocked(("app:checkout", 3_000), ("environment:live", 2_000))
    assert (node.most(OTHER), node.most(BATCH), node.most(CHECKOUT)) == (50, 70, 100)
    assert node.spend(CHECKOUT, 20)
    assert (node.most(OTHER), node.most(BATCH)) == (70, 70)


def test_rule_11_what_is_kept_is_the_same_after_a_restart_and_when_the_part_is_new() -> None:
    node = clocked(("app:checkout", 3_000))
    assert node.spend(CHECKOUT, 10)
    assert node.spend(OTHER, 25)
    assert node.most(OTHER) == 45
    node.restart()
    assert node.most(OTHER) == 45
    node.change(shared())
    assert node.most(OTHER) == 65
    node.change(shared(("app:checkout", 3_000), ("agent:night", 1_000)))
    assert (node.most(OTHER), node.most(BATCH)) == (35, 45)


def test_rule_30_holds_of_an_owner_on_its_own_part_take_nothing_from_others() -> None:
    node = clocked(("app:checkout", 3_000))
    mine = node.hold(CHECKOUT, 50)
    assert isinstance(mine, Hold)
    assert node.most(OTHER) == 50
    refused = node.hold(OTHER, 60)
    assert not isinstance(refused, Hold)
    denial = refusal(refused, node.now_us, 3.0)
    assert denial.code is Code.BUDGET_HELD
    assert denial.limit is not None
    facts = denial.limit
    assert (facts.limit, facts.spent, facts.held, facts.remaining, facts.asked, facts.reserved) == (
        70,
        0,
        20,
        50,
        60,
        30,
    )
    too_much = node.hold(OTHER, 71)
    assert not isinstance(too_much, Hold)
    assert refusal(too_much, node.now_us, 3.0).code is Code.BUDGET_EXHAUSTED
    node.settle(mine, 5)
    assert node.most(OTHER) == 70


def test_a_refusal_says_what_is_reserved() -> None:
    node = clocked(("app:checkout", 3_000), unit=Unit.TOKENS)
    node.spend(OTHER, 60)
    refused = node.hold(OTHER, 20)
    assert not isinstance(refused, Hold)
    said = refusal(refused, node.now_us, 1.0).message
    assert "60 tokens spent and 0 tokens held of 70 tokens (30 tokens more reserved for others)" in said
    (listed,) = node.limiter.views(node.now_us)
    assert (listed.limit, listed.spent, listed.remaining) == (100, 60, 40)
    assert [(p.subject, p.amount, p.used, p.kept) for p in listed.parts] == [("app:checkout", 30, 0, 30)]


@pytest.mark.parametrize(("percent_of_day", "kept"), [(50, 40), (89, 40), (90, 40), (95, 20), (99, 4), (99.9, 0)])
def test_an_idle_part_is_lent_in_the_last_tenth_of_the_window(percent_of_day: float, kept: int) -> None:
    node = clocked(("app:checkout", 4_000))
    node.spend(OTHER, 1)
    node.now_us = MIDNIGHT_US + int(DAY_US * percent_of_day / 100)
    assert node.most(OTHER) == 99 - kept


def test_what_was_lent_and_not_spent_is_taken_back_when_the_owner_comes() -> None:
    node = clocked(("app:checkout", 4_000))
    node.spend(OTHER, 50)
    node.now_us = MIDNIGHT_US + DAY_US * 95 // 100
    assert node.most(OTHER) == 30
    node.spend(OTHER, 5)
    assert node.spend(CHECKOUT, 2)
    assert node.most(OTHER) == 5
    assert node.most(CHECKOUT) == 43
    node.now_us += DAY_US // 100
    assert node.most(OTHER) == 27
    running = node.hold(CHECKOUT, 1)
    assert isinstance(running, Hold)
    node.now_us += DAY_US // 100
    assert node.most(OTHER) == 5


@pytest.mark.parametrize("window", ["5h", "total"])
def test_without_an_end_nothing_would_be_lost_and_nothing_is_lent(window: str) -> None:
    node = clocked(("app:checkout", 4_000), window=window)
    node.spend(OTHER, 1)
    node.now_us += DAY_US * 95 // 100
    assert node.most(OTHER) == (60 if window == "5h" else 59)


def test_a_restart_lends_nothing_before_it_could_see_the_owner() -> None:
    node = clocked(("app:checkout", 4_000))
    node.spend(OTHER, 1)
    node.now_us = MIDNIGHT_US + DAY_US * 95 // 100
    node.restart()
    assert node.most(OTHER) == 59
    node.now_us += DAY_US // 100
    assert node.most(OTHER) == 83


def test_after_an_overrun_all_parts_are_cut_alike_and_nothing_is_left_that_nobody_may_use() -> None:
    node = clocked(("app:checkout", 4_000), ("app:batch", 4_000))
    overrun = node.hold(OTHER, 20)
    assert isinstance(overrun, Hold)
    node.settle(overrun, 60)
    assert (node.most(OTHER), node.most(CHECKOUT), node.most(BATCH)) == (0, 20, 20)
    assert node.spend(CHECKOUT, 20)
    assert node.most(BATCH) >= 13


def test_a_lowered_limit_has_smaller_parts() -> None:
    node = clocked(("app:checkout", 4_000))
    node.spend(OTHER, 40)
    node.change(shared(("app:checkout", 4_000), amount=50))
    assert (node.most(OTHER), node.most(CHECKOUT)) == (0, 10)
    node.change(shared(("app:checkout", 4_000), amount=200))
    assert (node.most(OTHER), node.most(CHECKOUT)) == (80, 160)


Step = tuple[int, int, int]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(0, 100)), max_size=40),
    st.sampled_from([(3_000, 2_000), (5_000, 5_000), (100, 9_900)]),
    st.sampled_from(["day", "5h", "total"]),
)
def test_no_overspend_no_false_denial_and_every_owner_gets_its_part(
    steps: list[Step], shares: tuple[int, int], window: str
) -> None:
    parts = {"app:checkout": shares[0] // 100, "app:batch": shares[1] // 100}
    node = clocked(("app:checkout", shares[0]), ("app:batch", shares[1]), window=window)
    callers, used, flying = (CHECKOUT, BATCH, OTHER), [0, 0, 0], []
    for who, count, keep in steps:
        taken = node.hold(callers[who], count)
        free = [max(0, part - spent) for part, spent in zip(parts.values(), used, strict=False)]
        kept = sum(part for owner, part in enumerate(free) if owner != who)
        assert isinstance(taken, Hold) is (sum(used) + count + kept <= 100)
        if isinstance(taken, Hold):
            used[who] += count
            flying.append((who, count, taken, count * keep // 100))
        if len(flying) > 3:
            first, held, hold, posted = flying.pop(0)
            node.settle(hold, posted)
            used[first] += posted - held
        assert sum(used) <= 100
        for owner, part in enumerate(parts.values()):
            assert node.most(callers[owner]) >= part - used[owner]
