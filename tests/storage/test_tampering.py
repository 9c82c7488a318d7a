"""Whoever can write the database file can change it, but not without `audit verify` finding it (P7)."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.audit import Segment, link, segment_seal
from gateway.core.ledger import CallVoided, Refusals
from gateway.core.report import Verification
from gateway.storage.books import SqliteBooks
from gateway.storage.reports import SqliteReports
from tests.storage.entries import ALICE, BOB, MIDNIGHT_US, child_session, denied, opened, placed, session, settled


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Three segments: nine calls in all states, sessions and a tree of them, refusals."""
    path = tmp_path / "books.db"
    for life in range(3):
        books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
        await books.commit(opened(session(f"ses_{life}")))
        hold, void = placed(f"call_{life}_settled"), placed(f"call_{life}_voided", BOB)
        await books.commit(hold, void, denied(f"call_{life}_denied"))
        await books.commit(settled(hold), CallVoided(void.call_id, MIDNIGHT_US + 5, "refused", 502))
        if life == 2:
            await books.commit(
                opened(child_session("ses_c", "ses_2")), opened(child_session("ses_g", "ses_c", "ses_2"))
            )
        await books.commit(Refusals(MIDNIGHT_US, "key_unknown", "10.0.0.0/24", life + 1))
        await books.close()
    return path


async def verified(path: Path) -> Verification:
    """Offline, as from a copy of the database and the key."""
    with closing(sqlite3.connect(path)) as opener:
        opener.execute("SELECT count(*) FROM journal").fetchone()
        reports = SqliteReports(path, path.with_name("books.db.key").read_bytes())
        try:
            return await reports.verify()
        finally:
            await reports.close()


@pytest.fixture
async def editor(path: Path) -> AsyncIterator[sqlite3.Connection]:
    """A connection of an attacker, who begins by dropping the triggers."""
    assert (await verified(path)).faults == ()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER journal_is_never_changed")
        connection.execute("DROP TRIGGER journal_is_never_cut")
        yield connection


EDITS = {
    "a figure": "UPDATE journal SET doc = replace(doc, 'micros\":700', 'micros\":70') WHERE kind = 'settled'",
    "a time": "UPDATE journal SET at_us = at_us + 1 WHERE seq = 3",
    "a kind": "UPDATE journal SET kind = 'voided' WHERE seq = 6",
    "a subject": "UPDATE journal SET subject = 'call_x' WHERE seq = 4",
    "a segment": "UPDATE journal SET segment = 'local-2' WHERE seq = 5",
    "a hash": "UPDATE journal SET hash = replace(hash, 'a', 'b') WHERE seq = 5",
    "a document that is no JSON": "UPDATE journal SET doc = '{' WHERE seq = 3",
    "bytes that are no text": "UPDATE journal SET doc = CAST(x'fffe7b' AS TEXT) WHERE seq = 3",
    "one row less": "DELETE FROM journal WHERE seq = 5",
    "the end cut off": "DELETE FROM journal WHERE seq > 20",
    "the last row cut off": "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    "the beginning cut off": "DELETE FROM journal WHERE seq < 4",
    "a whole segment less": "DELETE FROM journal WHERE segment = 'local-1'",
    "all rows less": "DELETE FROM journal",
    "a row more": (
        "INSERT INTO journal SELECT max(seq) + 1, segment, at_us, kind, subject, doc, hash FROM journal"
        " WHERE kind = 'refusals'"
    ),
    "the head back": "UPDATE head SET (seq, hash) = (SELECT seq, hash FROM journal WHERE seq = 20)",
    "no head": "DELETE FROM head",
    "a signature": "UPDATE head SET mac = replace(mac, 'a', 'b')",
    "a seal": "UPDATE segments SET seal = NULL, last_seq = NULL WHERE epoch = 1",
    "a segment moved": "UPDATE segments SET first_seq = first_seq + 1 WHERE epoch = 2",
    "a segment marked as dropped": "UPDATE segments SET dropped = 1 WHERE epoch = 1",
    "a cheaper call": "UPDATE calls SET usd_micros = usd_micros - 1 WHERE state = 'settled'",
    "a call of another": "UPDATE calls SET attribution_id = (SELECT a.id FROM attributions AS a"
    " WHERE a.id <> calls.attribution_id LIMIT 1) WHERE call_id = 'call_1_settled'",
    "a call of another session": "UPDATE calls SET session_id = 'ses_9' WHERE call_id = 'call_1_voided'",
    "a call given back": "UPDATE calls SET state = 'voided' WHERE call_id = 'call_1_settled'",
    "a call held again": "UPDATE calls SET state = 'held' WHERE call_id = 'call_1_settled'",
    "a denial forgotten": "UPDATE calls SET denied = 0 WHERE call_id = 'call_1_denied'",
    "an estimate shown as a report": "UPDATE calls SET estimated = 'orphan' WHERE call_id = 'call_1_settled'",
    "a call less": "DELETE FROM calls WHERE call_id = 'call_2_settled'",
    "a call more": (
        "INSERT INTO calls (seq, call_id, started_at_us, session_id, attribution_id, kind, state)"
        " SELECT 2, 'call_x', 0, 'ses_1', attribution_id, 'chat', 'voided' FROM calls LIMIT 1"
    ),
    "a rollup": "UPDATE rollups SET usd_micros = usd_micros - 1 WHERE grain_s = 900",
    "a rollup of a day": "UPDATE rollups SET denied = 0 WHERE grain_s = 86400",
    "a rollup less": "DELETE FROM rollups WHERE grain_s = 86400",
    "a rollup more": "INSERT INTO rollups SELECT 'f', 900, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
    "a session's sum": "UPDATE session_rollups SET input_tokens = 0",
    "a session opened less": "DELETE FROM session_opens WHERE session_id = 'ses_1'",
    "a child of nobody": "DELETE FROM session_tree WHERE session_id = 'ses_c'",
    "a grandchild of its parent only": "DELETE FROM session_tree WHERE session_id = 'ses_g' AND distance = 2",
    "a child more": "INSERT INTO session_tree VALUES ('ses_0', 'ses_1', 1)",
    "a child of another": (
        "UPDATE session_tree SET ancestor_id = 'ses_0' WHERE ancestor_id = 'ses_2';"
        "UPDATE sessions SET ancestors = replace(ancestors, 'ses_2', 'ses_0')"
    ),
    "a larger part": "UPDATE sessions SET parts = replace(parts, '100', '900') WHERE id = 'ses_c'",
    "no part": "UPDATE sessions SET parts = '[]' WHERE id = 'ses_c'",
    "a session less": "DELETE FROM sessions WHERE id = 'ses_1'",
    "an attribution": "UPDATE attributions SET doc = replace(doc, 'gpt-5-mini', 'coder')",
    "an attribution that is no JSON": "UPDATE attributions SET doc = '['",
    "a term": "UPDATE attribution_terms SET value = 'other' WHERE kind = 'model'",
}


@pytest.mark.parametrize("edit", EDITS)
async def test_edits_of_the_file_are_found(path: Path, editor: sqlite3.Connection, edit: str) -> None:
    changes = editor.total_changes
    for statement in EDITS[edit].split(";"):
        editor.execute(statement)
    assert editor.total_changes > changes, "this edit changes nothing"
    assert (await verified(path)).faults != ()


async def test_a_chain_that_was_computed_anew_lacks_the_signature(path: Path, editor: sqlite3.Connection) -> None:
    previous = "0" * 64
    rows = editor.execute("SELECT seq, segment, at_us, kind, subject, doc FROM journal ORDER BY seq").fetchall()
    for seq, segment, at_us, kind, subject, doc in rows:
        forged = doc.replace('"count":2', '"count":1')
        previous = link(previous, seq, segment, at_us, kind, subject, forged)
        editor.execute("UPDATE journal SET doc = ?, hash = ? WHERE seq = ?", (forged, previous, seq))
    editor.execute("UPDATE head SET hash = ?", (previous,))
    faults = (await verified(path)).faults
    assert any("signature" in fault.what for fault in faults)
    assert not any("was changed" in fault.what for fault in faults)


async def test_another_key_verifies_nothing(path: Path) -> None:
    path.with_name("books.db.key").write_bytes(bytes(32))
    assert any("signature" in fault.what for fault in (await verified(path)).faults)


@pytest.mark.parametrize("statement", ["UPDATE journal SET doc = '{}'", "DELETE FROM journal WHERE seq = 1"])
async def test_the_journal_is_append_only(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


async def test_rule_12_sealed_segments_can_be_dropped_and_the_rest_verified(path: Path) -> None:
    install_key = path.with_name("books.db.key").read_bytes()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute(
            "SELECT segment, first_seq, previous_hash, last_seq, last_hash FROM segments WHERE epoch = 1"
        ).fetchone()
        seal = segment_seal(install_key, replace(Segment(*row), dropped=True))
        connection.execute("UPDATE segments SET dropped = 1, seal = ? WHERE epoch = 1", (seal,))
        connection.execute("DELETE FROM journal WHERE segment = ?", (row[0],))
    assert (await verified(path)).faults == ()
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    await books.commit(placed("call_after", ALICE))
    assert (await books.reports.verify()).faults == ()
    await books.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE calls SET usd_micros = 1 WHERE call_id = 'call_1_settled'")
    assert (await verified(path)).faults != ()
