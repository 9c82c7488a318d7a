"""What the data plane and the control plane ask of the world, in the domain's own verbs.

Rule: a port offers what a station needs as one operation (hold, settle, void), never get and set.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from gateway.core.alert import Alert
from gateway.core.alert_threshold import Reached
from gateway.core.anomaly import Spending
from gateway.core.attribution import Attribution
from gateway.core.budget import Ask, Shortfall
from gateway.core.catalog import Deployment, PricedRates
from gateway.core.condition_context import AttributeValue, PolicyContext
from gateway.core.decision import CallDecision, Decision
from gateway.core.grant import CounterName, Grants
from gateway.core.hold import Binding, CounterView, Hold, Summary
from gateway.core.idempotency import EarlierCall, KeyUsed
from gateway.core.identity import VirtualKey
from gateway.core.ledger import Amounts, Entry
from gateway.core.limit import Limit
from gateway.core.outbox import DeliveryTried, DueDelivery, OutboxEntry, OutboxRow
from gateway.core.quota_request import QuotaRequest
from gateway.core.record import CallRecord
from gateway.core.report import (
    AuditRow,
    AuditSearch,
    CallRow,
    Drift,
    HistoryRow,
    SessionRow,
    Totals,
    TotalsAsk,
    UsageRow,
    Verification,
)
from gateway.core.session import Lineage, Session
from gateway.core.sizing import Room
from gateway.core.stop import Stop
from gateway.core.upstream import Timeouts, UpstreamRequest


class BooksUnavailable(Exception):
    """The books cannot be written or read now: nothing may leave (503 `ledger_unavailable`)."""


class Books(Protocol):
    """The write side of the ledger, and the reads that must see everything written before them."""

    async def commit(self, *entries: Entry | KeyUsed) -> None:
        """Durable, all or none, when this returns. Raises BooksUnavailable: then nothing of it was written.

        A caller that is cancelled while waiting must assume that the entries were written.
        """

    def post(self, *entries: Entry | OutboxEntry) -> None:
        """Queues entries that must not get lost (settlements); they are written as soon as the store can, in order."""

    @property
    def behind(self) -> bool:
        """Whether posted entries wait because the last attempt to write failed: no new call may be let in."""

    async def totals(self, asks: Sequence[TotalsAsk]) -> list[Totals]:
        """The value of counters, as of all entries committed or posted before this call. Raises BooksUnavailable."""

    async def find_session(self, key_id: str, mark_kind: str, client_id: str) -> Session | None:
        """The newest session of this mark inside this key. Raises BooksUnavailable."""

    async def session(self, session_id: str) -> Session | None: ...

    async def descendants(self, session_id: str) -> list[Session]:
        """Every session below this one, oldest first. Raises BooksUnavailable."""

    async def sessions_opened(self, since_us: int) -> Mapping[str, Sequence[int]]:
        """Opening times by opener (`agent:<name>`, or `key:<name>` without an agent), for the hourly limit."""

    async def stops(self) -> list[Stop]:
        """All agents, keys, users and teams that are held as a whole."""

    async def keys(self) -> list[VirtualKey]:
        """All keys that were created at run time, and the stored state of keys that the configuration declares."""

    async def remember(self, name: str, value: str) -> None:
        """Keeps one small installation value (the digest of the first admin token ...)."""

    async def recall(self, name: str) -> str | None: ...


class Reports(Protocol):
    """The read side of the books: slower, never in a call's way, always equal to the ledger."""

    async def usage(self, by: tuple[str, ...], since_us: int | None, until_us: int | None) -> list[UsageRow]: ...

    async def sessions(self, *, key_id: str | None, state: str | None, limit: int) -> list[SessionRow]: ...

    async def history(self, key_id: str, step_s: int, since_us: int, until_us: int) -> list[HistoryRow]:
        """What one key used, a row for each step in which it did, oldest first. Steps are whole quarters of an hour;
        `since_us` and `until_us` (not included) lie on steps."""

    async def call(self, call_id: str) -> CallRow | None: ...

    async def quota_requests(
        self,
        *,
        request_id: str | None = None,
        state: str | None = None,
        since_us: int | None = None,
        limit: int,
    ) -> list[QuotaRequest]:
        """Newest first; `since_us` is when they were asked for."""

    async def audit(self, search: AuditSearch) -> list[AuditRow]: ...

    async def alerts(self, *, alert_id: str | None, state: str | None, limit: int) -> list[OutboxRow]:
        """Newest first; with a state, only those with a delivery in it."""

    async def spending(self, kind: str, since_us: int, hour_us: int, least_usd_micros: int) -> list[Spending]:
        """For each agent or team that spent at least so much since `hour_us`: that, and its hours since `since_us`."""

    async def verify(self) -> Verification:
        """Walks the whole hash chain, all segments, and compares the derived tables with it."""

    async def recount(self) -> list[Drift]:
        """Every rollup that differs from its ledger rows. Empty = the books agree."""


class UpstreamReply(Protocol):
    """A reply whose headers have arrived. Header names are lower case. Close it whether or not it was read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamError (UpstreamInvalid above `reply_bytes_max`)."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, nothing joined and nothing held back. Raises UpstreamError."""

    async def close(self) -> None:
        """Idempotent. Before the end of the body it drops the connection, so that the provider stops working."""


class Upstream(Protocol):
    """Sends requests to one provider. Raises UpstreamError; a reply of any status is a reply, not an error."""

    async def send(self, request: UpstreamRequest) -> UpstreamReply: ...

    async def close(self) -> None: ...


class Clock(Protocol):
    """The only source of time. Wall clock for the books, monotonic for durations."""

    def now_us(self) -> int: ...

    def monotonic_ns(self) -> int: ...


class Ids(Protocol):
    """New identifiers: unguessable, sorted by time."""

    def new(self, prefix: str) -> str: ...


class Policy(Protocol):
    """Casbin's rules as one immutable version at a time; fails closed."""

    @property
    def version(self) -> str: ...

    def decide(
        self, subjects: frozenset[str], model: str, tool: str, action: str, context: PolicyContext
    ) -> Decision: ...

    def decide_call(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], context: PolicyContext
    ) -> CallDecision: ...

    def standing_decision(
        self, subjects: frozenset[str], model: str, tools: tuple[str, ...], principal: Mapping[str, AttributeValue]
    ) -> CallDecision | None:
        """What `decide_call` says whenever this principal asks; None where it takes more than that to tell."""

    def decide_tool_call(
        self, subjects: frozenset[str], models: tuple[str, ...], tool: str, context: PolicyContext
    ) -> Decision:
        """Judged with each model that may have asked for it; any denial wins (rule 20)."""

    def lists_tool(
        self, subjects: frozenset[str], models: tuple[str, ...], tool: str, context: PolicyContext
    ) -> Decision:
        """Whether a tool is shown; arguments count as those that let the call pass (rule 21)."""

    def roles_of(self, subjects: frozenset[str]) -> frozenset[str]: ...


class Prices(Protocol):
    """Rates in integers, resolved once per model and day."""

    def rates_for(self, model: str, deployment: Deployment, at_us: int) -> PricedRates | None:
        """None = the price is unknown."""


class Tokens(Protocol):
    """Counts o200k tokens without ever blocking the loop for long, and without ever failing on content."""

    @property
    def ready(self) -> bool:
        """Whether counting can start at once; the first call loads the ranks in a thread."""

    async def count(self, texts: Sequence[str]) -> int: ...


class Provider(Protocol):
    """One provider with its credential and address."""

    @property
    def name(self) -> str: ...

    async def send(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamReply:
        """`headers` = the client's that go along; they never replace a credential. Raises UpstreamError."""

    def redact(self, text: str) -> str:
        """The text with this provider's credentials taken out."""

    def credentials(self) -> tuple[int, int]:
        """How many it has, and how many of them are left alone for now because they were refused."""


class Limiter(Protocol):
    """The live counters: check and take are one operation. Raises BooksUnavailable where a counter cannot be loaded."""

    def bindings(self, attribution: Attribution, session_id: str, lineage: Lineage) -> tuple[Binding, ...]:
        """`lineage` is always that of the session; of a limit on sessions each of its places has a counter."""

    async def load(self, bindings: Sequence[Binding], session_id: str, now_us: int, *, fresh_session: bool) -> None: ...

    def rooms(self, bindings: Sequence[Binding], now_us: int) -> tuple[Room, ...]: ...

    def shortfalls(
        self, bindings: Sequence[Binding], ask: Ask, now_us: int, least: Ask | None = None
    ) -> tuple[Shortfall, ...]: ...

    def reserve(
        self,
        call_id: str,
        attribution: Attribution,
        session_id: str,
        bindings: tuple[Binding, ...],
        ask: Ask,
        now_us: int,
        least: Ask | None = None,
        *,
        slowed: bool = False,
    ) -> Hold | tuple[Shortfall, ...]: ...

    def pace(self, slowing: tuple[Shortfall, ...], now_us: int) -> int:
        """How many microseconds a call past these limits waits; if that is a wait inside, its places are taken."""

    def top_up(self, hold: Hold, more: Amounts, now_us: int) -> bool: ...

    def lacking(self, hold: Hold, more: Amounts, now_us: int) -> tuple[Shortfall, ...]:
        """The hard limits that refuse to raise this hold."""

    def shrink(self, hold: Hold, less: Amounts) -> None: ...

    async def move(self, hold: Hold, attribution: Attribution, now_us: int) -> bool:
        """Holds a call on another attribution's limits too and settles it there; False = no room, nothing changed."""

    def settle(self, hold: Hold, posted: Amounts) -> tuple[Reached, ...]:
        """Returns the marks of `alert_at` that limits reached by it."""

    def void(self, hold: Hold, *, written: bool = True) -> None:
        """Gives a hold back; `written` = it was durable, so a session that it opened stays counted."""

    async def freed(self, timeout_s: float) -> bool: ...

    def configure(
        self, limits: tuple[Limit, ...], key_limits: Mapping[str, tuple[Limit, ...]], now_us: int
    ) -> None: ...

    def grant(self, grants: Grants, now_us: int) -> None:
        """Takes over all raises for a time; they bind the next call, waiting ones and the next top-up."""

    def drawn(self) -> Mapping[CounterName, tuple[int, int]]:
        """Raised limits that holds went beyond since this was last asked: since when, and at most how far."""

    def summary(self, hold: Hold) -> Summary: ...

    def view(self, bindings: Sequence[Binding], now_us: int) -> list[CounterView]: ...

    def views(self, now_us: int) -> list[CounterView]: ...


class Telemetry(Protocol):
    """Told once about every call that ended or was refused; never waits, never raises."""

    def finished(self, record: CallRecord) -> None: ...


class Alerts(Protocol):
    """Tells the operator what nobody asked about; never waits, never raises. Floods are summed, the rest is durable."""

    def post(self, alert: Alert) -> None: ...


class Outbox(Protocol):
    """Raised alerts on their way out. Everything here raises BooksUnavailable."""

    async def due(self, channel: str, now_us: int, limit: int) -> list[DueDelivery]:
        """What waits to go out by this channel, longest due first."""

    async def next_due_us(self, channel: str) -> int | None: ...

    async def tried(self, *attempts: DeliveryTried) -> None:
        """Durable when this returns."""

    async def tidy(self, channels: Sequence[str], before_us: int, rows_max: int) -> int:
        """Gives up what waits for a channel that is none of these, and drops alerts raised before that time or beyond
        so many rows, oldest first, unless they still wait. Returns how many were dropped."""


class MadeCalls(Protocol):
    """What the books remember of Idempotency-Keys. Raises BooksUnavailable."""

    async def find(self, key_id: str, key_digest: str, since_us: int) -> EarlierCall | None:
        """The latest call made with this key after that time."""
