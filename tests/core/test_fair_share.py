"""Turns at a provider: guarantees, borrowing, reclaim and the order of service, on a clock that is moved by hand."""

import heapq
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.capacity import OTHERS, CapacityRules, ShareRule
from gateway.core.fair_share import LATELY_US, FairShare, Ticket

SECOND_US = 1_000_000
WEIGHTS = {"team:a": 3, "team:b": 1, OTHERS: 1}


def rules(concurrent: int | None = None, **more: Any) -> CapacityRules:
    return CapacityRules("p", concurrent, shares=(ShareRule("team", "a", 3), ShareRule("team", "b", 1)), **more)


def enter(fair: FairShare, share: str, now_us: int = 0, *, key: str = "", tokens: int = 1, model: str = "m") -> Ticket:
    return fair.enter(share, model, key or share, tokens, now_us)


def admitted(fair: FairShare, now_us: int = 0) -> list[Ticket]:
    """Everybody who may pass now, in order."""
    found = []
    while (ticket := fair.admit(now_us)) is not None:
        found.append(ticket)
    return found


def shares_of(tickets: list[Ticket]) -> Counter[str]:
    return Counter(ticket.share.name for ticket in tickets)


# Calls in flight


def test_idle_capacity_is_lent_whole() -> None:
    fair = FairShare(rules(10))
    for _ in range(30):
        enter(fair, "team:b")
    assert len(admitted(fair)) == 10


def test_where_all_want_more_than_there_is_each_gets_its_weight() -> None:
    fair = FairShare(rules(50))
    for _ in range(100):
        for share in WEIGHTS:
            enter(fair, share)
    assert shares_of(admitted(fair)) == {"team:a": 30, "team:b": 10, OTHERS: 10}


def test_who_returns_gets_its_guarantee_at_the_next_free_slots_and_nothing_in_flight_is_taken_back() -> None:
    fair = FairShare(rules(10))
    borrowed = [enter(fair, "team:b") for _ in range(50)]
    running = admitted(fair)
    mine = [enter(fair, "team:a") for _ in range(6)]
    assert admitted(fair, 1) == []
    assert all(ticket.admitted for ticket in running)
    for ended, returning in zip(running, mine, strict=False):
        fair.leave(ended, 1, 2)
        assert admitted(fair, 2) == [returning]
    fair.leave(running[6], 1, 3)
    assert shares_of(admitted(fair, 3)) == {"team:b": 1}, "what is beyond the guarantee is lent on"
    assert sum(ticket.admitted for ticket in borrowed) == 4


def test_keys_of_one_share_take_turns() -> None:
    fair = FairShare(rules(1))
    (running,) = [enter(fair, "team:a", key="loud")]
    assert admitted(fair) == [running]
    loud = [enter(fair, "team:a", key="loud") for _ in range(20)]
    quiet = enter(fair, "team:a", key="quiet")
    order = []
    for _ in range(3):
        fair.leave(running, 1, 1)
        (running,) = admitted(fair, 1)
        order.append(running)
    assert order == [loud[0], quiet, loud[1]]


def test_what_others_used_at_once_lately_stays_free_and_nothing_for_who_was_silent() -> None:
    fair = FairShare(rules(20))
    fair.leave(_only(admitted(fair) or [enter(fair, "team:a")], fair), 1, 0)
    for _ in range(40):
        enter(fair, "team:b", 10)
    assert len(admitted(fair, 10)) == 19, "one slot, as the other share used one lately"
    assert len(admitted(fair, 3 * LATELY_US)) == 1
    assert fair.in_flight == 20


def _only(tickets: list[Ticket], fair: FairShare) -> Ticket:
    admitted(fair)
    (ticket,) = tickets
    return ticket


def test_a_withdrawn_call_frees_its_place_and_ends_exactly_once() -> None:
    fair = FairShare(rules(1))
    first, second, third = (enter(fair, "team:a") for _ in range(3))
    assert admitted(fair) == [first]
    fair.withdraw(second)
    fair.withdraw(second)
    assert fair.waiting == 1
    for _ in range(2):
        fair.leave(first, 5, 1)
    assert admitted(fair, 1) == [third]
    assert (fair.in_flight, fair.waiting) == (1, 0)
    fair.withdraw(third)
    assert fair.in_flight == 1, "who was let in leaves by leave"


def test_each_share_has_its_part_of_the_line_and_a_key_half_of_that() -> None:
    fair = FairShare(rules(1, line_max=50))
    for number in range(10):
        assert fair.has_place("team:b", f"key{number % 3}")
        enter(fair, "team:b", key=f"key{number % 3}")
    assert not fair.has_place("team:b", "another")
    assert fair.has_place("team:a", "loud")
    for _ in range(15):
        enter(fair, "team:a", key="loud")
    assert not fair.has_place("team:a", "loud")
    assert fair.has_place("team:a", "quiet")


def test_the_expected_wait_grows_with_the_line_and_shrinks_with_the_weight() -> None:
    fair = FairShare(rules(5))
    running = [enter(fair, share) for share in ("team:a", "team:a", "team:a", "team:b", OTHERS)]
    assert len(admitted(fair)) == 5
    unknown = enter(fair, "team:b")
    assert fair.wait_us(unknown, 0) == 0, "nobody knows yet how long calls take"
    fair.leave(running[-1], 1, SECOND_US)
    assert admitted(fair, SECOND_US) == [], "the free slot is kept for who left it just now"
    first, second = enter(fair, "team:b", SECOND_US), enter(fair, "team:b", SECOND_US)
    heavy = enter(fair, "team:a", SECOND_US)
    # Four of five weights are busy, so a quarter of five slots is team:b's: one of its calls each 0.8 s.
    assert [fair.wait_us(ticket, SECOND_US) for ticket in (unknown, first, second)] == [800_000, 1_600_000, 2_400_000]
    assert fair.wait_us(heavy, SECOND_US) == 266_666


def test_a_reload_keeps_who_is_in_flight_and_who_waits() -> None:
    fair = FairShare(rules(2))
    running = [enter(fair, "team:b") for _ in range(2)]
    assert len(admitted(fair)) == 2
    waiting = [enter(fair, "team:b"), enter(fair, "team:a")]
    fair.configure(CapacityRules("p", 3, shares=(ShareRule("team", "a", 1),)))
    assert admitted(fair) == [waiting[1]], "the share that is gone has more than its part"
    for ticket in running:
        fair.leave(ticket, 1, 1)
    assert admitted(fair, 1) == [waiting[0]]
    assert fair.in_flight == 2


# Rates


def test_a_rate_is_shared_by_weight_while_all_want_it() -> None:
    fair = FairShare(rules(requests_per_minute=600))
    served: Counter[str] = Counter()
    for second in range(60):
        now_us = second * SECOND_US
        for share in WEIGHTS:
            for _ in range(60 if second == 0 else 10):
                enter(fair, share, now_us)
        served += shares_of(admitted(fair, now_us))
    assert served["team:a"] == pytest.approx(3 * served["team:b"], rel=0.05)
    assert served["team:b"] == pytest.approx(served[OTHERS], rel=0.05)
    assert 590 <= sum(served.values()) <= 600 + 60 + 3


def test_a_rate_that_others_do_not_use_is_lent_and_is_back_at_once() -> None:
    fair = FairShare(rules(requests_per_minute=600))
    lent = 0
    for second in range(61):
        for _ in range(40):
            enter(fair, "team:b", second * SECOND_US)
        lent += len(admitted(fair, second * SECOND_US))
    assert lent >= 600, "all of the rate"
    returning = [enter(fair, "team:a", 61 * SECOND_US) for _ in range(10)]
    assert set(returning) <= set(admitted(fair, 61 * SECOND_US))


def test_tokens_are_put_right_when_a_call_ends_and_a_large_call_is_let_in_all_the_same() -> None:
    fair = FairShare(rules(tokens_per_minute=60_000))
    large = enter(fair, "team:a", tokens=50_000)
    assert admitted(fair) == [large]
    small = enter(fair, "team:a", tokens=2_000)
    assert admitted(fair) == []
    at_us = fair.opens_at_us(0)
    assert at_us is not None
    assert at_us > 0
    fair.leave(large, 1_000, 1)
    assert admitted(fair, 1) == [small]


@given(
    st.lists(st.tuples(st.integers(0, 500_000), st.sampled_from(sorted(WEIGHTS)), st.integers(1, 900)), max_size=80),
    st.integers(1, 400),
    st.integers(1, 40_000),
)
def test_no_stretch_of_time_lets_more_through_than_the_rates(asks, requests, tokens) -> None:
    fair = FairShare(rules(requests_per_minute=requests, tokens_per_minute=tokens))
    now_us, seen = 0, []
    for step_us, share, size in asks:
        now_us += step_us
        enter(fair, share, now_us, tokens=size)
        seen += [(now_us, ticket.tokens) for ticket in admitted(fair, now_us)]
    for start, (from_us, _) in enumerate(seen):
        for end in range(start, len(seen)):
            passed_min = (seen[end][0] - from_us) / 60e6
            assert end - start + 1 <= requests * passed_min + requests / 10 + len(WEIGHTS) + 1
            # A bucket may be overdrawn by the one call that finds it full: one for each share.
            used = sum(size for _, size in seen[start : end + 1])
            assert used <= tokens * passed_min + tokens / 10 + len(WEIGHTS) * 900 + len(WEIGHTS) + 1


# Invariants


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[tuple[str, int, int]]]:
    """A number of slots, and arrivals, departures and leavings from the line, with pauses between them."""
    moves = st.tuples(
        st.sampled_from(["enter", "enter", "leave", "withdraw"]), st.integers(0, 10**6), st.integers(0, 9_000_000)
    )
    return draw(st.integers(1, 12)), draw(st.lists(moves, max_size=120))


@settings(max_examples=200)
@given(histories())
def test_bounds_guarantees_and_lending_hold_in_every_history(history) -> None:
    slots, moves = history
    fair, now_us = FairShare(rules(slots)), 0
    waiting: list[Ticket] = []
    running: list[Ticket] = []
    names = sorted(WEIGHTS)
    for move, choice, pause_us in moves:
        now_us += pause_us
        entitled = {t.share.name for t in waiting if t.share.in_flight * 5 < t.share.weight * slots}
        if move == "enter":
            waiting.append(enter(fair, names[choice % 3], now_us, key=f"k{choice % 4}", model=f"m{choice % 2}"))
        elif move == "leave" and running:
            fair.leave(running.pop(choice % len(running)), choice % 50, now_us)
        elif move == "withdraw" and waiting:
            fair.withdraw(waiting.pop(choice % len(waiting)))
        passed = admitted(fair, now_us)
        running += passed
        waiting = [ticket for ticket in waiting if not ticket.admitted]
        if move == "leave" and entitled and passed:
            assert passed[0].share.in_flight <= -(-passed[0].share.weight * slots // 5), "guarantees go first"
        assert fair.in_flight == len(running) <= slots
        assert fair.waiting == len(waiting)
        free = slots - len(running)
        for ticket in waiting:
            below = ticket.share.in_flight * 5 < ticket.share.weight * slots
            assert not (free and below), "nobody below its guarantee waits while a slot is free"
        kept_at_most = sum(max(0, -(-slots * s.weight // 5) - s.in_flight) for s in fair.shares.values())
        assert not waiting or free <= kept_at_most, "what is not kept free is lent"
    assert all(share.in_flight >= 0 and share.waiting >= 0 for share in fair.shares.values())


@given(histories())
def test_whoever_waits_gets_its_turn_while_calls_end(history) -> None:
    slots, moves = history
    fair = FairShare(rules(slots))
    names = sorted(WEIGHTS)
    tickets = [enter(fair, names[choice % 3], key=f"k{choice % 5}") for _, choice, _ in moves]
    running, now_us, rounds = admitted(fair), 0, 0
    while running:
        now_us += 1
        rounds += 1
        fair.leave(running.pop(0), 1, now_us)
        running += admitted(fair, now_us)
    assert rounds == len(tickets)
    assert (fair.waiting, fair.in_flight) == (0, 0)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(2, 40))
def test_under_full_load_no_share_is_more_than_one_call_from_its_weight(weights, slots) -> None:
    """Whatever the weights: a call ends, the next one starts, and in the long run each has its part."""
    named = tuple(ShareRule("team", f"t{index}", weight) for index, weight in enumerate(weights))
    fair = FairShare(CapacityRules("p", slots, shares=named))
    names = [share.name for share in named] + [OTHERS]
    for name in names:
        for _ in range(slots):
            enter(fair, name)
    running = admitted(fair)
    for step in range(4 * slots):
        ended = running.pop(0)
        fair.leave(ended, 1, step)
        enter(fair, ended.share.name, step)
        running += admitted(fair, step)
    assert len(running) == slots
    for share in fair.shares.values():
        assert abs(share.in_flight - slots * share.weight / fair.rules.weight) < 1


# Isolation (C10), without a gateway

SERVICE_US = 100_000


def latencies_us(slots: int, seconds: int, **a_second: int) -> dict[str, list[int]]:
    """Calls of a team arrive evenly, so many a second, those of team a from the second second on; how long each took
    from its arrival to its end."""
    fair = FairShare(rules(slots))
    events: list[tuple[int, int, str, Ticket | None]] = []
    for team, rate in a_second.items():
        from_us = SECOND_US if team == "a" else 0
        events += [
            (from_us + n * SECOND_US // rate + n % 7_001, n, f"team:{team}", None) for n in range(rate * seconds)
        ]
    heapq.heapify(events)
    arrived: dict[Ticket, int] = {}
    took: dict[str, list[int]] = {team: [] for team in a_second}
    while events:
        now_us, _, share, ended = heapq.heappop(events)
        if ended is not None:
            fair.leave(ended, 1, now_us)
            took[share.removeprefix("team:")].append(now_us - arrived.pop(ended))
        elif fair.has_place(share, share):
            arrived[enter(fair, share, now_us)] = now_us
        for ticket in admitted(fair, now_us):
            heapq.heappush(events, (now_us + SERVICE_US, -ticket.number, ticket.share.name, ticket))
    return took


def p99(values: list[int]) -> int:
    return sorted(values)[len(values) * 99 // 100]


@pytest.mark.parametrize("slots", [5, 10, 20, 64])
def test_a_noisy_share_at_ten_times_its_part_does_not_move_a_quiet_one(slots) -> None:
    """The quiet one uses half of its own part; the noisy one asks for ten times as much as its part can serve."""
    can_serve = slots * SECOND_US // SERVICE_US
    quiet, noisy = can_serve // 5 // 2, can_serve * 3 // 5 * 10
    alone, beside = latencies_us(slots, 6, b=quiet), latencies_us(slots, 6, b=quiet, a=noisy)
    served, p99_alone, p99_beside = len(beside["b"]), p99(alone["b"]), p99(beside["b"])
    assert served == quiet * 6
    assert p99_beside <= 1.05 * p99_alone
    noisy_served = len(beside["a"])
    assert noisy_served > 0.6 * can_serve * 6, "and the noisy one has the rest"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "withdraw"]), st.integers(0, 11)), max_size=60))
def test_c10_who_would_stay_out_has_no_place_and_is_not_let_in(steps: list[tuple[str, int]]) -> None:
    """The answer without a ticket is that of standing in line, for every share, model and key."""
    who = [(share, model, key) for share in WEIGHTS for model in ("m", "n") for key in ("k", "l")]
    fair = FairShare(rules(2, line_max=9))
    tickets: list[Ticket] = []
    for step, number in steps:
        if step == "enter":
            tickets.append(fair.enter(*who[number], 1, 0))
        elif tickets:
            ticket = tickets.pop(number % len(tickets))
            fair.withdraw(ticket) if step == "withdraw" else fair.leave(ticket, 1, 0)
        admitted(fair)
        for share, model, key in who:
            if fair.stays_out(share, model, key):
                assert not fair.has_place(share, key)
                more = fair.enter(share, model, key, 1, 0)
                assert more not in admitted(fair)
                fair.withdraw(more)
