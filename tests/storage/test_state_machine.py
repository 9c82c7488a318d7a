"""Any order of entries and crashes leaves the books equal to a plain model of them, and equal to themselves."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from gateway.core.ledger import Amounts, CallVoided, HoldPlaced, HoldRaised
from gateway.core.report import TotalsAsk
from gateway.storage.books import SqliteBooks
from tests.storage.entries import ALICE, BOB, DAY_US, MIDNIGHT_US, denied, placed, settled

PEOPLE = {"alice": ALICE, "bob": BOB}
counts = st.integers(0, 10**6)
people = st.sampled_from(sorted(PEOPLE))
amounts = st.builds(Amounts, counts, counts, counts, counts, st.just(1), st.integers(0, 3))


class BooksAgainstModel(RuleBasedStateMachine):
    """The model: what each user's settled calls sum up to, and which calls are open."""

    holds = Bundle("holds")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.lives = 0
        self.calls = 0
        self.posted = {name: Amounts() for name in PEOPLE}
        self.denied = 0
        self.open: dict[str, HoldPlaced] = {}
        self.books = self.runner.run(self.start())

    async def start(self) -> SqliteBooks:
        path = self.root / str(self.lives) / "books.db"
        return await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US + 30 * DAY_US)

    def next_id(self) -> str:
        self.calls += 1
        return f"call_{self.calls}"

    @initialize()
    def begin(self) -> None:
        assert self.books.orphans == 0

    @rule(
        target=holds,
        who=people,
        held=amounts,
        at=st.integers(0, 3 * DAY_US),
        sliced=st.booleans(),
    )
    def place(self, who: str, held: Amounts, at: int, *, sliced: bool) -> HoldPlaced:
        hold = placed(self.next_id(), PEOPLE[who], at_us=MIDNIGHT_US + at, held=held, stream=sliced, sliced=sliced)
        self.runner.run(self.books.commit(hold))
        self.open[hold.call_id] = hold
        return hold

    @rule(hold=holds, held=amounts)
    def raise_hold(self, hold: HoldPlaced, held: Amounts) -> None:
        self.runner.run(self.books.commit(HoldRaised(hold.call_id, hold.at_us, held)))

    @rule(target=ended, hold=consumes(holds), posted=amounts)
    def settle(self, hold: HoldPlaced, posted: Amounts) -> HoldPlaced:
        self.books.post(settled(hold, posted))
        self.book(hold, posted)
        return hold

    @rule(target=ended, hold=consumes(holds))
    def void(self, hold: HoldPlaced) -> HoldPlaced:
        self.books.post(CallVoided(hold.call_id, hold.at_us, "refused", 502))
        self.book(hold, Amounts())
        return hold

    @rule(hold=ended, posted=amounts)
    def end_again(self, hold: HoldPlaced, posted: Amounts) -> None:
        self.books.post(settled(hold, posted), CallVoided(hold.call_id, hold.at_us, "refused", 502))

    @rule(who=people, count=st.integers(1, 70))
    def deny(self, who: str, count: int) -> None:
        self.runner.run(self.books.commit(denied(self.next_id(), PEOPLE[who], count=count)))
        self.denied += count

    @rule(orderly=st.booleans())
    def end_and_start_again(self, *, orderly: bool) -> None:
        """A crash keeps what was written: the files as they are in that moment."""
        self.runner.run(self.books.totals([]))
        before = self.root / str(self.lives)
        self.lives += 1
        if orderly:
            self.runner.run(self.books.close())
        shutil.copytree(before, self.root / str(self.lives))
        self.runner.run(self.books.close())
        shutil.rmtree(before)
        self.books = self.runner.run(self.start())
        assert self.books.orphans == len(self.open)
        for call_id, hold in list(self.open.items()):
            found = self.runner.run(self.books.reports.call(call_id))
            assert found is not None
            assert found.estimated == "orphan"
            assert found.posted.usd_micros <= found.held.usd_micros
            self.book(hold, found.posted)

    def book(self, hold: HoldPlaced, posted: Amounts) -> None:
        if self.open.pop(hold.call_id, None) is not None:
            name = hold.attribution.user
            self.posted[name] = self.posted[name].plus(posted)

    @invariant()
    def totals_equal_the_model(self) -> None:
        asks = [TotalsAsk(self.books.recorded_terms(PEOPLE[name], ("user",)), None, None, None) for name in PEOPLE]
        windows = [TotalsAsk(ask.terms, None, MIDNIGHT_US - 1, MIDNIGHT_US + 3 * DAY_US + 1) for ask in asks]
        of_session = TotalsAsk((), "ses_1", None, None)
        *found, whole = self.runner.run(self.books.totals([*asks, *windows, of_session]))
        sums = [totals.buckets.get(0, Amounts()) for totals in found]
        assert sums == [self.posted[name] for name in PEOPLE] * 2
        assert whole.buckets.get(0, Amounts()) == self.posted["alice"].plus(self.posted["bob"])

    def teardown(self) -> None:
        try:
            reports = self.books.reports
            assert self.runner.run(reports.recount()) == []
            assert self.runner.run(reports.verify()).faults == ()
            usage = self.runner.run(reports.usage((), None, None))
            assert sum(row.denied for row in usage) == self.denied
        finally:
            self.runner.run(self.books.close())
            self.runner.close()
            shutil.rmtree(self.root)


TestBooksAgainstModel = BooksAgainstModel.TestCase
TestBooksAgainstModel.settings = settings(max_examples=25, stateful_step_count=25)
