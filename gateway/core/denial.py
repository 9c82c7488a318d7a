"""Why a call is refused, in one shape for people, agents, the audit log and every wire format.

Rule: a code is final (waiting does not help) or transient (it carries a true retry_after_s); never both.
The HTTP status of a code depends on the wire format and lives in `gateway/web/errors.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any


class Code(StrEnum):
    """Every reason for which a call can be refused. Stable: clients and dashboards match on these."""

    KEY_MISSING = "key_missing"
    KEY_UNKNOWN = "key_unknown"
    KEY_EXPIRED = "key_expired"
    KEY_DISABLED = "key_disabled"
    KEY_REVOKED = "key_revoked"
    MODEL_DENIED = "model_denied"
    MODEL_UNKNOWN = "model_unknown"
    TOOL_DENIED = "tool_denied"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_LIMITED = "concurrency_limited"
    BUDGET_HELD = "budget_held"
    BUDGET_EXHAUSTED = "budget_exhausted"
    SESSION_BUDGET_EXHAUSTED = "session_budget_exhausted"
    LOOP_DETECTED = "loop_detected"
    SESSION_PAUSED = "session_paused"
    SESSION_STOPPED = "session_stopped"
    SESSION_EXPIRED = "session_expired"
    SESSION_LIMIT = "session_limit"
    AGENT_STOPPED = "agent_stopped"
    REQUEST_MALFORMED = "request_malformed"
    REQUEST_TOO_LARGE = "request_too_large"
    FIELD_UNSUPPORTED = "field_unsupported"
    PRICE_UNKNOWN = "price_unknown"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_QUOTA = "upstream_quota"
    UPSTREAM_INVALID = "upstream_invalid"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    OVERLOADED = "overloaded"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    IDEMPOTENCY_REPLY_GONE = "idempotency_reply_gone"
    ROUTE_UNKNOWN = "route_unknown"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TRANSIENT = frozenset(
    {
        Code.RATE_LIMITED,
        Code.CONCURRENCY_LIMITED,
        Code.BUDGET_HELD,
        Code.LEDGER_UNAVAILABLE,
        Code.OVERLOADED,
        Code.UPSTREAM_TIMEOUT,
        Code.UPSTREAM_FAILED,
        Code.UPSTREAM_INVALID,
    }
)

UPSTREAM_FAULTS = "upstream_"
"""How the codes begin of what a provider did: in the middle of a stream, clients may ask again after these."""


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """The limit that refused a call, with figures that add up. Amounts are in `unit`; usd in micro-USD.

    `asked` is the smallest amount that would have been admitted had there been room (rule 30); `granted` is the part of
    `limit` that grants add for now. `limit` is what this call may use: what is `reserved` for others comes on top.
    """

    name: str
    scope: str
    unit: str
    limit: int
    spent: int
    held: int
    asked: int
    resets_at_us: int | None
    granted: int = 0
    reserved: int = 0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent - self.held)


@dataclass(frozen=True, slots=True)
class Denial:
    """One refusal. `message` is one sentence for a person or an agent: what, how much, until when, what to do; `loop`
    holds the figures of a loop verdict."""

    code: Code
    message: str
    call_id: str | None = None
    session_id: str | None = None
    limit: LimitFacts | None = None
    retry_after_s: float | None = None
    rule: str | None = None
    alternatives: tuple[str, ...] = ()
    request_url: str | None = None
    field: str | None = None
    loop: Mapping[str, Any] | None = None

    @property
    def final(self) -> bool:
        return self.code not in TRANSIENT

    def machine(self) -> dict[str, Any]:
        """The object under `error.comptroller`: the same in every wire format, in the portal and in the audit log."""
        return {
            "call": self.call_id,
            "decision": self.call_id,
            "code": self.code.value,
            "limit": None if self.limit is None else _limit_object(self.limit),
            "retry_after_s": self.retry_after_s,
            "rule": self.rule,
            "alternatives": list(self.alternatives),
            "request_url": self.request_url,
            "field": self.field,
            **({} if self.loop is None else {"loop": dict(self.loop)}),
        }


class Refused(Exception):
    """Raised by a station that refuses a call; carries the denial to the edge, which speaks the wire format."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.message)
        self.denial = denial


def amount_shown(unit: str, amount: int) -> int | float:
    """An amount as users read it: usd in dollars (exact to the micro), everything else as it is."""
    return amount / 1_000_000 if unit == "usd" else amount


@lru_cache(maxsize=256)
def time_shown(at_us: int | None) -> str | None:
    """An instant as RFC 3339 in UTC, to the second. Kept: replies name the same few ends of windows."""
    if at_us is None:
        return None
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _limit_object(facts: LimitFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "scope": facts.scope,
        "unit": facts.unit,
        "limit": amount_shown(facts.unit, facts.limit),
        "granted": amount_shown(facts.unit, facts.granted),
        "spent": amount_shown(facts.unit, facts.spent),
        "held": amount_shown(facts.unit, facts.held),
        "remaining": amount_shown(facts.unit, facts.remaining),
        "asked": amount_shown(facts.unit, facts.asked),
        "resets_at": time_shown(facts.resets_at_us),
        **({"reserved": amount_shown(facts.unit, facts.reserved)} if facts.reserved else {}),
    }
