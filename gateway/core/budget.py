"""Which limits a call falls on, and why one of them refuses it. Pure; the limiter holds the counters.

Rule 29: transient if the ask would fit within a minute, otherwise final; rule 30: `budget_held` if and only if the ask
fits what is posted alone on every limit; what binds first is the smallest remaining/asked, ties by file order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.denial import TRANSIENT, Code, Denial, LimitFacts, amount_shown, time_shown
from gateway.core.ledger import Amounts
from gateway.core.limit import UNITS, Limit, Unit
from gateway.core.sizing import Draw
from gateway.core.value import value

TRANSIENT_WITHIN_S = 60.0
_ASK = "ask for more with quota_request (MCP, or POST /api/v1/me/requests)"


@value
class Ask:
    """What a call wants to hold. `sessions` = 1 if it opens a session."""

    amounts: Amounts
    sessions: int = 0
    concurrent: int = 1
    by_unit: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        amounts = self.amounts
        tokens = amounts.input_tokens + amounts.output_tokens
        by_unit = (
            tokens,
            tokens - amounts.cached_input_tokens,
            amounts.input_tokens,
            amounts.output_tokens,
            amounts.usd_micros,
            amounts.requests,
            amounts.tool_calls,
            self.concurrent,
            self.sessions,
            0,
        )
        object.__setattr__(self, "by_unit", by_unit)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A limit on which an ask does not fit. Amounts in the limit's unit; `wait_us` only for request rates. What others
    keep of the limit (`kept`) is not in `amount`."""

    limit: Limit
    scope: str
    amount: int
    spent: int
    held: int
    asked: int
    resets_at_us: int | None
    wait_us: int | None = None
    granted: int = 0
    kept: int = 0

    @property
    def fits_posted_alone(self) -> bool:
        return self.wait_us is None and self.spent + self.asked <= self.amount

    @property
    def facts(self) -> LimitFacts:
        return LimitFacts(
            self.limit.name,
            self.scope,
            self.limit.unit.value,
            self.amount,
            self.spent,
            self.held,
            self.asked,
            self.resets_at_us,
            self.granted,
            self.kept,
        )


def amounts_by_unit(ask: Ask) -> tuple[int, ...]:
    """What an ask holds of each unit, in the order of `limit.UNITS` (rule 25); at `limit.NOTHING` 0."""
    return ask.by_unit


def amount_of(unit: Unit, ask: Ask) -> int:
    """How much of a limit's unit an ask holds."""
    return amounts_by_unit(ask)[UNITS.index(unit)]


DRAWS: Mapping[Unit, Draw] = {
    Unit.TOKENS: Draw.TOKENS,
    Unit.UNCACHED_TOKENS: Draw.TOKENS,
    Unit.INPUT_TOKENS: Draw.INPUT,
    Unit.OUTPUT_TOKENS: Draw.OUTPUT,
    Unit.USD: Draw.MONEY,
}


def only_waiting(shortfalls: tuple[Shortfall, ...]) -> bool:
    """Whether every refusing limit would let the call in once calls in flight have ended (rule 30)."""
    return all(_only_held(s) for s in shortfalls)


def refusal(shortfalls: tuple[Shortfall, ...], now_us: int, held_wait_s: float) -> Denial:
    """The denial for one or more shortfalls: a final one is named before a transient one, then what binds first.

    The wait is that of the slowest limit, or the call would only come back to the next refusal.
    """
    if only_waiting(shortfalls):
        return _denial(Code.BUDGET_HELD, _first(shortfalls), held_wait_s)
    judged = [(_code(s, now_us), s) for s in shortfalls if not _only_held(s)]
    final = [s for code, s in judged if code not in TRANSIENT]
    chosen = _first(tuple(final or [s for _, s in judged]))
    waits = [held_wait_s if code is Code.CONCURRENCY_LIMITED else _wait_s(s, now_us) or 0.0 for code, s in judged]
    return _denial(_code(chosen, now_us), chosen, None if final else max(waits))


def slowed_down(slowing: tuple[Shortfall, ...], retry_after_s: float) -> Denial:
    """The denial for a call that limits slow down by more than it can be made to wait inside (rule 28)."""
    facts = _first(slowing).facts
    figures = f"{_shown(facts.unit, facts.spent)} spent and {_shown(facts.unit, facts.held)} held of "
    text = (
        f"Limit '{facts.name}' for {facts.scope} slows calls down: {figures}{_shown(facts.unit, facts.limit)}. "
        f"Retry in {retry_after_s:.1f} s."
    )
    return Denial(Code.RATE_LIMITED, text, limit=facts, retry_after_s=retry_after_s)


def _only_held(shortfall: Shortfall) -> bool:
    """Whether the ask fits what is posted alone. Places are never posted, and an opened session is never given back."""
    return shortfall.fits_posted_alone and shortfall.limit.unit not in (Unit.CONCURRENT, Unit.SESSIONS)


def _first(shortfalls: tuple[Shortfall, ...]) -> Shortfall:
    return min(shortfalls, key=lambda s: (s.amount - s.spent - s.held) / max(1, s.asked))


def _code(shortfall: Shortfall, now_us: int) -> Code:
    limit = shortfall.limit
    if limit.unit is Unit.CONCURRENT and shortfall.fits_posted_alone:
        return Code.CONCURRENCY_LIMITED
    if limit.unit is Unit.SESSIONS:
        return Code.SESSION_LIMIT
    wait_s = _wait_s(shortfall, now_us)
    if wait_s is not None and wait_s <= TRANSIENT_WITHIN_S:
        return Code.RATE_LIMITED
    return Code.SESSION_BUDGET_EXHAUSTED if limit.per_session else Code.BUDGET_EXHAUSTED


def _wait_s(shortfall: Shortfall, now_us: int) -> float | None:
    """Seconds until the ask would fit, None = waiting does not help."""
    if shortfall.wait_us is not None:
        return shortfall.wait_us / 1e6
    if shortfall.resets_at_us is None or shortfall.asked > shortfall.amount:
        return None
    return max(0.0, (shortfall.resets_at_us - now_us) / 1e6)


def _denial(code: Code, shortfall: Shortfall, wait_s: float | None) -> Denial:
    facts = shortfall.facts
    return Denial(
        code,
        _message(code, facts, shortfall, wait_s),
        limit=facts,
        retry_after_s=wait_s if code in _WAITING else None,
    )


_WAITING = frozenset({Code.RATE_LIMITED, Code.CONCURRENCY_LIMITED, Code.BUDGET_HELD})


def _message(code: Code, facts: LimitFacts, shortfall: Shortfall, wait_s: float | None) -> str:
    name, scope = facts.name, facts.scope
    if code is Code.CONCURRENCY_LIMITED:
        return f"Limit '{name}' allows {facts.limit} calls at once for {scope}; wait for one of them to end."
    if code is Code.SESSION_LIMIT:
        return f"Limit '{name}' allows {facts.limit} new sessions for {scope}; go on in an open session, or {_ASK}."
    if code is Code.RATE_LIMITED and shortfall.wait_us is not None:
        period = shortfall.limit.window.kind.value
        return f"Limit '{name}' allows {facts.limit} {facts.unit} a {period} for {scope}; retry in {wait_s:.1f} s."
    figures = (
        f"{_shown(facts.unit, facts.spent)} spent and {_shown(facts.unit, facts.held)} held of "
        f"{_shown(facts.unit, facts.limit)}{_kept(facts)}, this call needs {_shown(facts.unit, facts.asked)}"
    )
    head = f"Limit '{name}' for {scope}: {figures}"
    if code is Code.BUDGET_HELD:
        return f"{head}. The room is held by calls in flight; retry in about {wait_s:.0f} s."
    if code is Code.RATE_LIMITED:
        return f"{head}. Retry in {wait_s:.1f} s."
    if facts.asked > facts.limit:
        return f"{head}, which is more than the whole limit. Make the request smaller, or {_ASK}."
    if facts.resets_at_us is None:
        return f"{head}. Stop here, or {_ASK}; retrying does not help."
    return f"{head}. It resets at {time_shown(facts.resets_at_us)}; until then, {_ASK}."


def _kept(facts: LimitFacts) -> str:
    return f" ({_shown(facts.unit, facts.reserved)} more reserved for others)" if facts.reserved else ""


def _shown(unit: str, amount: int) -> str:
    shown = amount_shown(unit, amount)
    if unit == "usd":
        return f"{shown:.6f}".rstrip("0").rstrip(".") + " USD"
    return f"{shown:,} {unit.removesuffix('s') if amount == 1 else unit}".replace("_", " ")
