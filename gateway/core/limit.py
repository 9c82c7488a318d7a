"""What a limit is and which calls it binds. A limit is a view on the books (rule 11); its counters live elsewhere.

Rules: every limit that matches a call binds it; an override replaces the amount, most specific subject first (up or
down); a scope is written `kind:value`, and a value that the call does not have is `-`, one shared counter (rule 27).
"""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum

from gateway.core.attribution import OPENER, Attribution
from gateway.core.window import Window


class Unit(StrEnum):
    """What a limit counts (rule 25). Amounts are integers; usd in micro-USD."""

    TOKENS = "tokens"
    UNCACHED_TOKENS = "uncached_tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    USD = "usd"
    REQUESTS = "requests"
    TOOL_CALLS = "tool_calls"
    CONCURRENT = "concurrent"
    SESSIONS = "sessions"


UNITS = tuple(Unit)
"""Every unit in a fixed order; `Limit.unit_index` is a place in it."""

NOTHING = len(UNITS)
"""The place behind them all, where amounts are 0."""

TOKEN_UNITS = frozenset({Unit.TOKENS, Unit.UNCACHED_TOKENS, Unit.INPUT_TOKENS, Unit.OUTPUT_TOKENS})
METERED_UNITS = TOKEN_UNITS | {Unit.USD}
"""Units whose amount is only known when the call ends: held by estimate, topped up, settled by usage."""


class Action(StrEnum):
    """What happens when a call does not fit (rule 28)."""

    BLOCK = "block"
    WARN = "warn"
    THROTTLE = "throttle"
    ROUTE_TO = "route_to"
    PAUSE = "pause"


SOFT = frozenset({Action.WARN, Action.THROTTLE})
"""Actions that book past the limit."""


class Mode(StrEnum):
    ENFORCE = "enforce"
    OBSERVE = "observe"


_SPECIFICITY = (
    *("session", "key", "agent", "end_user", "user", "service", "app", "role", "team", "environment"),
    *("cost_center", "model", "tool", "model_tier", "provider", "org"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """One posted limit. `each` = one counter per value of that kind; `where` = only calls with all of these values.

    `route_to` = the model alias of that action; `reserved` = (subject, hundredths of a per cent of the amount);
    `alert_at` in per cent; `part_of` = the limit of which this one counts what a reserved part's owner uses.
    """

    name: str
    unit: Unit
    amount: int
    window: Window
    each: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    timezone: tzinfo = UTC
    action: Action = Action.BLOCK
    mode: Mode = Mode.ENFORCE
    overrides: tuple[tuple[str, int], ...] = ()
    burst: int | None = None
    route_to: str = ""
    reserved: tuple[tuple[str, int], ...] = ()
    alert_at: tuple[int, ...] = ()
    part_of: str = ""
    unit_index: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit_index", UNITS.index(self.unit))

    @property
    def hard(self) -> bool:
        """Whether a call that does not fit is refused."""
        return self.mode is Mode.ENFORCE and self.action not in SOFT

    @property
    def slows(self) -> bool:
        """Whether a call that does not fit is slowed down."""
        return self.mode is Mode.ENFORCE and self.action is Action.THROTTLE

    @property
    def observed(self) -> bool:
        """Whether it is only recorded that a call would have been refused."""
        return self.mode is Mode.OBSERVE and self.action not in SOFT

    @property
    def per_session(self) -> bool:
        return self.each == "session"

    @property
    def in_session(self) -> bool:
        """Whether its counters are of single sessions: then they count what descendants spend, too."""
        return self.per_session or any(kind == "session" for kind, _ in self.where)

    def binds(self, call: Attribution, session_id: str) -> bool:
        """Whether this limit applies to a call. Tool calls and model calls are told apart by the units they move."""
        return all(
            session_id == value if kind == "session" else call.matches(kind, value) for kind, value in self.where
        )

    def scope(self, call: Attribution, session_id: str) -> str:
        """The counter that a call falls on, e.g. `user:alice`; without `each` the fixed selectors name it."""
        if self.each == "session":
            return f"session:{session_id}"
        if self.each == OPENER:
            return call.value(OPENER)
        if self.each is not None:
            return f"{self.each}:{call.value(self.each)}"
        where = self.where[:-1] if self.part_of else self.where
        return ",".join(f"{kind}:{value}" for kind, value in where) or "org"

    def amount_for(self, call: Attribution, session_id: str) -> int:
        """The amount that binds this call: the most specific override that matches, else the limit's own."""
        best: tuple[int, int] | None = None
        for subject, amount in self.overrides:
            kind, value = kind_and_value(subject)
            matched = session_id == value if kind == "session" else call.matches(kind, value)
            rank = _SPECIFICITY.index(kind) if kind in _SPECIFICITY else len(_SPECIFICITY)
            if matched and (best is None or rank < best[0]):
                best = (rank, amount)
        return self.amount if best is None else best[1]

    def kinds(self) -> tuple[str, ...]:
        """The selector kinds that its counters depend on, without the session; one fixed role is `role:<name>`."""
        named = [f"role:{value}" if kind == "role" else kind for kind, value in self.where]
        if self.each is not None:
            named.append(self.each)
        return tuple(dict.fromkeys(kind for kind in named if kind not in ("session", "org")))


def kind_and_value(subject: str) -> tuple[str, str]:
    """`user:alice` or `label:project:x` as a selector."""
    kind, _, value = subject.partition(":")
    if kind == "label":
        name, _, value = value.partition(":")
        kind = f"label:{name}"
    return kind, value
