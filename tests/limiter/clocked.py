"""A limiter over listed books with a clock that is moved by hand, and calls in one line."""

import asyncio

from gateway.core.alert_threshold import Reached
from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall
from gateway.core.hold import CounterView, Hold
from gateway.core.ledger import Amounts
from gateway.core.limit import Limit, Unit
from gateway.limiter.memory import MemoryLimiter
from tests.limiter.listed_books import ListedBooks, settled, terms

SESSION = "ses_1"


class Clocked:
    def __init__(self, limits: tuple[Limit, ...], now_us: int) -> None:
        self.books = ListedBooks()
        self.now_us = now_us
        self.limits = limits
        self.restart()

    def restart(self) -> None:
        """Whatever was held is gone with the process; the books stay."""
        self.limiter = MemoryLimiter(self.books, terms, self.now_us)
        self.limiter.configure(self.limits, {}, self.now_us)

    def amounts(self, count: int) -> Amounts:
        """So many of each unit, so that one call asks the same of every limit; either input or output."""
        output = any(limit.unit is Unit.OUTPUT_TOKENS for limit in self.limits)
        return Amounts(0 if output else count, count if output else 0, 0, count, count, count)

    def change(self, *limits: Limit) -> None:
        self.limits = limits
        self.limiter.configure(limits, {}, self.now_us)

    def hold(
        self, caller: Attribution, count: int, *, slowed: bool = False, sessions: int | None = None
    ) -> Hold | tuple[Shortfall, ...]:
        self._load(caller)
        return self._reserve(
            caller, Ask(self.amounts(count), count if sessions is None else sessions, count), slowed=slowed
        )

    def settle(self, hold: Hold, count: int) -> tuple[Reached, ...]:
        reached = self.limiter.settle(hold, self.amounts(count))
        self.books.post(settled(hold.call_id, hold.at_us, hold.session_id, hold.attribution, self.amounts(count)))
        return reached

    def spend(self, caller: Attribution, count: int) -> bool:
        """Whether a call of that much went through."""
        taken = self.hold(caller, count)
        if isinstance(taken, Hold):
            self.settle(taken, count)
            return True
        return False

    def most(self, caller: Attribution) -> int:
        """The largest amount that a call is let in with now, below 2,048."""
        self._load(caller)
        count = 0
        for step in (1 << power for power in range(10, -1, -1)):
            taken = self._reserve(caller, Ask(self.amounts(count + step), count + step, count + step))
            if isinstance(taken, Hold):
                self.limiter.void(taken, written=False)
                count += step
        return count

    def view(self, caller: Attribution) -> CounterView:
        """The only limit, as it binds a caller."""
        self._load(caller)
        (found,) = self.limiter.view(self.limiter.bindings(caller, SESSION, ()), self.now_us)
        return found

    def _load(self, caller: Attribution) -> None:
        bindings = self.limiter.bindings(caller, SESSION, ())
        loading = self.limiter.load(bindings, SESSION, self.now_us, fresh_session=False)
        try:
            loading.send(None)  # what is in memory is found without waiting
        except StopIteration:
            return
        except RuntimeError:
            asyncio.run(self.limiter.load(bindings, SESSION, self.now_us, fresh_session=False))

    def _reserve(self, caller: Attribution, ask: Ask, *, slowed: bool = False) -> Hold | tuple[Shortfall, ...]:
        bindings = self.limiter.bindings(caller, SESSION, ())
        return self.limiter.reserve("call", caller, SESSION, bindings, ask, self.now_us, slowed=slowed)
