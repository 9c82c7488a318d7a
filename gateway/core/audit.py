"""Tamper evidence of the journal: a hash chain over all rows, a keyed head, sealed segments.

hash(n) = SHA-256(hash(n-1) + canonical bytes of row n). Whoever can write the database can also compute hashes, so the
head and the seals carry an HMAC with the install key, which is not in the database: cutting off the end, rewriting the
whole chain or dropping old segments unasked is found too. What a key holder can do is outside of what this can show.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.core.report import Fault

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the journal as stored. `doc` is its exact text, `hash` is hex."""

    seq: int
    segment: str
    at_us: int
    kind: str
    subject: str
    doc: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one process. `last_seq`, `last_hash` and `seal` are None while it is open."""

    name: str
    first_seq: int
    previous_hash: str
    last_seq: int | None = None
    last_hash: str | None = None
    seal: str | None = None
    dropped: bool = False


BEGINNING = Head(0, GENESIS)


def link(previous: str, seq: int, segment: str, at_us: int, kind: str, subject: str, doc: str) -> str:
    """The hash of a row. Lengths stand before free text, so that no two rows have the same bytes."""
    text = f"{previous}{seq}:{at_us}:{len(segment)}:{segment}:{len(kind)}:{kind}:{len(subject)}:{subject}:{doc}"
    # A damaged file can hold bytes that are no UTF-8; they must be told as damage, not crash the walk.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def head_mac(install_key: bytes, head: Head) -> str:
    return _mac(install_key, f"head:{head.seq}:{head.hash}")


def segment_seal(install_key: bytes, segment: Segment) -> str:
    """The HMAC over a segment's bounds, and over whether its rows were dropped."""
    bounds = f"{segment.first_seq}:{segment.previous_hash}:{segment.last_seq}:{segment.last_hash}"
    return _mac(install_key, f"segment:{segment.dropped:d}:{bounds}:{segment.name}")


class Chain:
    """Walks rows in order and tells every fault. Feed all rows, then `finish`."""

    def __init__(self, install_key: bytes, segments: Iterable[Segment]) -> None:
        self._install_key = install_key
        self._segments: Mapping[str, Segment] = {segment.name: segment for segment in segments}
        self._current: Segment | None = None
        self.head = BEGINNING
        self.rows = 0

    def start(self) -> Iterator[Fault]:
        """Passes over dropped segments and checks all seals."""
        position = BEGINNING
        dropping = True
        ordered = sorted(self._segments.values(), key=lambda segment: segment.first_seq)
        for segment in ordered:
            sealed = segment.seal is not None and segment.last_seq is not None and segment.last_hash is not None
            if segment.seal is not None and not _same(segment.seal, segment_seal(self._install_key, segment)):
                yield Fault(segment.first_seq, f"the seal of segment {segment.name} is false")
            if segment.first_seq != position.seq + 1 or segment.previous_hash != position.hash:
                yield Fault(segment.first_seq, f"segment {segment.name} does not join on to the one before it")
            if segment.dropped and not (dropping and sealed):
                yield Fault(segment.first_seq, f"segment {segment.name} was dropped without a seal or out of turn")
            dropping = dropping and segment.dropped
            if not sealed and segment is not ordered[-1]:
                yield Fault(segment.first_seq, f"segment {segment.name} is not sealed although another follows")
            if segment.last_seq is None or segment.last_hash is None:
                break
            position = Head(segment.last_seq, segment.last_hash)
            if dropping:
                self.head = position

    def feed(self, row: Row) -> Iterator[Fault]:
        expected = self.head.seq + 1
        if row.seq != expected:
            missing = f"row {expected} is missing" if row.seq == expected + 1 else f"rows from {expected} are missing"
            yield Fault(expected, f"{missing}: row {row.seq} follows")
        if row.hash != link(self.head.hash, row.seq, row.segment, row.at_us, row.kind, row.subject, row.doc):
            yield Fault(row.seq, f"row {row.seq} was changed, or a row before it is missing")
        if self._current is None or row.segment != self._current.name:
            yield from self._enter(row)
        self.rows += 1
        self.head = Head(row.seq, row.hash)

    def finish(self, head: Head | None, mac: str) -> Iterator[Fault]:
        """`head` and `mac` as stored; None = the head is gone."""
        yield from self._leave()
        if head is None:
            yield Fault(None, "the head of the journal is missing")
            return
        if head != self.head:
            yield Fault(self.head.seq, f"the journal ends at row {self.head.seq}, its head says row {head.seq}")
        if head != BEGINNING and not _same(mac, head_mac(self._install_key, head)):
            yield Fault(head.seq, "the signature of the journal's head is false")
        last = max((segment.first_seq for segment in self._segments.values()), default=0)
        if last > head.seq:
            yield Fault(last, "a segment is on file that begins after the end of the journal")

    def _enter(self, row: Row) -> Iterator[Fault]:
        yield from self._leave()
        segment = self._segments.get(row.segment)
        if segment is None:
            yield Fault(row.seq, f"segment {row.segment} is not on file")
        elif segment.first_seq != row.seq or segment.previous_hash != self.head.hash:
            yield Fault(row.seq, f"segment {row.segment} begins elsewhere than on file")
        self._current = segment

    def _leave(self) -> Iterator[Fault]:
        """Compares the segment that ends here with its seal."""
        segment, self._current = self._current, None
        if (
            segment is not None
            and segment.last_seq is not None
            and Head(segment.last_seq, segment.last_hash or "") != self.head
        ):
            yield Fault(self.head.seq, f"segment {segment.name} ends elsewhere than where it was sealed")


def verify(
    rows: Iterable[Row], head: Head | None, mac: str, segments: Iterable[Segment], install_key: bytes
) -> list[Fault]:
    """All faults of a journal."""
    chain = Chain(install_key, segments)
    faults = list(chain.start())
    for row in rows:
        faults.extend(chain.feed(row))
    faults.extend(chain.finish(head, mac))
    return faults


def _mac(install_key: bytes, text: str) -> str:
    return hmac.digest(install_key, f"comptroller audit {text}".encode("utf-8", "surrogateescape"), "sha256").hex()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())
