"""Trees of any shape over real books: no node ever holds more than its part or its limit, and at rest every counter is
what the ledger says, also after a restart (rule 16)."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask
from gateway.core.child_part import CHILD_PARTS
from gateway.core.hold import Hold
from gateway.core.ledger import Amounts, SessionChanged
from gateway.core.limit import Limit, Unit
from gateway.core.session import CHILD, Lineage, Part, Place, Session, SessionMark, SessionState
from gateway.core.window import parse
from gateway.limiter.memory import MemoryLimiter
from gateway.storage.books import SqliteBooks
from tests.storage.entries import MIDNIGHT_US, placed, settled

CALLERS = (Attribution("key_1", "one", user="alice", agent="planner"), Attribution("key_2", "two", agent="searcher"))
LIMITS = (
    Limit("session-tokens", Unit.TOKENS, 300, parse("session"), each="session"),
    Limit("session-hour", Unit.REQUESTS, 12, parse("1h"), each="session"),
    Limit("planner-session", Unit.USD, 500, parse("session"), each="session", where=(("agent", "planner"),)),
)


@dataclass(frozen=True)
class Shape:
    """`parents[i]` is the place of the parent of node i + 1 among the nodes before it; `parts[i]` its token part."""

    parents: list[int]
    parts: list[int]

    def lineages(self) -> list[Lineage]:
        own = [Place("ses_0")]
        found: list[Lineage] = [(own[0],)]
        for number, (parent, part) in enumerate(zip(self.parents, self.parts, strict=True), 1):
            place = Place(f"ses_{number}", (Part(Unit.TOKENS, part),))
            found.append((place, *found[parent % number]))
        return [() if len(lineage) == 1 else lineage for lineage in found]


shapes = st.integers(1, 7).flatmap(
    lambda n: st.builds(
        Shape,
        st.lists(st.integers(0, 6), min_size=n, max_size=n),
        st.lists(st.integers(0, 350), min_size=n, max_size=n),
    )
)
calls = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 1), st.integers(0, 90), st.integers(0, 100), st.booleans()),
    min_size=1,
    max_size=25,
)


def session(lineage: Lineage, number: int) -> Session:
    ancestors = tuple(place.session_id for place in lineage[1:])
    mark = SessionMark(CHILD) if ancestors else SessionMark("header", "run")
    at_us = MIDNIGHT_US
    parts = lineage[0].parts if lineage else ()
    return Session(f"ses_{number}", "key_1", mark, SessionState.OPEN, at_us, at_us, at_us, "", ancestors, parts)


def within(limiter: MemoryLimiter, parts: dict[str, int]) -> None:
    """No counter is over: asked of each counter by itself, not of the limiter's own figures of what is left."""
    amounts = {limit.name: limit.amount for limit in LIMITS}
    for view in limiter.views(MIDNIGHT_US):
        limit = amounts.get(view.name, parts.get(view.scope))
        assert limit is not None
        assert view.spent + view.held <= limit, view


@given(shape=shapes, steps=calls)
@settings(max_examples=40)
def test_rule_16_no_node_of_any_tree_is_overspent_and_counters_are_the_ledger(
    shape: Shape, steps: list[tuple[int, int, int, int, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(Path(directory) / "books.db", shape, steps))


async def _run(path: Path, shape: Shape, steps: list[tuple[int, int, int, int, bool]]) -> None:
    lineages = shape.lineages()
    parts = {f"session:ses_{n}": part for n, part in enumerate(shape.parts, 1)}
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        opening = [
            SessionChanged(MIDNIGHT_US, session(each, n), "opened", "t", CALLERS[0]) for n, each in enumerate(lineages)
        ]
        await books.commit(*opening)
        limiter = MemoryLimiter(books, books.recorded_terms, MIDNIGHT_US)
        limiter.configure(LIMITS, {}, MIDNIGHT_US)
        open_holds: list[tuple[Hold, Amounts]] = []
        for number, (chosen, who, tokens, share, ends) in enumerate(steps):
            node = chosen % len(lineages)
            await _call(books, limiter, (f"call_{number}", node, lineages[node], CALLERS[who], tokens), open_holds)
            within(limiter, parts)
            if ends and open_holds:
                _settle(books, limiter, *open_holds.pop(share % len(open_holds)), share=share)
                within(limiter, parts)
        for hold, held in open_holds:
            _settle(books, limiter, hold, held, share=50)
        figures = await _figures(limiter, lineages)
        assert all(held == 0 for _, held in figures.values())
        assert figures == await _figures_anew(books, lineages)
        assert await books.reports.recount() == []
        assert (await books.reports.verify()).faults == ()
    finally:
        await books.close()
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        assert figures == await _figures_anew(books, lineages)
    finally:
        await books.close()


async def _call(
    books: SqliteBooks,
    limiter: MemoryLimiter,
    asked: tuple[str, int, Lineage, Attribution, int],
    open_holds: list[tuple[Hold, Amounts]],
) -> None:
    call_id, node, lineage, caller, tokens = asked
    held = Amounts(input_tokens=tokens, usd_micros=2 * tokens, requests=1)
    bindings = limiter.bindings(caller, f"ses_{node}", lineage)
    await limiter.load(bindings, f"ses_{node}", MIDNIGHT_US, fresh_session=False)
    taken = limiter.reserve(call_id, caller, f"ses_{node}", bindings, Ask(held), MIDNIGHT_US)
    if isinstance(taken, Hold):
        await books.commit(placed(call_id, caller, session_id=f"ses_{node}", held=held))
        open_holds.append((taken, held))
    else:
        assert all(short.spent + short.held + short.asked > short.amount for short in taken), "a false denial"


def _settle(books: SqliteBooks, limiter: MemoryLimiter, hold: Hold, held: Amounts, *, share: int) -> None:
    posted = Amounts(held.input_tokens * share // 100, 0, 0, held.usd_micros * share // 100, 1)
    limiter.settle(hold, posted)
    books.post(settled(placed(hold.call_id, hold.attribution, session_id=hold.session_id, held=held), posted))


async def _figures(limiter: MemoryLimiter, lineages: list[Lineage]) -> dict[tuple[str, str], tuple[int, int]]:
    found = {}
    for caller in CALLERS:
        for node, lineage in enumerate(lineages):
            bindings = limiter.bindings(caller, f"ses_{node}", lineage)
            await limiter.load(bindings, f"ses_{node}", MIDNIGHT_US, fresh_session=False)
            found.update({(v.name, v.scope): (v.spent, v.held) for v in limiter.view(bindings, MIDNIGHT_US)})
    assert {name for name, _ in found} <= {limit.name for limit in (*LIMITS, *CHILD_PARTS.values())}
    return found


async def _figures_anew(books: SqliteBooks, lineages: list[Lineage]) -> dict[tuple[str, str], tuple[int, int]]:
    """As a process that starts now reads them from the books."""
    limiter = MemoryLimiter(books, books.recorded_terms, MIDNIGHT_US)
    limiter.configure(LIMITS, {}, MIDNIGHT_US)
    return await _figures(limiter, lineages)
