"""The ledger, the limiter and a tree of sessions together against a plain model: what a call may do to them in any
order, with full disks, answers that get lost, crashes and restarts, limits that change, raises for a time, and clocks
at the very edge.

The model is a list of calls that is summed up for every question (tests/limiter/test_against_a_model.py). Here the
books are the real ones in a file: what is refused is written down and read back, a crash leaves the file as it is in
that moment, and what was in flight must come back as the orphans of rule 8.
"""

import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from benchmarks.correctness.explained import figures
from gateway.core.attribution import Attribution
from gateway.core.budget import Shortfall, refusal
from gateway.core.grant import Grants
from gateway.core.ledger import Amounts, CallDenied, CallVoided, HoldPlaced, HoldRaised, SessionChanged
from gateway.core.report import CallRow
from gateway.core.session import Session, SessionMark, SessionState
from gateway.core.window import WindowKind
from gateway.limiter.memory import MemoryLimiter
from gateway.ports import BooksUnavailable
from tests.limiter.test_against_a_model import A_CALL, ANCESTORS, LINEAGES, AgainstAModel, Call
from tests.proofs.moody_books import MoodyBooks

USUAL_OUTPUT = 7
MEMORY = Path("/dev/shm")
"""Where there is one, files are in memory: what a crash leaves is copied from there as well."""
EDGELESS = (WindowKind.ROLLING, WindowKind.SESSION, WindowKind.TOTAL)


class LedgerAndLimits(AgainstAModel):
    steps: ClassVar[int] = 0
    """Of all runs since it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.lives = 0
        self.denials: dict[str, dict] = {}
        self.durable: set[str] = set()
        self.doubtful = False
        self.told_unwritten: list[Call] = []
        self.denials_in_doubt = 0
        self.open_books()

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        super()._start(coroutine)
        self._run(self.books.quiet())

    def open_books(self) -> None:
        self.books = self._run(MoodyBooks.open(self.root / str(self.lives) / "books.db", self.now_us))
        self.limiter = MemoryLimiter(self.books, self.books.real.recorded_terms, self.now_us)

    @initialize()
    def open_sessions(self) -> None:
        """A child is written down before anything is called in it."""
        entries = [
            SessionChanged(self.now_us, self._session(session_id), "opened", "caller") for session_id in LINEAGES
        ]
        self._run(self.books.commit(*entries))

    def _session(self, session_id: str) -> Session:
        lineage = LINEAGES[session_id]
        kind = "child" if lineage else "header"
        return Session(
            session_id,
            "key_1",
            SessionMark(kind, "" if lineage else session_id),
            SessionState.OPEN,
            self.now_us,
            self.now_us,
            self.now_us,
            ancestors=ANCESTORS[session_id],
            parts=lineage[0].parts if lineage else (),
        )

    # What a call writes down

    async def _write_down(self, call: Call) -> None:
        """As `gateway.pipeline.reserve.commit_hold` does it."""
        held = call.held.amounts
        placed = HoldPlaced(
            call_id=call.hold.call_id,
            at_us=call.hold.at_us,
            session_id=call.session_id,
            attribution=call.caller,
            kind="chat",
            held=held,
            prompt_tokens=held.input_tokens,
            prompt_usd_micros=held.input_tokens,
            usual_output_tokens=USUAL_OUTPUT,
            stream=self._sliced(call),
            sliced=self._sliced(call),
            upstream_model="m",
            policy_version="v1",
            rule=None,
            request_digest="ab",
        )
        try:
            await self.books.commit(placed)
        except BooksUnavailable:
            self.calls.remove(call)
            self.told_unwritten.append(call)
            self.limiter.void(call.hold, written=False)
        except BaseException:
            self.limiter.void(call.hold)
            call.posted, call.written = Amounts(), True
            self._void_in_books(call)
            raise
        else:
            call.written = True
            self._durable()

    async def _refused(self, call_id: str, caller: Attribution, session_id: str, short: tuple[Shortfall, ...]) -> None:
        """A denial's figures add up, and the books tell the same ones later."""
        denial = refusal(short, self.now_us, 1.0)
        machine = denial.machine()
        assert figures({**machine, "call": call_id}) == []
        entry = CallDenied(call_id, self.now_us, session_id, caller, "chat", denial.code.value, machine, "v1")
        self.denials_in_doubt += 1
        try:
            await self.books.commit(entry)
        except BooksUnavailable:
            return
        self.denials_in_doubt -= 1
        self.denials[call_id] = machine
        self._durable()

    def _void_in_books(self, call: Call) -> None:
        self.books.post(CallVoided(call.hold.call_id, self.now_us, "refused", 502))

    def _raise_in_books(self, call: Call) -> bool:
        try:
            self._run(self.books.commit(HoldRaised(call.hold.call_id, self.now_us, call.held.amounts)))
        except BooksUnavailable:
            return False
        self._durable()
        return True

    def _durable(self) -> None:
        """A commit that succeeded came after everything that was posted before it."""
        self.durable |= {call.hold.call_id for call in self.calls if call.posted is not None}

    @staticmethod
    def _sliced(call: Call) -> bool:
        return call.held.amounts.tool_calls == 0

    # The usual things often, trouble now and then: a rule that is there twice is taken twice as often

    @rule(**A_CALL)
    def call_more(self, **asked: Any) -> None:
        self._call_as_asked(**asked)

    @rule(**A_CALL)
    def call_still_more(self, **asked: Any) -> None:
        self._call_as_asked(**asked)

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data(), share=st.integers(50, 110))
    def settle_another(self, data: st.DataObject, share: int) -> None:
        self._settle(data.draw(st.sampled_from(self._in_flight())), share, 0)

    # What goes wrong

    @precondition(lambda self: self.books.disk.well and not self.books.slow)
    @rule(what=st.sampled_from(["slow", "full", "lost"]))
    def trouble(self, what: str) -> None:
        """Answers are late; or the disk is full; or it wrote, and nobody was told."""
        if what == "slow":
            self.books.be_slow()
        else:
            self.books.disk.full, self.books.disk.lost = what == "full", what == "lost"
            self.doubtful = True

    @precondition(lambda self: self.books.slow or not self.books.disk.well)
    @rule(broken=st.booleans(), cancelled=st.booleans())
    def relief(self, *, broken: bool, cancelled: bool) -> None:
        if self.books.slow:
            self._answer(broken=broken, cancelled=cancelled)
        self._recover()

    books_are_slow = None  # type: ignore[assignment]
    books_answer = None  # type: ignore[assignment]

    @precondition(lambda self: not self.tasks)
    @rule(orderly=st.booleans(), caught_up=st.booleans())
    def end_and_start_again(self, *, orderly: bool, caught_up: bool) -> None:
        """A crash keeps what was written: the files as they are in that moment. The clock does not go back."""
        if orderly:
            self._recover()
        elif caught_up and self.books.disk.well:
            self._run(self.books.real.totals([]))
            self._durable()
        before = self.root / str(self.lives)
        self.lives += 1
        if orderly:
            self._run(self.books.real.close())
            self.durable |= {call.hold.call_id for call in self.calls if call.posted is not None}
        shutil.copytree(before, self.root / str(self.lives))
        if not orderly:
            self.books.disk.recover()
            self._run(self.books.real.close())
        shutil.rmtree(before)
        self.open_books()
        self.limiter.configure(self.limits, {}, self.now_us)
        self.limiter.grant(Grants(tuple(self.grants)), self.now_us)
        for call in self.calls:
            self._found_again(call, self._run(self.books.real.reports.call(call.hold.call_id)))
        self._take_up_what_was_written_after_all()
        self.doubtful = False

    def _take_up_what_was_written_after_all(self) -> None:
        """The caller was told that nothing was written and the process died before it could find out: an orphan."""
        for call in self.told_unwritten:
            found = self._run(self.books.real.reports.call(call.hold.call_id))
            if found is not None and found.state == "settled":
                assert self.doubtful
                call.posted, call.written = found.posted, True
                self.calls.append(call)
                self.durable.add(call.hold.call_id)
        self.told_unwritten.clear()

    def _found_again(self, call: Call, found: CallRow | None) -> None:
        assert found is not None, "a call that was told to be written is not in the books"
        assert found.state in ("settled", "voided")
        ended = call.posted
        if ended is None or (call.hold.call_id not in self.durable and found.estimated == "orphan"):
            assert found.estimated == "orphan"
            if not self.doubtful:
                assert found.posted == self._orphan(call)
            assert found.posted.output_tokens <= found.held.output_tokens
            call.posted = found.posted
        else:
            assert found.posted == ended
        self.durable.add(call.hold.call_id)

    def _orphan(self, call: Call) -> Amounts:
        """Rule 8: the prompt, and the slices of a stream or the usual output of another call, at most its hold."""
        held = call.held.amounts
        output = held.output_tokens if self._sliced(call) else min(held.output_tokens, USUAL_OUTPUT)
        return Amounts(held.input_tokens, output, 0, held.input_tokens + 3 * output, 1, held.tool_calls)

    # Time

    @precondition(lambda self: not self.tasks and any(limit.window.kind not in EDGELESS for limit in self.limits))
    @rule(number=st.integers(0, 10), short_of_it=st.sampled_from([0, 1]))
    def to_the_edge(self, number: int, short_of_it: int) -> None:
        """To the first microsecond of the next window of some limit, or to the last one of this."""
        edged = [each for each in self.limits if each.window.kind not in EDGELESS]
        _, end_us = self._window(edged[number % len(edged)], self.now_us)
        if end_us < 1 << 62:
            self.now_us = max(self.now_us, end_us - short_of_it)

    # The end

    @invariant()
    def what_is_in_memory_agrees(self) -> None:
        type(self).steps += 1
        super().what_is_in_memory_agrees()

    def teardown(self) -> None:
        try:
            self._recover()
            self._end()
            self._run(self.books.real.totals([]))
            self._books_agree()
        finally:
            self._run(self.books.real.close())
            self.loop.close()
            shutil.rmtree(self.root)

    def _recover(self) -> None:
        self.books.disk.recover()
        self.books.answer()
        self._run(self._finish())
        self._run(self.books.real.totals([]))
        self._durable()

    def _books_agree(self) -> None:
        reports = self.books.real.reports
        assert self._run(reports.recount()) == []
        assert self._run(reports.verify()).faults == ()
        rows = {call.hold.call_id: self._run(reports.call(call.hold.call_id)) for call in self.calls}
        assert {call_id for call_id, row in rows.items() if row is None or row.state == "held"} == set()
        assert [rows[call.hold.call_id].posted for call in self.calls] == [call.posted for call in self.calls]
        usage = self._run(reports.usage((), None, None))
        assert 0 <= sum(row.denied for row in usage) - len(self.denials) <= self.denials_in_doubt
        for call_id, machine in list(self.denials.items())[-5:]:
            assert self._run(reports.call(call_id)).denial == machine
