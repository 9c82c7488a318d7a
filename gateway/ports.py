"""What the data plane and the control plane ask of the world, in the domain's own verbs.

Rule: a port offers what a station needs as one operation (hold, settle, void), never get and set.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from gateway.core.identity import VirtualKey
from gateway.core.ledger import Entry
from gateway.core.report import (
    AuditRow,
    AuditSearch,
    CallRow,
    Drift,
    SessionRow,
    Totals,
    TotalsAsk,
    UsageRow,
    Verification,
)
from gateway.core.session import Session
from gateway.core.upstream import UpstreamRequest


class BooksUnavailable(Exception):
    """The books cannot be written or read now: nothing may leave (503 `ledger_unavailable`)."""


class Books(Protocol):
    """The write side of the ledger, and the reads that must see everything written before them."""

    async def commit(self, *entries: Entry) -> None:
        """Durable, all or none, when this returns. Raises BooksUnavailable: then nothing of it was written.

        A caller that is cancelled while waiting must assume that the entries were written.
        """

    def post(self, *entries: Entry) -> None:
        """Queues entries that must not get lost (settlements); they are written as soon as the store can, in order."""

    @property
    def behind(self) -> bool:
        """Whether posted entries wait because the last attempt to write failed: no new call may be let in."""

    async def totals(self, asks: Sequence[TotalsAsk]) -> list[Totals]:
        """The value of counters, as of all entries committed or posted before this call. Raises BooksUnavailable."""

    async def find_session(self, key_id: str, mark_kind: str, client_id: str) -> Session | None:
        """The newest session of this mark inside this key. Raises BooksUnavailable."""

    async def session(self, session_id: str) -> Session | None: ...

    async def sessions_opened(self, since_us: int) -> Mapping[str, Sequence[int]]:
        """Opening times by opener (`agent:<name>`, or `key:<id>` where the key names no agent), for the hourly limit."""

    async def keys(self) -> list[VirtualKey]:
        """All keys that were created at run time, and the stored state of keys that the configuration declares."""

    async def remember(self, name: str, value: str) -> None:
        """Keeps one small installation value (the digest of the first admin token ...)."""

    async def recall(self, name: str) -> str | None: ...


class Reports(Protocol):
    """The read side of the books: slower, never in a call's way, always equal to the ledger."""

    async def usage(self, by: tuple[str, ...], since_us: int | None, until_us: int | None) -> list[UsageRow]: ...

    async def sessions(self, *, key_id: str | None, state: str | None, limit: int) -> list[SessionRow]: ...

    async def call(self, call_id: str) -> CallRow | None: ...

    async def audit(self, search: AuditSearch) -> list[AuditRow]: ...

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
