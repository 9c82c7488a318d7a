"""One batch of the group commit: entries in, the parameters of one INSERT out.

Rules: a batch changes the map of open calls as it takes entries, and can take that back; an ending of a call that is
not open is left out; what many entries do to one session or key is written once. Sums are the database's work.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gateway.core.audit import Head, Segment, head_mac, link, segment_seal
from gateway.core.idempotency import KeyUsed
from gateway.core.ledger import (
    AdminChanged,
    Amounts,
    CallDenied,
    CallSettled,
    CallVoided,
    Entry,
    HoldPlaced,
    HoldRaised,
    KeySaved,
    Outcome,
    QuotaRequestChanged,
    Refusals,
    SessionChanged,
    StopChanged,
)
from gateway.core.outbox import AlertCounted, AlertRaised, DeliveryTried, OutboxEntry
from gateway.core.session import SessionState
from gateway.core.usage import Usage
from gateway.storage import journal, requests
from gateway.storage.pseudonyms import NameRow, Pseudonyms, Recorded

OPENED = "opened"

_NO_AMOUNTS = Amounts()


@dataclass(frozen=True, slots=True)
class MetaSaved:
    """An installation value; not part of the journal."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class OrphanSettled:
    """The ending of a call whose owner died (rule 8)."""

    call_id: str
    at_us: int
    posted: Amounts


@dataclass(frozen=True, slots=True)
class NameErased:
    """What stands in the journal when a name was taken out of the names table; the pseudonyms tell which."""

    at_us: int
    actor: str
    kind: str
    ids: tuple[str, ...]


Written = Entry | OutboxEntry | KeyUsed | MetaSaved | OrphanSettled | NameErased


class OpenCall(NamedTuple):
    """A held call as the writer needs it to end it."""

    seq: int
    attribution_id: str


@dataclass(frozen=True, slots=True)
class Opening:
    """The segment that this process begins with its first row."""

    node: str
    epoch: int

    @property
    def name(self) -> str:
        return f"{self.node}-{self.epoch}"


OpenCalls = dict[str, OpenCall]


class Batch:
    """`head` is the end of the chain after it. `segment` is what the process writes in, None before its first row."""

    def __init__(
        self, head: Head, opening: Opening, segment: Segment | None, open_calls: OpenCalls, pseudonyms: Pseudonyms
    ) -> None:
        self.before = head
        self.head = head
        self.segment = segment
        self.ignored = 0
        self._opening = opening
        self._name = opening.name
        self._open = open_calls
        self._pseudonyms = pseudonyms
        self._seq, self._hash = head.seq, head.hash
        self._undo: list[tuple[str, OpenCall | None]] = []
        self._new: dict[str, Recorded] = {}
        self._names: dict[str, NameRow] = {}
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._journal: list[tuple[Any, ...]] = []
        self._held: list[tuple[Any, ...]] = []
        self._ended: list[tuple[Any, ...]] = []
        self._moved: list[tuple[int, str]] = []
        self._raised: dict[int, str] = {}
        self._counted: list[int] = []
        self._sessions: dict[str, tuple[Any, ...]] = {}
        self._requests: dict[str, tuple[Any, ...]] = {}
        self._stops: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._sealed: list[tuple[Any, ...]] = []

    @property
    def empty(self) -> bool:
        return not (self._journal or self._rows or self._sealed)

    def add(self, entries: Iterable[Written]) -> None:
        """Raises TypeError or ValueError for entries that cannot be written at all."""
        for entry in entries:
            _ADDERS[type(entry)](self, entry)
        self.head = Head(self._seq, self._hash)

    def seal(self, segment: Segment, install_key: bytes) -> None:
        """Closes the segment of this process, or of one that died, at the end of the chain as it is now."""
        closed = replace(segment, last_seq=self._seq, last_hash=self._hash)
        self._sealed.append((closed.name, closed.last_seq, closed.last_hash, segment_seal(install_key, closed)))

    def undo(self) -> None:
        """Takes back what this batch did to the map of open calls."""
        for call_id, before in reversed(self._undo):
            if before is None:
                self._open.pop(call_id, None)
            else:
                self._open[call_id] = before
        self._undo.clear()

    def written(self) -> None:
        """The batch is durable."""
        for recorded in self._new.values():
            recorded.written = True

    def parameters(self, install_key: bytes) -> tuple[Any, ...]:
        """In the order of the columns of `intake`."""
        rows = self._rows
        for recorded in self._new.values():
            self._names.update((row[0], row) for row in recorded.names)
        return (
            self.before.seq,
            self.before.hash,
            self.head.seq,
            self.head.hash,
            head_mac(install_key, self.head),
            self._name,
            _json(rows.get("segments_opened")),
            _json(self._sealed),
            _json(self._journal),
            _json([(r.id, r.doc, r.terms) for r in self._new.values()]),
            _json(list(self._names.values())),
            _json(self._held),
            _json(list(self._raised.items())),
            _json(self._ended),
            _json(self._moved),
            _json(rows.get("denied")),
            _json(self._counted),
            _json(list(self._sessions.values())),
            _json(rows.get("session_opens")),
            _json(rows.get("keys")),
            _json(rows.get("meta")),
            _json(rows.get("alerts")),
            _json(rows.get("alert_counts")),
            _json(rows.get("deliveries")),
            _json(rows.get("idempotency")),
            _json(list(self._requests.values())),
            _json(list(self._stops.values())),
        )

    def _write(self, at_us: int, kind: str, subject: str, doc: str) -> int:
        if self.segment is None:
            self._begin_segment(at_us)
        self._seq += 1
        self._hash = link(self._hash, self._seq, self._name, at_us, kind, subject, doc)
        self._journal.append((self._seq, at_us, kind, subject, doc, self._hash))
        return self._seq

    def _begin_segment(self, at_us: int) -> None:
        opening = self._opening
        self.segment = Segment(opening.name, self._seq + 1, self._hash)
        self._row("segments_opened", (opening.name, opening.node, opening.epoch, self._seq + 1, self._hash))
        doc = journal.text({"node": opening.node, "epoch": opening.epoch})
        self._write(at_us, journal.SEGMENT, opening.name, doc)

    def _row(self, column: str, row: tuple[Any, ...]) -> None:
        self._rows.setdefault(column, []).append(row)

    def _record(self, recorded: Recorded) -> str:
        if not recorded.written:
            self._new[recorded.id] = recorded
        return recorded.id

    def _place(self, entry: HoldPlaced) -> None:
        if entry.call_id in self._open:
            raise ValueError(f"call {entry.call_id} is held already")
        recorded = self._pseudonyms.recorded(entry.attribution)
        doc = journal.held(entry, recorded, self._pseudonyms, self._names)
        seq = self._write(entry.at_us, journal.HELD, entry.call_id, doc)
        attribution_id = self._record(recorded)
        where = (entry.at_us, entry.session_id, attribution_id, entry.kind)
        self._held.append((seq, entry.call_id, *where, int(bool(entry.would_deny))))
        self._undo.append((entry.call_id, None))
        self._open[entry.call_id] = OpenCall(seq, attribution_id)

    def _raise(self, entry: HoldRaised) -> None:
        call = self._open.get(entry.call_id)
        if call is None:
            self.ignored += 1
            return
        self._write(entry.at_us, journal.RAISED, entry.call_id, journal.raised(entry))
        self._raised[call.seq] = journal.text(entry.held)

    def _settle(self, entry: CallSettled) -> None:
        call = self._end(entry.call_id)
        if call is None:
            return
        attribution_id = self._record(self._pseudonyms.recorded(entry.attribution))
        doc = journal.settled(entry, attribution_id, self._pseudonyms, self._names)
        self._write(entry.at_us, journal.SETTLED, entry.call_id, doc)
        if attribution_id != call.attribution_id:
            self._moved.append((call.seq, attribution_id))
        self._post(call, (entry.at_us, entry.outcome, entry.estimated, entry.status), entry.posted, entry.usage)

    def _settle_orphan(self, entry: OrphanSettled) -> None:
        call = self._end(entry.call_id)
        if call is None:
            return
        doc = {"attribution": call.attribution_id, "outcome": Outcome.ORPHAN, "estimated": Outcome.ORPHAN}
        self._write(entry.at_us, journal.SETTLED, entry.call_id, journal.text({**doc, "posted": entry.posted}))
        self._post(call, (entry.at_us, Outcome.ORPHAN, Outcome.ORPHAN, None), entry.posted, None)

    def _post(self, call: OpenCall, head: tuple[Any, ...], posted: Amounts, usage: Usage | None) -> None:
        self._ended.append((call.seq, "settled", *head, *_sums_of(posted, usage)))
        self._counted.append(call.seq)

    def _void(self, entry: CallVoided) -> None:
        call = self._end(entry.call_id)
        if call is None:
            return
        self._write(entry.at_us, journal.VOIDED, entry.call_id, journal.voided(entry))
        head = (entry.at_us, None, None, entry.status)
        self._ended.append((call.seq, "voided", *head, *_sums_of(_NO_AMOUNTS, None)))

    def _end(self, call_id: str) -> OpenCall | None:
        call = self._open.pop(call_id, None)
        if call is None:
            self.ignored += 1
        else:
            self._undo.append((call_id, call))
        return call

    def _deny(self, entry: CallDenied) -> None:
        recorded = self._pseudonyms.recorded(entry.attribution)
        doc = journal.denied(entry, recorded, self._pseudonyms, self._names)
        seq = self._write(entry.at_us, journal.DENIED, entry.call_id, doc)
        attribution_id = self._record(recorded)
        where = (entry.at_us, entry.session_id, attribution_id, entry.kind)
        self._row("denied", (seq, entry.call_id, *where, entry.code, entry.count))
        self._counted.append(seq)

    def _refuse(self, entry: Refusals) -> None:
        self._write(entry.at_us, journal.REFUSALS, "", journal.refusals(entry))

    def _change_session(self, entry: SessionChanged) -> None:
        session = entry.session
        recorded = None if entry.attribution is None else self._pseudonyms.recorded(entry.attribution)
        doc = journal.session(entry, recorded, self._pseudonyms, self._names)
        self._write(entry.at_us, journal.SESSION, session.id, doc)
        self._sessions[session.id] = (
            session.id,
            session.key_id,
            session.mark.kind,
            self._client(session.mark.client_id),
            self._client(session.mark.agent_part),
            SessionState(session.state).value,
            session.opened_at_us,
            session.run_started_us,
            session.last_active_us,
            self._pseudonyms.hide(session.reason, entry.attribution, self._names),
            session.ancestors,
            journal.parts(session.parts),
        )
        if recorded is None:
            return
        attribution_id = self._record(recorded)
        if entry.action == OPENED:
            self._row("session_opens", (attribution_id, entry.at_us, session.id))

    def _change_stop(self, entry: StopChanged) -> None:
        stop = entry.stop
        name, doc = journal.stop(entry, self._pseudonyms, self._names)
        self._write(entry.at_us, journal.STOP, f"{stop.kind}:{name}", doc)
        told = (self._pseudonyms.hide(text, None, self._names) for text in (stop.reason, stop.actor))
        self._stops[stop.kind, name] = (stop.kind, name, stop.state, *told, stop.at_us)

    def _client(self, client_id: str) -> str:
        found = self._pseudonyms.client(client_id)
        if found:
            self._names[found] = (found, "session", client_id)
        return found

    def _administer(self, entry: AdminChanged) -> None:
        subject, doc = journal.admin(entry, self._pseudonyms, self._names)
        self._write(entry.at_us, journal.ADMIN, subject, doc)

    def _save_key(self, entry: KeySaved) -> None:
        self._write(entry.at_us, journal.KEY, entry.key.id, journal.key(entry, self._pseudonyms, self._names))
        self._row("keys", (entry.key.id, entry.key.digest, journal.key_document(entry.key)))

    def _change_request(self, entry: QuotaRequestChanged) -> None:
        request = entry.request
        doc = journal.text(requests.document(entry, self._pseudonyms, self._names))
        seq = self._write(entry.at_us, journal.REQUEST, request.id, doc)
        self._requests[request.id] = (request.id, seq, request.state, request.asked_us, requests.said(request))

    def _remember(self, entry: MetaSaved) -> None:
        self._row("meta", (entry.name, entry.value))

    def _raise_alert(self, entry: AlertRaised) -> None:
        alert, doc = entry.alert, journal.alert(entry, self._pseudonyms, self._names)
        row = (entry.alert_id, alert.at_us, alert.kind, alert.severity, doc, entry.due_us, entry.channels)
        self._row("alerts", row)

    def _count_alert(self, entry: AlertCounted) -> None:
        self._row("alert_counts", (entry.alert_id, entry.count, entry.last_at_us))

    def _deliver(self, entry: DeliveryTried) -> None:
        outcome = (entry.state, entry.attempts, entry.due_us, entry.error)
        self._row("deliveries", (entry.alert_id, entry.channel, *outcome))

    def _use_key(self, entry: KeyUsed) -> None:
        self._row("idempotency", (entry.key_id, entry.key_digest, entry.body_digest, entry.call_id, entry.at_us))

    def _erase(self, entry: NameErased) -> None:
        doc = {"action": "name.erase", "actor": self._pseudonyms.hide(entry.actor, None, self._names)}
        self._write(entry.at_us, journal.ADMIN, entry.kind, journal.text({**doc, "detail": {"ids": entry.ids}}))


_ADDERS: Mapping[type, Callable[[Batch, Any], None]] = {
    HoldPlaced: Batch._place,
    HoldRaised: Batch._raise,
    CallSettled: Batch._settle,
    CallVoided: Batch._void,
    CallDenied: Batch._deny,
    Refusals: Batch._refuse,
    SessionChanged: Batch._change_session,
    StopChanged: Batch._change_stop,
    AdminChanged: Batch._administer,
    KeySaved: Batch._save_key,
    QuotaRequestChanged: Batch._change_request,
    MetaSaved: Batch._remember,
    OrphanSettled: Batch._settle_orphan,
    NameErased: Batch._erase,
    AlertRaised: Batch._raise_alert,
    AlertCounted: Batch._count_alert,
    DeliveryTried: Batch._deliver,
    KeyUsed: Batch._use_key,
}


def _sums_of(posted: Amounts, usage: Usage | None) -> tuple[int, ...]:
    return (
        posted.input_tokens,
        posted.cached_input_tokens,
        posted.output_tokens,
        posted.usd_micros,
        posted.requests,
        posted.tool_calls,
        0 if usage is None else usage.cache_write_tokens,
        0 if usage is None else usage.reasoning_tokens,
    )


def _json(rows: Sequence[object] | None) -> str:
    return journal.text(rows) if rows else ""
