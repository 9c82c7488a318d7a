"""Every window, at the edges where calendars are odd, with every unit and every action: against a plain model.

The model knows nothing of spans: two moments are in one window if a wall clock in the limit's zone shows the same day,
week or month for both.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.attribution import Attribution
from gateway.core.hold import Hold
from gateway.core.ledger import Amounts
from gateway.core.limit import METERED_UNITS, Action, Limit, Mode, Unit
from gateway.core.window import parse
from tests.limiter.clocked import Clocked

ALICE = Attribution("key_1", "one", user="alice", model="m", roles=("contractor",))
BOB = Attribution("key_2", "two", user="bob", model="m")
SECOND_US = 1_000_000
LIMIT = 12

# window, zone, first moment, first moment after it; in UTC. All as calendars and the time zone database have it.
EDGES = [
    ("day", "UTC", "2026-11-25T00:00:00", "2026-11-26T00:00:00"),
    ("day", "UTC", "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
    ("day", "UTC", "2027-02-28T00:00:00", "2027-03-01T00:00:00"),
    ("day", "UTC", "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
    ("day", "Europe/Berlin", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
    ("day", "Europe/Berlin", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),
    ("day", "America/New_York", "2026-03-08T05:00:00", "2026-03-09T04:00:00"),
    ("day", "America/New_York", "2026-11-01T04:00:00", "2026-11-02T05:00:00"),
    ("day", "Australia/Lord_Howe", "2026-04-04T13:00:00", "2026-04-05T13:30:00"),
    ("day", "Asia/Kathmandu", "2028-02-28T18:15:00", "2028-02-29T18:15:00"),
    ("day", "America/Santiago", "2026-09-06T04:00:00", "2026-09-07T03:00:00"),
    ("week", "UTC", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
    ("week", "UTC", "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
    ("week", "Europe/Berlin", "2026-03-22T23:00:00", "2026-03-29T22:00:00"),
    ("week", "Pacific/Auckland", "2026-04-05T12:00:00", "2026-04-12T12:00:00"),
    ("week", "Pacific/Auckland", "2026-03-29T11:00:00", "2026-04-05T12:00:00"),
    ("month", "UTC", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
    ("month", "UTC", "2027-02-01T00:00:00", "2027-03-01T00:00:00"),
    ("month", "UTC", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    ("month", "Europe/Berlin", "2026-02-28T23:00:00", "2026-03-31T22:00:00"),
    ("month", "Europe/Berlin", "2026-09-30T22:00:00", "2026-10-31T23:00:00"),
    ("month", "Asia/Kolkata", "2026-12-31T18:30:00", "2027-01-31T18:30:00"),
    ("hour", "UTC", "2026-03-29T01:00:00", "2026-03-29T02:00:00"),
    ("hour", "Asia/Kathmandu", "2026-03-29T01:00:00", "2026-03-29T02:00:00"),
    ("minute", "Europe/Berlin", "2026-10-25T00:59:00", "2026-10-25T01:00:00"),
]
SUMMED = [unit for unit in Unit if unit is not Unit.CONCURRENT]
REFUSING = (Action.BLOCK, Action.PAUSE, Action.ROUTE_TO)


def us(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * SECOND_US


def limit(window: str, zone: str = "UTC", **fields: object) -> Limit:
    made = {"unit": Unit.TOKENS, "amount": LIMIT, "action": Action.BLOCK, **fields}
    return Limit("l", window=parse(window), timezone=ZoneInfo(zone), **made)  # type: ignore[arg-type]


def is_rate(unit: Unit, window: str) -> bool:
    return unit is Unit.REQUESTS and window in ("minute", "hour")


SUMMED_EDGES = [(*edge, unit) for edge in EDGES for unit in SUMMED if not is_rate(unit, edge[0])]


@pytest.mark.parametrize(("window", "zone", "first", "after"), EDGES)
def test_rule_26_a_calendar_window_begins_and_ends_where_the_calendar_says(
    window: str, zone: str, first: str, after: str
) -> None:
    node = Clocked((limit(window, zone),), us(first) - 1)
    assert node.spend(ALICE, 5)
    node.now_us = us(first)
    assert node.most(ALICE) == 12
    assert node.spend(ALICE, 7)
    node.now_us = us(after) - 1
    assert node.most(ALICE) == 5
    assert node.view(ALICE).resets_at_us == us(after)
    node.restart()
    assert node.most(ALICE) == 5
    node.now_us = us(after)
    assert node.most(ALICE) == 12
    node.restart()
    assert node.most(ALICE) == 12


@pytest.mark.parametrize(("window", "zone", "first", "after", "unit"), SUMMED_EDGES)
def test_rule_26_a_call_that_crosses_the_edge_is_charged_once_to_the_window_of_its_hold(
    window: str, zone: str, first: str, after: str, unit: Unit
) -> None:
    node = Clocked((limit(window, zone, unit=unit),), us(after) - 1)
    crossing = node.hold(ALICE, 10)
    assert isinstance(crossing, Hold)
    node.now_us = us(after) + SECOND_US
    assert node.most(ALICE) == 12
    assert node.spend(ALICE, 4)
    draws = unit in METERED_UNITS
    assert node.limiter.top_up(crossing, Amounts(3, 3, 0, 3), node.now_us) is not draws
    assert node.limiter.top_up(crossing, Amounts(1, 1, 0, 2), node.now_us)
    node.settle(crossing, 11)
    assert node.view(ALICE).held == 0
    assert node.most(ALICE) == 8
    assert node.now_us > us(first)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("window", ["minute", "hour", "day", "week", "month", "5h", "session", "total"])
def test_rule_28_every_unit_and_window_with_every_action(window: str, unit: Unit, action: Action, mode: Mode) -> None:
    made = limit(window, unit=unit, action=action, mode=mode, each="session" if window == "session" else None)
    node = Clocked((replace(made, burst=LIMIT if is_rate(unit, window) else None),), us("2026-11-25T10:00:00"))
    first = node.hold(ALICE, LIMIT)
    assert isinstance(first, Hold)
    assert not first.warnings
    if unit is not Unit.CONCURRENT:
        node.settle(first, LIMIT)
    taken = node.hold(ALICE, 1)
    if mode is Mode.ENFORCE and action in REFUSING:
        assert not isinstance(taken, Hold)
        assert [(s.limit.name, s.asked, s.limit.hard) for s in taken] == [("l", 1, True)]
        assert node.hold(ALICE, 1, slowed=True) == taken
    elif mode is Mode.ENFORCE and action is Action.THROTTLE:
        assert not isinstance(taken, Hold)
        assert [s.limit.hard for s in taken] == [False]
        assert 0 < node.limiter.pace(taken, node.now_us) <= 300 * SECOND_US
        assert isinstance(node.hold(ALICE, 1, slowed=True), Hold) is not is_rate(unit, window)
    else:
        assert isinstance(taken, Hold)
        assert [s.limit.observed for s in taken.warnings] == [mode is Mode.OBSERVE and action in REFUSING]
        if unit is not Unit.CONCURRENT and not is_rate(unit, window):
            node.settle(taken, 1)
            assert node.view(ALICE).spent == LIMIT + 1


@pytest.mark.parametrize("unit", [unit for unit in SUMMED if unit is not Unit.SESSIONS])
def test_rule_26_a_rolling_window_forgets_by_buckets_and_never_too_early(unit: Unit) -> None:
    node = Clocked((limit("60m", unit=unit),), us("2026-10-25T00:30:30"))
    assert node.spend(ALICE, 12)
    node.now_us += 60 * 60 * SECOND_US
    assert node.most(ALICE) == 0
    node.restart()
    assert node.most(ALICE) == 0
    node.now_us += 30 * SECOND_US - 1
    assert node.most(ALICE) == 0
    node.now_us += 1
    assert node.most(ALICE) == 12


@pytest.mark.parametrize("window", ["minute", "hour", "day", "week", "month", "5h", "total"])
def test_a_limit_that_changes_in_its_window_counts_what_was_spent_before(window: str) -> None:
    node = Clocked((limit(window),), us("2026-11-25T10:00:00"))
    assert node.spend(ALICE, 8)
    running = node.hold(ALICE, 2)
    assert isinstance(running, Hold)
    node.change(limit(window, amount=20))
    assert node.most(ALICE) == 10
    node.change(limit(window, amount=5))
    assert node.most(ALICE) == 0
    assert not node.limiter.top_up(running, Amounts(1), node.now_us)
    node.settle(running, 2)
    node.change(limit(window, amount=11))
    assert node.most(ALICE) == 1
    node.restart()
    assert node.most(ALICE) == 1


def test_several_limits_bind_at_once_and_the_tightest_decides() -> None:
    limits = (
        replace(limit("day"), name="org", amount=100),
        replace(limit("month"), name="user", each="user", amount=40),
        replace(limit("5h"), name="role", where=(("role", "contractor"),), amount=25),
        replace(limit("hour"), name="warned", amount=5, action=Action.WARN),
        replace(limit("hour"), name="tried", amount=6, mode=Mode.OBSERVE),
    )
    node = Clocked(limits, us("2026-11-25T10:00:00"))
    assert (node.most(ALICE), node.most(BOB)) == (25, 40)
    taken = node.hold(ALICE, 25)
    assert isinstance(taken, Hold)
    assert [s.limit.name for s in taken.warnings] == ["warned", "tried"]
    node.settle(taken, 25)
    assert (node.most(ALICE), node.most(BOB)) == (0, 40)
    assert node.spend(BOB, 40)
    assert node.most(BOB) == 0
    node.now_us += 6 * 3_600 * SECOND_US
    assert (node.most(ALICE), node.most(BOB)) == (15, 0)
    node.now_us += 86_400 * SECOND_US
    assert (node.most(ALICE), node.most(BOB)) == (15, 0)
    node.now_us = us("2026-12-01T00:00:00")
    assert (node.most(ALICE), node.most(BOB)) == (25, 40)


def test_overrides_go_up_and_down_and_the_most_specific_wins() -> None:
    made = limit("day", each="user", overrides=(("role:contractor", 4), ("user:bob", 30), ("model:m", 2)))
    node = Clocked((made,), us("2026-11-25T10:00:00"))
    assert (node.most(ALICE), node.most(BOB)) == (4, 30)
    assert node.most(replace(ALICE, roles=())) == 2
    assert node.most(replace(ALICE, roles=(), model="n")) == 12
    node.spend(BOB, 20)
    node.change(replace(made, overrides=(("user:bob", 21),)))
    assert (node.most(ALICE), node.most(BOB)) == (12, 1)


@dataclass
class Booked:
    at_us: int
    amount: int
    hold: Hold | None


def shown(zone: tzinfo, form: Callable[[datetime], object]) -> Callable[[int], object]:
    return lambda at_us: form((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(zone))


FORMS: dict[str, Callable[[datetime], object]] = {
    "minute": lambda at: at.astimezone(UTC).replace(second=0, microsecond=0),
    "hour": lambda at: at.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
    "day": lambda at: at.date(),
    "week": lambda at: tuple(at.isocalendar())[:2],
    "month": lambda at: (at.year, at.month),
    "total": lambda _: 0,
}
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Auckland"]
BEGINNINGS = [us(moment) for moment in ("2026-03-28T20:00:00", "2026-10-24T20:00:00", "2028-02-27T12:00:00")]
MOVES = st.tuples(st.integers(0, 3), st.integers(0, 14), st.sampled_from([0, 1, 59, 1_800, 3_601, 40_000, 86_400]))


@settings(max_examples=150, deadline=None)
@given(
    window=st.sampled_from([*FORMS, "90m", "5h", "7d"]),
    zone=st.sampled_from(ZONES),
    unit=st.sampled_from([unit for unit in SUMMED if unit is not Unit.SESSIONS]),
    start_us=st.sampled_from(BEGINNINGS),
    moves=st.lists(MOVES, max_size=40),
)
def test_rule_26_any_calls_in_any_window_agree_with_a_plain_model(
    window: str, zone: str, unit: Unit, start_us: int, moves: list[tuple[int, int, int]]
) -> None:
    if is_rate(unit, window):
        return
    amount = LIMIT
    node = Clocked((limit(window, zone, unit=unit),), start_us)
    booked: list[Booked] = []
    length_us = parse(window).length_us
    wide = shown(ZoneInfo(zone), FORMS.get(window, lambda _: 0))

    def counted(call: Booked) -> bool:
        if not length_us:
            return wide(call.at_us) == wide(node.now_us)
        bucket_us = length_us // 60
        return call.hold is not None or call.at_us // bucket_us * bucket_us + bucket_us > node.now_us - length_us

    for what, number, seconds in moves:
        node.now_us += seconds * SECOND_US
        used = sum(call.amount for call in booked if counted(call))
        assert node.view(ALICE).spent + node.view(ALICE).held == used
        if what == 0:
            taken = node.hold(ALICE, number)
            assert isinstance(taken, Hold) is (number == 0 or used + number <= amount)
            if isinstance(taken, Hold):
                booked.append(Booked(node.now_us, number, taken))
        elif what == 1:
            flying = [call for call in booked if call.hold is not None]
            if flying:
                call = flying[number % len(flying)]
                assert call.hold is not None
                node.settle(call.hold, number)
                call.amount, call.hold = number, None
        elif what == 2:
            amount = max(1, number * 2)
            node.change(limit(window, zone, unit=unit, amount=amount))
        elif not any(call.hold for call in booked):
            node.restart()
