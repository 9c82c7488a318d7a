"""Which denial a caller gets: final or transient, held or gone, with figures that add up and a wait that is true."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import Ask, Shortfall, amount_of, only_waiting, refusal
from gateway.core.denial import TRANSIENT, Code
from gateway.core.ledger import Amounts
from gateway.core.limit import Limit, Unit
from gateway.core.window import parse

NOW_US = 1_795_521_600_000_000
SECOND_US = 1_000_000
HELD_WAIT_S = 3.5


def limit(name: str = "day", unit: Unit = Unit.TOKENS, window: str = "day", each: str | None = None) -> Limit:
    return Limit(name, unit, 1_000, parse(window), each=each)


def short(
    spent: int = 0,
    held: int = 0,
    asked: int = 100,
    *,
    of: Limit | None = None,
    resets_in_s: float | None = 3_600,
    wait_us: int | None = None,
) -> Shortfall:
    resets_us = None if resets_in_s is None else NOW_US + int(resets_in_s * SECOND_US)
    return Shortfall(of or limit(), "user:alice", 1_000, spent, held, asked, resets_us, wait_us)


SESSION = limit("session-tokens", window="session", each="session")
RATE = limit("agent-rate", Unit.REQUESTS, "minute")
PARALLEL = limit("parallel", Unit.CONCURRENT, "total")
OPENED = limit("new-sessions", Unit.SESSIONS, "1h")


@pytest.mark.parametrize(
    ("shortfall", "code", "retry_after_s"),
    [
        (short(950), Code.BUDGET_EXHAUSTED, None),
        (short(950, resets_in_s=60), Code.RATE_LIMITED, 60.0),
        (short(950, resets_in_s=60.000001), Code.BUDGET_EXHAUSTED, None),
        (short(950, resets_in_s=None), Code.BUDGET_EXHAUSTED, None),
        (short(950, of=SESSION, resets_in_s=None), Code.SESSION_BUDGET_EXHAUSTED, None),
        (short(0, asked=1_001, resets_in_s=5), Code.BUDGET_EXHAUSTED, None),  # larger than the limit itself
        (short(0, asked=1_001, of=SESSION, resets_in_s=None), Code.SESSION_BUDGET_EXHAUSTED, None),
        (short(900, 50, asked=100), Code.BUDGET_HELD, HELD_WAIT_S),
        (short(901, 50, asked=100), Code.BUDGET_EXHAUSTED, None),
        (short(900, 50, asked=100, of=SESSION, resets_in_s=None), Code.BUDGET_HELD, HELD_WAIT_S),
        (short(1_000, asked=1, of=RATE, wait_us=1_500_000), Code.RATE_LIMITED, 1.5),
        (short(1_000, asked=1, of=RATE, wait_us=60 * SECOND_US + 1), Code.BUDGET_EXHAUSTED, None),
        (short(0, 1_000, asked=1, of=PARALLEL, resets_in_s=None), Code.CONCURRENCY_LIMITED, HELD_WAIT_S),
        (short(1_000, asked=1, of=OPENED, resets_in_s=None), Code.SESSION_LIMIT, None),
        (short(990, 10, asked=1, of=OPENED, resets_in_s=None), Code.SESSION_LIMIT, None),  # what opens stays open
    ],
)
def test_rule_29_final_or_transient(shortfall: Shortfall, code: Code, retry_after_s: float | None) -> None:
    denial = refusal((shortfall,), NOW_US, HELD_WAIT_S)
    assert (denial.code, denial.retry_after_s) == (code, retry_after_s)
    assert denial.final == (retry_after_s is None)


def test_rule_30_what_binds_first_is_named_and_ties_go_by_file_order() -> None:
    loose, tight = short(940, of=limit("loose")), short(960, of=limit("tight"))
    named = [refusal(each, NOW_US, HELD_WAIT_S).limit for each in ((loose, tight), (tight, loose))]
    assert [facts.name for facts in named if facts] == ["tight", "tight"]
    first, second = short(960, of=limit("first")), short(960, of=limit("second"))
    facts = refusal((first, second), NOW_US, HELD_WAIT_S).limit
    assert facts is not None
    assert facts.name == "first"


@pytest.mark.parametrize(
    ("shortfalls", "code", "name", "retry_after_s"),
    [
        # a final one before any transient one, however tight that is
        ((short(999, asked=1, of=RATE, wait_us=5), short(901)), Code.BUDGET_EXHAUSTED, "day", None),
        ((short(0, 1_000, 1, of=PARALLEL, resets_in_s=None), short(901)), Code.BUDGET_EXHAUSTED, "day", None),
        ((short(1_000, asked=1, of=RATE, wait_us=5), short(1_000, asked=1, of=OPENED)), Code.SESSION_LIMIT, "", None),
        # held room is not what refuses where something else does
        (
            (short(100, 850), short(1_000, asked=1, of=RATE, wait_us=2 * SECOND_US)),
            Code.RATE_LIMITED,
            "agent-rate",
            2.0,
        ),
        (
            (short(100, 850), short(950, of=SESSION, resets_in_s=None)),
            Code.SESSION_BUDGET_EXHAUSTED,
            "session-tokens",
            None,
        ),
        (
            (short(100, 850), short(100, 860, of=SESSION, resets_in_s=None)),
            Code.BUDGET_HELD,
            "session-tokens",
            HELD_WAIT_S,
        ),
        # the wait is that of the slowest, or the retry would only meet the other one
        (
            (short(1_000, asked=1, of=RATE, wait_us=2 * SECOND_US), short(950, resets_in_s=40)),
            Code.RATE_LIMITED,
            "agent-rate",
            40.0,
        ),
    ],
)
def test_rule_30_several_refusals(
    shortfalls: tuple[Shortfall, ...], code: Code, name: str, retry_after_s: float | None
) -> None:
    denial = refusal(shortfalls, NOW_US, HELD_WAIT_S)
    assert denial.limit is not None
    assert (denial.code, denial.retry_after_s) == (code, retry_after_s)
    assert name in ("", denial.limit.name)


amounts = st.integers(0, 1_200)


@st.composite
def real_shortfalls(draw: st.DrawFn) -> Shortfall:
    of = draw(st.sampled_from([limit(), SESSION, PARALLEL, OPENED, limit("m", Unit.USD, "month")]))
    spent = 0 if of is PARALLEL else draw(amounts)
    asked = draw(st.integers(1, 1_200))
    held = draw(st.integers(max(0, 1_001 - spent - asked), 2_000))
    return short(spent, held, asked, of=of, resets_in_s=draw(st.none() | st.integers(1, 10_000)))


@given(st.lists(real_shortfalls(), min_size=1, max_size=5).map(tuple))
def test_rule_30_held_if_and_only_if_it_fits_what_is_posted_alone(shortfalls: tuple[Shortfall, ...]) -> None:
    denial = refusal(shortfalls, NOW_US, HELD_WAIT_S)
    waits = all(
        s.spent + s.asked <= s.amount and s.limit.unit not in (Unit.CONCURRENT, Unit.SESSIONS) for s in shortfalls
    )
    assert (denial.code is Code.BUDGET_HELD) == waits == only_waiting(shortfalls)
    assert (denial.retry_after_s is not None) == (denial.code in TRANSIENT)
    assert denial.limit in [s.facts for s in shortfalls]


@given(real_shortfalls())
def test_rule_30_the_figures_add_up_and_explain_the_refusal(shortfall: Shortfall) -> None:
    denial = refusal((shortfall,), NOW_US, HELD_WAIT_S)
    machine = denial.machine()["limit"]
    usd = 1_000_000 if shortfall.limit.unit is Unit.USD else 1
    figures = {name: round(machine[name] * usd) for name in ("limit", "spent", "held", "remaining", "asked")}
    assert figures["remaining"] == max(0, figures["limit"] - figures["spent"] - figures["held"])
    assert figures["asked"] > figures["remaining"]
    assert shortfall.limit.name in denial.message


@pytest.mark.parametrize(
    ("shortfall", "parts"),
    [
        (short(900, asked=200), ["900 tokens spent", "0 tokens held of 1,000 tokens", "needs 200 tokens", "resets at"]),
        (short(1_000, asked=1), ["1,000 tokens spent", "needs 1 token."]),
        (short(0, asked=1_001), ["more than the whole limit"]),
        (short(950, of=SESSION, resets_in_s=None), ["retrying does not help"]),
        (short(900, 100), ["held by calls in flight", "retry in about 4 s"]),
        (short(1_000, asked=1, of=RATE, wait_us=1_500_000), ["1000 requests a minute", "retry in 1.5 s"]),
        (short(0, 1_000, asked=1, of=PARALLEL), ["1000 calls at once"]),
        (short(500, asked=501, of=limit("m", Unit.USD, "month")), ["0.0005 USD spent", "needs 0.000501 USD"]),
    ],
)
def test_messages_say_what_how_much_and_what_to_do(shortfall: Shortfall, parts: list[str]) -> None:
    message = refusal((shortfall,), NOW_US, HELD_WAIT_S).message
    assert "user:alice" in message
    assert [part for part in parts if part not in message] == []


USED = Amounts(input_tokens=100, output_tokens=20, cached_input_tokens=60, usd_micros=7_000, requests=1, tool_calls=2)


@pytest.mark.parametrize(
    ("unit", "amount"),
    [
        (Unit.TOKENS, 120),
        (Unit.UNCACHED_TOKENS, 60),
        (Unit.INPUT_TOKENS, 100),
        (Unit.OUTPUT_TOKENS, 20),
        (Unit.USD, 7_000),
        (Unit.REQUESTS, 1),
        (Unit.TOOL_CALLS, 2),
        (Unit.CONCURRENT, 3),
        (Unit.SESSIONS, 4),
    ],
)
def test_rule_25_what_each_unit_counts(unit: Unit, amount: int) -> None:
    assert amount_of(unit, Ask(USED, sessions=4, concurrent=3)) == amount
