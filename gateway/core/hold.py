"""A call's hold on every limit that binds it, and what can be seen of the counters.

Rule: a hold is taken on all limits or on none, and ends exactly once; what the limiter keeps behind it is its own.
"""

from dataclasses import dataclass

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall
from gateway.core.limit import Limit
from gateway.core.sizing import Draw


@dataclass(frozen=True, slots=True)
class Binding:
    """One limit as it binds one call: its counter's scope, the amount after overrides and with grants (`granted` is
    their part of it), how its past is asked for; `draw` is set for limits on tokens and money, `hard` for those that
    refuse, `session_id` where the counter is that of one session and its descendants."""

    limit: Limit
    scope: str
    amount: int
    terms: tuple[tuple[str, str | None], ...]
    hard: bool = True
    draw: Draw | None = None
    session_id: str = ""
    granted: int = 0


@dataclass(slots=True)
class Hold:
    """An open hold. `ask` grows with top-ups; `warnings` = limits that would have refused but only warn or observe."""

    call_id: str
    at_us: int
    attribution: Attribution
    session_id: str
    ask: Ask
    bindings: tuple[Binding, ...]
    warnings: tuple[Shortfall, ...] = ()
    open: bool = True


@dataclass(frozen=True, slots=True)
class CounterView:
    """One live counter as `limits list` shows it. Amounts in the limit's unit; `granted` is part of `limit`."""

    name: str
    scope: str
    unit: str
    limit: int
    spent: int
    held: int
    window: str
    resets_at_us: int | None
    granted: int = 0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent - self.held)


@dataclass(frozen=True, slots=True)
class Summary:
    """What the headers of a reply say: the counter that binds first, and those of requests and of tokens."""

    first: CounterView | None
    requests: CounterView | None
    tokens: CounterView | None
