"""What a grant does to calls that wait, to those in flight and to request rates."""

import asyncio

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask
from gateway.core.grant import Grant, Grants
from gateway.core.hold import Hold
from gateway.core.ledger import Amounts
from gateway.core.limit import Limit, Unit
from gateway.core.window import parse
from gateway.limiter.memory import MemoryLimiter
from tests.limiter.listed_books import ListedBooks, terms

NOW_US = 1_795_521_600_000_000
SECOND_US = 1_000_000
ALICE = Attribution("key_1", "one", user="alice", model="m")
DAY = Limit("day", Unit.TOKENS, 100, parse("day"), each="user")
MINUTE = Limit("minute", Unit.REQUESTS, 60, parse("minute"), each="user", burst=1)


def limiter(*limits: Limit) -> MemoryLimiter:
    made = MemoryLimiter(ListedBooks(), terms, NOW_US - 1)
    made.configure(limits, {}, NOW_US - 1)
    return made


def grants(limit: str, amount: int, *, from_us: int = 0, for_us: int = 3_600 * SECOND_US) -> Grants:
    begins_us = NOW_US + from_us
    return Grants((Grant("req_1", limit, "user:alice", amount, begins_us, begins_us + for_us),))


async def reserve(made: MemoryLimiter, tokens: int, at_us: int = NOW_US) -> object:
    bindings = made.bindings(ALICE, "ses_1", ())
    await made.load(bindings, "ses_1", at_us, fresh_session=True)
    return made.reserve("call", ALICE, "ses_1", bindings, Ask(Amounts(tokens, requests=1)), at_us)


async def test_a_call_that_waits_for_room_is_woken() -> None:
    made = limiter(DAY)
    waiting = asyncio.create_task(made.freed(60.0))
    await asyncio.sleep(0)
    made.grant(grants("day", 50), NOW_US)
    assert await asyncio.wait_for(waiting, 5.0) is True


async def test_a_call_in_flight_is_bound_by_it_at_its_next_top_up_and_until_its_microsecond() -> None:
    made = limiter(DAY)
    hold = await reserve(made, 100)
    assert isinstance(hold, Hold)
    more = Amounts(output_tokens=20)
    assert not made.top_up(hold, more, NOW_US)
    made.grant(grants("day", 50, for_us=SECOND_US), NOW_US)
    assert made.top_up(hold, more, NOW_US)
    assert made.top_up(hold, more, NOW_US + SECOND_US - 1)
    assert [short.amount for short in made.lacking(hold, more, NOW_US + SECOND_US - 1)] == [150]
    assert [short.amount for short in made.lacking(hold, more, NOW_US + SECOND_US)] == [100]
    made.settle(hold, Amounts(100, 40))
    (view,) = made.views(NOW_US + SECOND_US)
    assert (view.spent, view.held, view.limit, view.granted) == (140, 0, 100, 0)


async def test_a_raise_to_come_begins_at_its_microsecond() -> None:
    made = limiter(DAY)
    made.grant(grants("day", 50, from_us=SECOND_US), NOW_US)
    assert not isinstance(await reserve(made, 120, NOW_US + SECOND_US - 1), Hold)
    assert isinstance(await reserve(made, 120, NOW_US + SECOND_US), Hold)


async def test_a_request_rate_is_raised_and_falls_back() -> None:
    made = limiter(MINUTE)
    assert isinstance(await reserve(made, 1), Hold)
    made.grant(grants("minute", 60, for_us=10 * SECOND_US), NOW_US)
    half_us = SECOND_US // 2
    let_in = [isinstance(await reserve(made, 1, NOW_US + at_us), Hold) for at_us in (2 * half_us, 3 * half_us)]
    assert let_in == [True, True], "what came before the raise keeps its place in time"
    assert not isinstance(await reserve(made, 1, NOW_US + 4 * half_us - 1), Hold)
    after_us = NOW_US + 11 * SECOND_US
    let_in = [isinstance(await reserve(made, 1, after_us + at_us), Hold) for at_us in (0, half_us, 2 * half_us)]
    assert let_in == [True, False, True]


async def test_a_limit_with_a_grant_is_drawn_on_only_beyond_what_it_allows_anyway() -> None:
    made = limiter(DAY)
    made.grant(grants("day", 50), NOW_US)
    hold = await reserve(made, 100)
    assert made.drawn() == {}
    assert isinstance(hold, Hold)
    assert made.top_up(hold, Amounts(output_tokens=30), NOW_US + 5)
    assert made.drawn() == {("day", "user:alice"): (NOW_US + 5, 30)}
    assert made.drawn() == {}


async def test_a_grant_outlives_a_reload_and_a_counter_that_left_memory() -> None:
    made = limiter(DAY)
    made.grant(grants("day", 50), NOW_US)
    made.configure((DAY, MINUTE), {}, NOW_US)
    hold = await reserve(made, 150)
    assert isinstance(hold, Hold)
    made.void(hold)
    made.sweep(NOW_US + 2, 1)
    assert made.views(NOW_US + 2) == []
    assert isinstance(await reserve(made, 150, NOW_US + 3), Hold)
