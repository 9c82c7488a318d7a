"""What can be asked of the books and what they answer. Names in answers are in clear unless they were erased."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.ledger import Amounts, CallState
from gateway.core.session import Session

NOTHING = Amounts()
USAGE_DIMENSIONS = (
    *("user", "team", "app", "service", "agent", "session", "model", "provider", "tool", "key", "tag"),
    *("end_user", "model_tier", "environment", "cost_center"),
)
"""What `usage --by` accepts. A call with several tags counts under each of them."""


@dataclass(frozen=True, slots=True)
class TotalsAsk:
    """The sum of settled calls that match: the value of one counter (rule 11).

    `terms` are (kind, recorded value) pairs as `Attribution.recorded` writes them, None = the call has no such value.
    The window is that of the *hold* (rule 26): [start_us, end_us). With `bucket_us` the answer is split into buckets of
    that length, counted from the epoch.
    """

    terms: tuple[tuple[str, str | None], ...]
    session_id: str | None
    start_us: int | None
    end_us: int | None
    bucket_us: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """`buckets` maps a bucket's start to its sum; without `bucket_us` everything stands under 0."""

    buckets: Mapping[int, Amounts]
    sessions_opened: int = 0


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of who spent what. `group` has one value per dimension asked for, `-` where a call has none;
    `would_deny` = calls that something which only observes would have refused."""

    group: tuple[str, ...]
    calls: int
    denied: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    tool_calls: int
    cost_usd_micros: int
    estimated_calls: int
    would_deny: int = 0


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session with what was booked on it; held amounts are the limiter's business and not in the books' sums.
    `children` = how many it ever opened, `below` = what was booked on all its descendants."""

    session: Session
    posted: Amounts
    calls: int
    denied: int
    user: str
    team: str
    agent: str
    key: str
    children: int = 0
    below: Amounts = NOTHING


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What one key used in one stretch of time, which begins at `start_us`."""

    start_us: int
    calls: int
    denied: int
    posted: Amounts


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """Every field narrows; None does not. `text` is searched for in the row's document; `would_deny` finds calls that
    something which only observes would have refused."""

    since_us: int | None = None
    until_us: int | None = None
    kind: str | None = None
    call_id: str | None = None
    session_id: str | None = None
    text: str | None = None
    limit: int = 100
    would_deny: bool = False


@dataclass(frozen=True, slots=True)
class AuditRow:
    seq: int
    at_us: int
    segment: str
    kind: str
    doc: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the journal was tampered with or damaged, in words."""

    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    rows: int
    segments: int
    head: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call as booked, for `denial_explain`, `audit search` and tests. `denial` is set where it was refused, and
    where we ended it while it ran; `routed_from` = the model that was asked for, where another one answered."""

    call_id: str
    kind: str
    state: CallState | None
    started_at_us: int
    session_id: str
    group: Mapping[str, str]
    held: Amounts
    posted: Amounts
    outcome: str | None
    estimated: str | None
    status: int | None
    denial: Mapping[str, Any] | None
    would_deny: tuple[str, ...] = ()
    routed_from: str | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """A derived figure that differs from the sum of its ledger rows."""

    table: str
    key: str
    derived: Amounts
    counted: Amounts
