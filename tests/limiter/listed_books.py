"""Books that are a list of entries: every figure is summed up from it anew, so they are the model to compare with."""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.core.attribution import Attribution
from gateway.core.idempotency import KeyUsed
from gateway.core.identity import VirtualKey
from gateway.core.ledger import Amounts, CallSettled, Entry, Outcome, SessionChanged
from gateway.core.outbox import OutboxEntry
from gateway.core.report import Totals, TotalsAsk
from gateway.core.session import Session
from gateway.core.stop import Stop
from gateway.ports import BooksUnavailable

Terms = tuple[tuple[str, str | None], ...]


def as_it_is(kind: str, name: str) -> str:
    return f"{kind}~{name}"


def terms(attribution: Attribution, kinds: Sequence[str]) -> Terms:
    """See `TotalsAsk.terms`."""
    recorded = dict(attribution.recorded(as_it_is))
    found: list[tuple[str, str | None]] = []
    for kind in kinds:
        if kind == "role":
            found.append(("roles", ",".join(attribution.roles) or None))
        elif kind.startswith("role:"):
            role = kind.removeprefix("role:")
            found.append(("role", role if role in attribution.roles else None))
        else:
            found.append((kind, recorded.get(kind)))
    return tuple(found)


def has(attribution: Attribution, kind: str, value: str | None) -> bool:
    if kind == "roles":
        return (",".join(attribution.roles) or None) == value
    values = [recorded for name, recorded in attribution.recorded(as_it_is) if name == kind]
    return value in values if value is not None else not values


class ListedBooks:
    """See `gateway.ports.Books`. `ancestors` of the sessions that have any. While `slow`, answers are made at once but
    come when `answer` is called."""

    def __init__(self) -> None:
        self.entries: list[Entry | OutboxEntry | KeyUsed] = []
        self.ancestors: dict[str, tuple[str, ...]] = {}
        self.asked = 0
        self.behind = False
        self.broken = False
        self._held_back: asyncio.Event | None = None

    def be_slow(self) -> None:
        self._held_back = self._held_back or asyncio.Event()

    def answer(self) -> None:
        if self._held_back is not None:
            self._held_back.set()
            self._held_back = None

    @property
    def slow(self) -> bool:
        return self._held_back is not None

    async def commit(self, *entries: Entry | KeyUsed) -> None:
        if self.broken:
            raise BooksUnavailable("broken")
        self.entries += entries

    def post(self, *entries: Entry | OutboxEntry) -> None:
        self.entries += entries

    async def totals(self, asks: Sequence[TotalsAsk]) -> list[Totals]:
        self.asked += 1
        answers = [self.total(ask) for ask in asks]
        if self._held_back is not None:
            await self._held_back.wait()
        if self.broken:
            raise BooksUnavailable("broken")
        return answers

    def total(self, ask: TotalsAsk) -> Totals:
        buckets: dict[int, Amounts] = {}
        opened = 0
        first = 0 if ask.start_us is None else ask.start_us
        end = 1 << 62 if ask.end_us is None else ask.end_us
        for entry in self.entries:
            if isinstance(entry, CallSettled):
                at_us, attribution = entry.started_at_us, entry.attribution
                places = (entry.session_id, *self.ancestors.get(entry.session_id, ()))
            elif isinstance(entry, SessionChanged) and entry.action == "opened" and entry.attribution is not None:
                at_us, attribution = entry.at_us, entry.attribution
                places = (entry.session.id, *entry.session.ancestors)
            else:
                continue
            if not (first <= at_us < end and ask.session_id in (None, *places)):
                continue
            if not all(has(attribution, kind, value) for kind, value in ask.terms):
                continue
            bucket = 0 if ask.bucket_us is None else at_us - at_us % ask.bucket_us
            posted = entry.posted if isinstance(entry, CallSettled) else Amounts()
            buckets[bucket] = buckets.get(bucket, Amounts()).plus(posted)
            opened += isinstance(entry, SessionChanged)
        return Totals(buckets, opened)

    async def find_session(self, key_id: str, mark_kind: str, client_id: str) -> Session | None:
        marked = [
            s for s in self._sessions() if (s.key_id, s.mark.kind, s.mark.client_id) == (key_id, mark_kind, client_id)
        ]
        await asyncio.sleep(0)
        return max(marked, key=lambda s: s.opened_at_us, default=None)

    async def session(self, session_id: str) -> Session | None:
        await asyncio.sleep(0)
        return next((s for s in self._sessions() if s.id == session_id), None)

    async def descendants(self, session_id: str) -> list[Session]:
        return [s for s in self._sessions() if session_id in s.ancestors]

    async def sessions_opened(self, since_us: int) -> Mapping[str, Sequence[int]]:
        found: dict[str, list[int]] = {}
        for entry in self.entries:
            if isinstance(entry, SessionChanged) and entry.action == "opened" and entry.at_us >= since_us:
                opener = "" if entry.attribution is None else entry.attribution.value("opener")
                found.setdefault(opener, []).append(entry.at_us)
        return found

    async def keys(self) -> list[VirtualKey]:
        return []

    async def stops(self) -> list[Stop]:
        return []

    async def remember(self, name: str, value: str) -> None:
        raise NotImplementedError

    async def recall(self, name: str) -> str | None:
        raise NotImplementedError

    def _sessions(self) -> list[Session]:
        return list({e.session.id: e.session for e in self.entries if isinstance(e, SessionChanged)}.values())


def settled(call_id: str, at_us: int, session_id: str, attribution: Attribution, posted: Amounts) -> CallSettled:
    return CallSettled(
        call_id=call_id,
        at_us=at_us,
        started_at_us=at_us,
        session_id=session_id,
        attribution=attribution,
        outcome=Outcome.OK,
        usage=None,
        posted=posted,
        meters=(),
        estimated=None,
        overrun=None,
        price_source="",
        status=200,
        ours_us=0,
        upstream_us=0,
        first_byte_us=None,
    )
