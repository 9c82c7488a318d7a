"""A call's hold on every limit that binds it, and what can be seen of the counters.

Rule: a hold is taken on all limits or on none, and ends exactly once; what the limiter keeps behind it is its own.
"""

from dataclasses import dataclass, field

from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall
from gateway.core.limit import NOTHING, Limit
from gateway.core.reserved import Part
from gateway.core.sizing import Draw
from gateway.core.value import value


@dataclass(frozen=True, slots=True)
class Binding:
    """One limit as it binds one call: its counter's scope, the amount after overrides and with grants (`granted` is
    their part of it), how its past is asked for; `draw` is set for limits on tokens and money, `hard` for those that
    refuse, `session_id` where the counter is that of one session and its descendants. `parts` = what of it is reserved;
    `counts` is false where the counter is only looked at; `index` = the place of its unit in what a call moves."""

    limit: Limit
    scope: str
    amount: int
    terms: tuple[tuple[str, str | None], ...]
    hard: bool = True
    draw: Draw | None = None
    session_id: str = ""
    granted: int = 0
    parts: tuple[Part, ...] = ()
    counts: bool = True
    index: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", self.limit.unit_index if self.counts else NOTHING)


@dataclass(slots=True)
class Hold:
    """An open hold. `ask` grows with top-ups; `warnings` = limits that it does not fit but that let it pass;
    `would_deny` = what only observes and would have refused it, as `limit:<name>` and `policy:<file>:<line>`."""

    call_id: str
    at_us: int
    attribution: Attribution
    session_id: str
    ask: Ask
    bindings: tuple[Binding, ...]
    warnings: tuple[Shortfall, ...] = ()
    open: bool = True
    would_deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartView:
    """A reserved part: what its owner has of it, used, and what is kept for it now. In the limit's unit."""

    subject: str
    amount: int
    used: int
    kept: int


@value
class CounterView:
    """One live counter as `limits list` shows it. Amounts in the limit's unit; `granted` is part of `limit`. As a call
    sees it, what is kept for others is not in `limit` but in `kept`."""

    name: str
    scope: str
    unit: str
    limit: int
    spent: int
    held: int
    window: str
    resets_at_us: int | None
    granted: int = 0
    action: str = ""
    mode: str = ""
    kept: int = 0
    parts: tuple[PartView, ...] = ()

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent - self.held)


@value
class Summary:
    """What the headers of a reply say: the counter that binds first, those of requests and of tokens, and (name, per
    cent) of those that reached a mark of their `alert_at`."""

    first: CounterView | None
    requests: CounterView | None
    tokens: CounterView | None
    reached: tuple[tuple[str, int], ...] = ()
