"""The limiter against a plain model: no overspend, no false denial, in any order of calls, settlements, reloads,
evictions, loads that race with them, and windows that end meanwhile.

The model keeps every call in a list and sums it up for each question. The limiter must agree with it at every step: on
each admission, and on what each counter says.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, fields, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall, amount_of
from gateway.core.child_part import CHILD_PARTS
from gateway.core.grant import Grant, Grants
from gateway.core.hold import Hold
from gateway.core.ledger import Amounts
from gateway.core.limit import Action, Limit, Mode, Unit
from gateway.core.session import Lineage, Part, Place
from gateway.core.window import WindowKind, bounds, parse
from gateway.limiter.memory import MemoryLimiter
from gateway.ports import BooksUnavailable
from tests.limiter.listed_books import ListedBooks, settled, terms

START_US = 1_795_521_600_000_000
SECOND_US = 1_000_000
CALLERS = (
    Attribution("key_1", "one", user="alice", team="a", model="m", model_tier="premium", roles=("contractor",)),
    Attribution("key_1", "one", user="alice", team="a", model="n", roles=("contractor",)),
    Attribution("key_2", "two", user="bob", team="a", model="m", model_tier="premium"),
    Attribution("key_3", "three"),
)
# One tree of three levels, and a session beside it.
LINEAGES: dict[str, Lineage] = {
    "ses_1": (),
    "ses_2": (),
    "child_1": (Place("child_1", (Part(Unit.TOKENS, 60), Part(Unit.USD, 120))), Place("ses_1")),
    "child_2": (Place("child_2", (Part(Unit.REQUESTS, 3),)), Place("ses_1")),
    "grandchild": (
        Place("grandchild", (Part(Unit.TOKENS, 35), Part(Unit.TOOL_CALLS, 2))),
        Place("child_1", (Part(Unit.TOKENS, 60), Part(Unit.USD, 120))),
        Place("ses_1"),
    ),
}
SESSIONS = tuple(LINEAGES)
ANCESTORS = {session_id: tuple(place.session_id for place in lineage[1:]) for session_id, lineage in LINEAGES.items()}


A_CALL: dict[str, Any] = {
    "caller": st.sampled_from(CALLERS),
    "session_id": st.sampled_from(SESSIONS),
    "prompt": st.integers(0, 60),
    "output": st.integers(0, 60),
    "tool_calls": st.integers(0, 1),
}


def of(**fields: object) -> dict[str, object]:
    return fields


# Every limit with what a reload may turn it into: another amount, another window, another selection, another action.
VARIANTS = {
    "session": [of(each="session", window="session", amount=100), of(each="session", window="session", amount=40)],
    "user": [of(each="user", window="day", amount=150), of(each="user", window="hour", amount=150)],
    "minute": [of(window="minute", amount=120), of(window="minute", amount=120, mode=Mode.OBSERVE)],
    "rolling": [of(each="user", window="60m", amount=130), of(each="user", window="5h", amount=130)],
    "team": [
        of(where=(("team", "a"),), window="total", amount=300),
        of(where=(("team", "a"), ("model", "m")), window="total", amount=300),
    ],
    "role": [of(where=(("role", "contractor"),), window="week", amount=90, overrides=(("model:n", 200),))],
    "money": [of(unit=Unit.USD, window="day", amount=400), of(unit=Unit.USD, window="day", amount=200)],
    "output": [of(unit=Unit.OUTPUT_TOKENS, each="session", window="hour", amount=60)],
    "uncached": [of(unit=Unit.UNCACHED_TOKENS, window="5h", amount=200)],
    "requests": [of(unit=Unit.REQUESTS, each="user", window="day", amount=9)],
    "tools": [of(unit=Unit.TOOL_CALLS, each="session", window="session", amount=3)],
    "parallel": [
        of(unit=Unit.CONCURRENT, window="total", amount=3),
        of(unit=Unit.CONCURRENT, window="total", amount=2),
    ],
    "warned": [of(window="day", amount=50, action=Action.WARN)],
    "routed": [of(window="day", where=(("model", "m"),), amount=160, action=Action.ROUTE_TO, route_to="n")],
    "shared": [
        of(where=(("team", "a"),), window="60m", amount=150, reserved=(("user:alice", 4_000), ("user:bob", 2_500))),
        of(where=(("team", "a"),), window="60m", amount=90, reserved=(("user:alice", 4_000),)),
    ],
    "pool": [
        of(unit=Unit.USD, window="total", amount=600, reserved=(("user:bob", 5_000), ("user:nobody", 1_000))),
        of(unit=Unit.USD, each="user", window="total", amount=500, reserved=(("team:a", 3_333),)),
    ],
}


def made(name: str, number: int) -> Limit:
    fields = {"unit": Unit.TOKENS, **VARIANTS[name][number % len(VARIANTS[name])]}
    return Limit(name, window=parse(str(fields.pop("window"))), **fields)  # type: ignore[arg-type]


@dataclass
class Call:
    at_us: int
    caller: Attribution
    session_id: str
    held: Ask
    hold: Hold
    posted: Amounts | None = None
    written: bool = True


class AgainstAModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.made = 0
        self.known = {limit.name: limit for limit in CHILD_PARTS.values()}
        self.bound: set[tuple[Attribution, str]] = set()
        self.books: Any = ListedBooks()
        self.books.ancestors = ANCESTORS
        self.now_us = START_US
        self.limiter = MemoryLimiter(self.books, terms, self.now_us)
        self.limits: tuple[Limit, ...] = ()
        self.calls: list[Call] = []
        self.used: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self.grants: list[Grant] = []

    @initialize(chosen=st.dictionaries(st.sampled_from(sorted(VARIANTS)), st.integers(0, 1), min_size=3))
    def begin(self, chosen: dict[str, int]) -> None:
        self.reload(chosen)

    @rule(chosen=st.dictionaries(st.sampled_from(sorted(VARIANTS)), st.integers(0, 1)))
    def reload(self, chosen: dict[str, int]) -> None:
        self.limits = tuple(made(name, number) for name, number in chosen.items())
        self.known = {limit.name: limit for limit in (*self.limits, *CHILD_PARTS.values())}
        self.bound.clear()
        self.limiter.configure(self.limits, {}, self.now_us)

    @rule(**A_CALL)
    def call(self, **asked: Any) -> None:
        self._call_as_asked(**asked)

    def _call_as_asked(self, caller: Attribution, session_id: str, prompt: int, output: int, tool_calls: int) -> None:
        ask = Ask(Amounts(prompt, output, 0, prompt + 3 * output, 1, tool_calls))
        self._start(self._call(caller, session_id, ask))

    async def _call(self, caller: Attribution, session_id: str, ask: Ask) -> None:
        bindings = self.limiter.bindings(caller, session_id, LINEAGES[session_id])
        try:
            await self.limiter.load(bindings, session_id, self.now_us, fresh_session=session_id not in self.used)
        except BooksUnavailable:
            return
        self._compare(caller, session_id)
        rooms = {room.draw: room.left for room in self.limiter.rooms(bindings, self.now_us)}
        fits = all(
            not (asked := amount_of(limit.unit, ask)) or asked <= self._left(limit, caller, at)
            for limit, at in self._binding(caller, session_id)
            if limit.hard
        )
        self.made += 1
        call_id = f"call_{self.made}"
        taken = self.limiter.reserve(call_id, caller, session_id, bindings, ask, self.now_us)
        if isinstance(taken, Hold):
            assert fits, "a call was let in that does not fit"
            call = Call(self.now_us, caller, session_id, ask, taken, written=False)
            self.calls.append(call)
            self.used |= {session_id, *ANCESTORS[session_id]}  # a parent is written down before its child
            await self._write_down(call)
        else:
            assert not fits, "a call was refused that fits"
            for short in taken:
                at = self._counter_of(short.scope, session_id)
                assert short.asked > short.amount - short.spent - short.held == self._left(short.limit, caller, at)
            await self._refused(call_id, caller, session_id, taken)
        assert all(isinstance(left, int) for left in rooms.values())

    async def _write_down(self, call: Call) -> None:
        """Before a call may end, its hold is in the books; a list of entries needs none."""
        call.written = True

    async def _refused(self, call_id: str, caller: Attribution, session_id: str, short: tuple[Shortfall, ...]) -> None:
        """A list of entries says nothing of refusals."""

    def _void_in_books(self, call: Call) -> None:
        """Nor of calls that cost nothing."""

    def _raise_in_books(self, call: Call) -> bool:
        """Whether a top-up could be written down."""
        return True

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data(), share=st.integers(0, 130), cached=st.integers(0, 5))
    def settle(self, data: st.DataObject, share: int, cached: int) -> None:
        """With less than was held, or with more: an overrun."""
        self._settle(data.draw(st.sampled_from(self._in_flight())), share, cached)

    def _settle(self, call: Call, share: int, cached: int) -> None:
        held = call.held.amounts
        posted = Amounts(
            held.input_tokens * share // 100,
            held.output_tokens * share // 100,
            min(cached, held.input_tokens * share // 100),
            held.usd_micros * share // 100,
            1,
            held.tool_calls,
        )
        call.posted = posted
        self.limiter.settle(call.hold, posted)
        self.books.post(settled(call.hold.call_id, call.hold.at_us, call.session_id, call.caller, posted))
        self.limiter.settle(call.hold, posted)  # ends once, however often it is said

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._in_flight()))
        call.posted = Amounts()
        self.limiter.void(call.hold)
        self._void_in_books(call)

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data(), output=st.integers(0, 40), keep=st.booleans())
    def top_up(self, data: st.DataObject, output: int, *, keep: bool) -> None:
        call = data.draw(st.sampled_from(self._in_flight()))
        more = Amounts(output_tokens=output, usd_micros=3 * output)
        # A counter that the reload brought is there once the call's limits were used again.
        if self.books.slow or self._run(self._loaded(call)):
            return
        lacking = self.limiter.lacking(call.hold, more, self.now_us)
        granted = self.limiter.top_up(call.hold, more, self.now_us)
        assert granted == (not lacking)
        if granted:
            call.held = replace(call.held, amounts=call.held.amounts.plus(more))
            for binding in call.hold.bindings:
                if binding.hard and binding.draw is not None and amount_of(binding.limit.unit, Ask(more)):
                    window = self._window(binding.limit, call.at_us)
                    at = self._counter_of(binding.scope, call.session_id)
                    assert self._sum(binding.limit, call.caller, at, window) <= binding.amount
            if not keep or not self._raise_in_books(call):
                self.limiter.shrink(call.hold, more)
                call.held = replace(call.held, amounts=Amounts(*[a - b for a, b in self._pairs(call, more)]))

    @precondition(lambda self: self.limits)
    @rule(
        data=st.data(),
        caller=st.sampled_from(CALLERS),
        session_id=st.sampled_from(SESSIONS),
        amount=st.integers(1, 80),
        begins_s=st.sampled_from([0, 0, 20]),
        lasts_s=st.sampled_from([1, 20, 3_600]),
    )
    def grant(
        self, data: st.DataObject, caller: Attribution, session_id: str, amount: int, begins_s: int, lasts_s: int
    ) -> None:
        """More for a time, on any counter; it ends by the clock alone."""
        limit = data.draw(st.sampled_from(self.limits))
        from_us = self.now_us + begins_s * SECOND_US
        name = f"req_{len(self.grants)}"
        scope = limit.scope(caller, session_id)
        self.grants.append(Grant(name, limit.name, scope, amount, from_us, from_us + lasts_s * SECOND_US))
        self.limiter.grant(Grants(tuple(self.grants)), self.now_us)

    def _granted(self, limit: str, scope: str) -> int:
        return sum(
            grant.amount
            for grant in self.grants
            if (grant.limit, grant.scope) == (limit, scope) and grant.from_us <= self.now_us < grant.until_us
        )

    @rule(seconds=st.sampled_from([1, 20, 61, 700, 3_601, 20_000, 86_400, 700_000]))
    @precondition(lambda self: not self.tasks)
    def wait(self, seconds: int) -> None:
        self.now_us += seconds * SECOND_US

    @rule(idle_s=st.sampled_from([0, 60]))
    def sweep(self, idle_s: int) -> None:
        self.limiter.sweep(self.now_us, idle_s * SECOND_US - 1)

    @rule()
    def books_are_slow(self) -> None:
        self.books.be_slow()

    @rule(broken=st.booleans(), cancelled=st.booleans())
    def books_answer(self, *, broken: bool, cancelled: bool) -> None:
        self._answer(broken=broken, cancelled=cancelled)

    def _answer(self, *, broken: bool, cancelled: bool) -> None:
        if cancelled and self.tasks:
            self.tasks[0].cancel()
        self.books.broken = broken
        self.books.answer()
        self._run(self._finish())
        self.books.broken = False

    @invariant()
    def what_is_in_memory_agrees(self) -> None:
        seen: set[tuple[str, str]] = set()
        for caller in CALLERS:
            for session_id in SESSIONS:
                self._compare(caller, session_id, seen)

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.loop.close()

    def _end(self) -> None:
        self.books.answer()
        self._run(self._finish())
        for call in self._in_flight():
            self.limiter.void(call.hold)
            call.posted = Amounts()
            self._void_in_books(call)
        assert all(view.held == 0 for view in self.limiter.views(self.now_us))
        for caller in CALLERS:
            for session_id in SESSIONS:
                self._run(self._load(caller, session_id))
                self._compare(caller, session_id)

    def _compare(self, caller: Attribution, session_id: str, seen: set[tuple[str, str]] | None = None) -> None:
        """A counter that many calls fall on is summed up once; `seen` = those that were."""
        bindings = self.limiter.bindings(caller, session_id, LINEAGES[session_id])
        if (caller, session_id) not in self.bound:
            expected = {(limit.name, limit.scope(caller, at)) for limit, at in self._binding(caller, session_id)}
            found = {(binding.limit.name, binding.scope) for binding in bindings if not binding.limit.part_of}
            assert found == expected
            self.bound.add((caller, session_id))
        for view in self.limiter.view(bindings, self.now_us):
            if seen is not None and (view.name, view.scope) in seen:
                continue
            limit, at = self.known[view.name], self._counter_of(view.scope, session_id)
            total = self._sum(limit, caller, at, self._window(limit, self.now_us))
            if limit.reserved:
                assert view.limit - view.spent - view.held == self._left(limit, caller, at)
                assert view.limit + view.kept == limit.amount + view.granted
                continue
            assert (view.name, view.spent + view.held) == (limit.name, total)
            assert view.limit == self._amount(limit, caller, at)
            assert view.granted == self._granted(view.name, view.scope)
            if seen is not None and not limit.overrides:
                seen.add((view.name, view.scope))

    def _binding(self, caller: Attribution, session_id: str) -> list[tuple[Limit, str]]:
        """Every limit that binds a call, with the session whose counter it falls on."""
        above = (session_id, *ANCESTORS[session_id])
        found = []
        for limit in self.limits:
            places = above if limit.each == "session" else (session_id,)
            found += [(limit, place) for place in places if limit.binds(caller, place)]
        for place in LINEAGES[session_id]:
            found += [(CHILD_PARTS[part.unit], place.session_id) for part in place.parts]
        return found

    @staticmethod
    def _counter_of(scope: str, session_id: str) -> str:
        return scope.removeprefix("session:") if scope.startswith("session:") else session_id

    def _amount(self, limit: Limit, caller: Attribution, session_id: str) -> int:
        """Of a child's part, or of the limit for this call with what was granted."""
        if limit in CHILD_PARTS.values():
            return dict(LINEAGES[session_id][0].parts)[limit.unit]
        granted = self._granted(limit.name, limit.scope(caller, session_id))
        return limit.amount_for(caller, session_id) + granted

    def _left(self, limit: Limit, caller: Attribution, session_id: str) -> int:
        used = self._sum(limit, caller, session_id, self._window(limit, self.now_us))
        left = self._amount(limit, caller, session_id) - used
        own = others = 0
        for subject, share in limit.reserved:
            by_owner = self._sum(limit, caller, session_id, self._window(limit, self.now_us), subject)
            free = max(0, limit.amount * share // 10_000 - by_owner)
            if caller.matches(*subject.split(":")):
                own += free
            else:
                others += free
        if others and own + others > left:
            others = others * max(0, left) // (own + others)
        return left - others

    @staticmethod
    def _window(limit: Limit, at_us: int) -> tuple[int, int]:
        return (0, 1 << 62) if limit.unit is Unit.CONCURRENT else bounds(limit.window, limit.timezone, at_us)

    def _sum(self, limit: Limit, caller: Attribution, session_id: str, window: tuple[int, int], owner: str = "") -> int:
        """Posted and held of all calls on the same counter, by going through them; only those of `owner`, if given."""
        total = 0
        for call in self.calls:
            if not limit.binds(call.caller, call.session_id) or (owner and not call.caller.matches(*owner.split(":"))):
                continue
            if limit.each == "session":
                if session_id not in (call.session_id, *ANCESTORS[call.session_id]):
                    continue
            elif limit.scope(call.caller, call.session_id) != limit.scope(caller, session_id):
                continue
            inside = window[0] <= call.at_us < window[1]
            if call.posted is None and (inside or limit.window.kind is WindowKind.ROLLING):
                total += amount_of(limit.unit, call.held)
            elif call.posted is not None and inside:
                total += amount_of(limit.unit, Ask(call.posted, concurrent=0))
        return total

    def _in_flight(self) -> list[Call]:
        return [call for call in self.calls if call.posted is None and call.written]

    @staticmethod
    def _pairs(call: Call, more: Amounts) -> list[tuple[int, int]]:
        had = call.held.amounts
        return [(getattr(had, name), getattr(more, name)) for name in [each.name for each in fields(had)]]

    async def _loaded(self, call: Call) -> bool:
        try:
            await self._load(call.caller, call.session_id)
        except BooksUnavailable:
            return True
        return not call.hold.open

    async def _load(self, caller: Attribution, session_id: str) -> None:
        bindings = self.limiter.bindings(caller, session_id, LINEAGES[session_id])
        await self.limiter.load(bindings, session_id, self.now_us, fresh_session=False)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        async def begin() -> None:
            self.tasks.append(asyncio.ensure_future(coroutine))
            await asyncio.sleep(0)

        self._run(begin())
        if not self.books.slow:
            self._run(self._finish())

    async def _finish(self) -> None:
        tasks, self.tasks = self.tasks, []
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    def _run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)


AgainstAModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAgainstAModel = AgainstAModel.TestCase
