"""What the admin API answers. Money is in USD, exact to the micro-dollar; times are RFC 3339 in UTC."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Key(Answer):
    id: str
    name: str
    state: Literal["active", "disabled", "revoked"]
    user: str
    team: str
    app: str
    service: str
    agent: str
    models: list[str] | None
    tools: list[str] | None
    limits: list[str]
    expires_at: str | None
    may_assert_user: bool
    origin: str
    created_at: str


class KeyWithSecret(Key):
    """After making or rotating: the secret exists nowhere else. None where an existing key only changed its state."""

    secret: str | None = None


class Keys(Answer):
    keys: list[Key]


class UsageRow(BaseModel):
    """Also one text for each dimension asked for, `-` where a call has none."""

    model_config = ConfigDict(extra="allow")

    calls: int
    denied: int
    would_deny: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    tool_calls: int
    cost_usd: float
    estimated_calls: int


class Usage(Answer):
    by: list[str]
    since: str | None
    until: str | None
    rows: list[UsageRow]


class Counter(Answer):
    """One live counter; `remaining` = `limit` - `spent` - `held`, at least 0; `granted` is part of `limit`, for now."""

    name: str
    scope: str
    unit: str
    limit: float | int
    granted: float | int
    spent: float | int
    held: float | int
    remaining: float | int
    window: str
    resets_at: str | None


class Session(Answer):
    """`tree_` figures are those of the session and of all below it; `children` = how many it ever opened itself."""

    id: str
    state: Literal["open", "paused", "stopped", "closed"]
    kind: str
    client_id: str
    parent: str | None
    depth: int
    children: int
    key: str
    user: str
    team: str
    agent: str
    opened_at: str
    last_active_at: str
    reason: str
    calls: int
    denied: int
    input_tokens: int
    output_tokens: int
    tool_calls: int
    cost_usd: float
    tree_tokens: int
    tree_tool_calls: int
    tree_cost_usd: float


class Sessions(Answer):
    sessions: list[Session]


class Descendant(Answer):
    id: str
    parent: str
    depth: int
    state: Literal["open", "paused", "stopped", "closed"]


class SessionDetail(Session):
    """`denials` are the last ones, newest first; `descendants` all sessions below, oldest first."""

    in_flight: int
    limits: list[Counter]
    descendants: list[Descendant]
    denials: list[dict[str, Any]]


class SessionState(Answer):
    """`ended` = calls in flight that were ended by the change."""

    id: str
    state: Literal["open", "paused", "stopped", "closed"]
    reason: str
    closed: list[str]
    ended: int


class ChildSession(Answer):
    """A child just opened. `token` is told this once and goes into the header named by `header`; `limits` are the
    child's part."""

    summary: str
    session: str
    parent: str
    depth: int
    token: str
    header: str
    agent: str | None
    expires_at: str
    limits: list[Counter]


class Closed(Answer):
    """`closed` = the ids of the session and of what was open below it."""

    summary: str
    session: str
    closed: list[str]


class HistoryRow(Answer):
    start: str
    calls: int
    denied: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    tool_calls: int
    cost_usd: float


class History(Answer):
    """What one key used, oldest first; steps in which it used nothing are left out."""

    summary: str
    by: Literal["hour", "day"]
    since: str
    until: str
    rows: list[HistoryRow]


class Stop(Answer):
    """An agent, key, user or team that is held as a whole; `open` only in the answer that lifts it."""

    kind: Literal["agent", "key", "user", "team"]
    name: str
    state: Literal["open", "paused", "stopped"]
    reason: str
    actor: str
    at: str


class Stops(Answer):
    stops: list[Stop]


class StopChanged(Stop):
    """`ended` = calls in flight that were ended by the change."""

    ended: int


class Delivery(Answer):
    """One way out. `next_at` is when it is tried again, null if it is not; `error` is why the last attempt failed."""

    channel: str
    state: Literal["waiting", "sent", "dead"]
    attempts: int
    next_at: str | None
    error: str


class Alert(Answer):
    """`count` says how many of the same it stands for; no delivery: it was not to be sent, or there is no way out."""

    id: str
    at: str
    last_at: str
    count: int
    kind: str
    severity: Literal["info", "warning", "critical"]
    subject: str
    text: str
    facts: dict[str, str | int | float | bool | None]
    deliveries: list[Delivery]


class Alerts(Answer):
    alerts: list[Alert]


class AuditRow(Answer):
    seq: int
    at: str
    segment: str
    kind: str
    doc: dict[str, Any]
    hash: str


class AuditRows(Answer):
    rows: list[AuditRow]


class Fault(Answer):
    seq: int | None
    what: str


class Drift(Answer):
    """A derived figure that differs from its ledger rows."""

    table: str
    key: str


class Verified(Answer):
    ok: bool
    rows: int
    segments: int
    head: str
    faults: list[Fault]
    drift: list[Drift]


class Finding(Answer):
    """Line and column count from 1; 0 where the whole file is meant."""

    path: str
    line: int
    column: int
    message: str
    fix: str


class Findings(Answer):
    findings: list[Finding]


class TestResult(Answer):
    __test__ = False  # the test runner takes the name for one of its own

    passed: bool
    finding: Finding | None


class TestResults(Answer):
    __test__ = False

    results: list[TestResult]


class Explanation(Answer):
    """`lines` tell it to a person: rows that matched, rows that nearly did, Casbin's own word."""

    allowed: bool
    reason: str
    rule: str | None
    policy_version: str
    lines: list[str]


class Reloaded(Answer):
    """Not `ok`: nothing changed, and `findings` say why."""

    ok: bool
    findings: list[str]


class ErrorObject(BaseModel):
    model_config = ConfigDict(extra="allow")

    message: str
    type: str
    param: str | None
    code: str
    comptroller: dict[str, Any] | None = None


class Error(Answer):
    """The one error shape; codes are in docs/errors.md."""

    error: ErrorObject
