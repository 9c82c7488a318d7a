"""The hash chain finds every change to the journal: P7 asks for 100 % of 10,000 mutations."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import BEGINNING, GENESIS, Head, Row, Segment, head_mac, link, segment_seal, verify

KEY = bytes(range(32))
STRANGERS_KEY = bytes(32)
MUTATIONS = 10_000


class Journal:
    """A journal as an attacker finds it: everything in the database can be changed, the key is elsewhere."""

    def __init__(self, rows: list[Row], segments: list[Segment], head: Head, mac: str) -> None:
        self.rows, self.segments, self.head, self.mac = rows, segments, head, mac

    def faults(self) -> list[str]:
        return [fault.what for fault in verify(self.rows, self.head, self.mac, self.segments, KEY)]


def journal(segment_lengths: tuple[int, ...] = (4, 5, 4)) -> Journal:
    rows: list[Row] = []
    segments: list[Segment] = []
    head = BEGINNING
    for number, length in enumerate(segment_lengths):
        first = Segment(f"local-{number}", head.seq + 1, head.hash)
        for _ in range(length):
            row = chained(head, first.name, f"call_{head.seq}")
            rows.append(row)
            head = Head(row.seq, row.hash)
        segments.append(sealed(replace(first, last_seq=head.seq, last_hash=head.hash)))
    segments[-1] = replace(segments[-1], last_seq=None, last_hash=None, seal=None)
    return Journal(rows, segments, head, head_mac(KEY, head))


def chained(head: Head, segment: str, subject: str, doc: str = '{"held":{"usd_micros":900}}') -> Row:
    row = Row(head.seq + 1, segment, 1_700_000_000_000_000 + head.seq, "held", subject, doc, "")
    return replace(row, hash=hash_of(head.hash, row))


def hash_of(previous: str, row: Row) -> str:
    return link(previous, row.seq, row.segment, row.at_us, row.kind, row.subject, row.doc)


def sealed(segment: Segment) -> Segment:
    return replace(segment, seal=segment_seal(KEY, segment))


def rewritten(rows: list[Row]) -> list[Row]:
    """The same rows with hashes that fit: what whoever can write the database can do."""
    found, previous = [], GENESIS
    for seq, row in enumerate(rows, start=1):
        moved = replace(row, seq=seq)
        previous = hash_of(previous, moved)
        found.append(replace(moved, hash=previous))
    return found


@pytest.mark.parametrize("lengths", [(1,), (1, 1), (4, 5, 4)])
def test_an_untouched_journal_verifies(lengths: tuple[int, ...]) -> None:
    assert journal(lengths).faults() == []


def test_an_empty_journal_verifies() -> None:
    assert verify([], BEGINNING, "", [], KEY) == []


def changed_field(victim: Journal, chance: random.Random) -> None:
    index = chance.randrange(len(victim.rows))
    row = victim.rows[index]
    changes: list[dict[str, Any]] = [
        {"seq": row.seq + chance.choice((-1, 1, 1000))},
        {"segment": chance.choice(("local-9", "", row.segment + " "))},
        {"at_us": row.at_us + chance.choice((-1, 1))},
        {"kind": chance.choice(("voided", "Held", ""))},
        {"subject": row.subject + chance.choice(("0", " ", "\x00"))},
        {"doc": row.doc.replace("9", chance.choice("012345678"), 1)},
        {"doc": row.doc + " "},
        {"hash": row.hash[:-1] + chance.choice("ghijk")},
    ]
    victim.rows[index] = replace(row, **chance.choice(changes))


def deleted(victim: Journal, chance: random.Random) -> None:
    start = chance.randrange(len(victim.rows))
    del victim.rows[start : start + chance.randint(1, 3)]


def swapped(victim: Journal, chance: random.Random) -> None:
    one, other = chance.sample(range(len(victim.rows)), 2)
    rows = victim.rows
    rows[one], rows[other] = replace(rows[other], seq=rows[one].seq), replace(rows[one], seq=rows[other].seq)


def inserted(victim: Journal, chance: random.Random) -> None:
    at = chance.randrange(len(victim.rows) + 1)
    before = victim.rows[at - 1] if at else None
    head = BEGINNING if before is None else Head(before.seq, before.hash)
    victim.rows.insert(at, chained(head, before.segment if before else "local-0", f"call_forged_{chance.random()}"))


def cut_off(victim: Journal, chance: random.Random) -> None:
    keep = chance.randrange(1, len(victim.rows))
    victim.rows = victim.rows[:keep]
    last = victim.rows[-1]
    if chance.random() < 0.5:
        victim.head = Head(last.seq, last.hash)
    if chance.random() < 0.5:
        victim.mac = head_mac(STRANGERS_KEY, victim.head)


def rewrote_everything(victim: Journal, chance: random.Random) -> None:
    changed_at = chance.randrange(len(victim.rows))
    victim.rows[changed_at] = replace(victim.rows[changed_at], doc='{"held":{"usd_micros":1}}')
    victim.rows = rewritten(victim.rows)
    last = victim.rows[-1]
    victim.head = Head(last.seq, last.hash)
    starts = {row.segment: row for row in reversed(victim.rows)}
    victim.segments = [replace(s, previous_hash=previous_of(victim, starts[s.name])) for s in victim.segments]
    ends = {row.segment: row for row in victim.rows}
    victim.segments = [s if s.seal is None else replace(s, last_hash=ends[s.name].hash) for s in victim.segments]
    if chance.random() < 0.5:
        victim.mac = head_mac(STRANGERS_KEY, victim.head)


def previous_of(victim: Journal, row: Row) -> str:
    return GENESIS if row.seq == 1 else victim.rows[row.seq - 2].hash


def forged_segment(victim: Journal, chance: random.Random) -> None:
    index = chance.randrange(len(victim.segments))
    segment = victim.segments[index]
    changes: list[dict[str, Any]] = [
        {"first_seq": segment.first_seq + 1},
        {"previous_hash": "f" * 64},
        {"last_seq": 1000, "last_hash": "f" * 64},
        {"seal": "0" * 64},
        {"dropped": True},
        {"name": "local-77"},
    ]
    victim.segments[index] = replace(segment, **chance.choice(changes))


def forgot_segment(victim: Journal, chance: random.Random) -> None:
    del victim.segments[chance.randrange(len(victim.segments))]


def dropped_unasked(victim: Journal, chance: random.Random) -> None:
    first = victim.segments[0]
    victim.rows = [row for row in victim.rows if row.segment != first.name]
    if chance.random() < 0.5:
        victim.segments = victim.segments[1:]


def changed_head(victim: Journal, chance: random.Random) -> None:
    victim.head = chance.choice((Head(victim.head.seq + 1, victim.head.hash), Head(victim.head.seq, "0" * 64)))


ATTACKS = (
    changed_field,
    deleted,
    swapped,
    inserted,
    cut_off,
    rewrote_everything,
    forged_segment,
    forgot_segment,
    dropped_unasked,
    changed_head,
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_rule_12_every_mutation_is_found(attack) -> None:
    for seed in range(MUTATIONS // len(ATTACKS)):
        victim = journal()
        attack(victim, random.Random(seed))
        assert victim.faults(), f"{attack.__name__} with seed {seed} was not found"


def test_a_fault_names_its_row() -> None:
    victim = journal()
    victim.rows[6] = replace(victim.rows[6], doc="{}")
    (fault,) = verify(victim.rows, victim.head, victim.mac, victim.segments, KEY)
    assert fault.seq == 7
    assert "row 7 was changed" in fault.what


def test_a_stranger_cannot_sign_the_head() -> None:
    victim = journal()
    victim.mac = head_mac(STRANGERS_KEY, victim.head)
    assert victim.faults() == ["the signature of the journal's head is false"]


def test_rule_12_dropped_segments_leave_the_rest_verifiable() -> None:
    kept = journal()
    for index in (0, 1):
        kept.segments[index] = sealed(replace(kept.segments[index], dropped=True))
    kept.rows = [row for row in kept.rows if row.segment == "local-2"]
    assert kept.faults() == []
    kept.rows[1] = replace(kept.rows[1], doc="{}")
    assert kept.faults() != []


def test_segments_are_dropped_from_the_beginning_only() -> None:
    kept = journal()
    kept.segments[1] = sealed(replace(kept.segments[1], dropped=True))
    kept.rows = [row for row in kept.rows if row.segment != "local-1"]
    assert kept.faults() != []


TEXTS = st.text(alphabet="ab:0{}\x00é", max_size=6)
FIELDS = st.tuples(st.integers(0, 99), TEXTS, st.integers(0, 99), TEXTS, TEXTS, TEXTS)


@given(FIELDS, FIELDS)
def test_no_two_rows_have_the_same_hash(one: tuple, other: tuple) -> None:
    assert (link(GENESIS, *one) == link(GENESIS, *other)) == (one == other)


@given(st.text(alphabet=st.characters(codec=None), max_size=5))
def test_text_that_is_no_utf_8_is_judged_and_does_not_crash(text: str) -> None:
    damaged = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    victim = journal()
    victim.rows[2] = replace(victim.rows[2], doc=damaged)
    assert victim.faults() != []
