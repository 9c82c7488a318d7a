"""Books know names in one place only, and forget them when asked (rule 12)."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.identity import KeyState, VirtualKey
from gateway.core.ledger import AdminChanged, KeySaved, SessionChanged
from gateway.core.report import AuditSearch
from gateway.core.session import SessionState
from gateway.storage.books import SqliteBooks
from tests.storage.entries import ALICE, MIDNIGHT_US, denied, opened, placed, session, settled

DIGEST = "feedc0de" * 8
NAMES: dict[str, Any] = {
    "user": "canary-user Ada O'Neil",
    "end_user": "canary-end-user@example.com",
    "team": "canary-team",
    "app": "canary-app",
    "service": "canary-service",
    "agent": "canary-agent",
    "key_name": "canary-key",
}
CANARY = replace(ALICE, **NAMES, tags=(("canary-tag", "canary-value"),))
KEY = VirtualKey("key_1", NAMES["key_name"], DIGEST, user=NAMES["user"], team=NAMES["team"])


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Books that were told every name in every way, closed."""
    path = tmp_path / "books.db"
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    live = session(client_id="canary-client-session")
    hold = replace(placed("call_1", CANARY), rule="canary-user Ada O'Neil", limits=("key:canary-key usd a day",))
    refusal = denied("call_2", CANARY)
    message = f"{NAMES['user']} of canary-team and user:someone-else may not use key:{NAMES['key_name']}."
    await books.commit(opened(live, CANARY), hold, settled(hold))
    await books.commit(replace(refusal, denial={**refusal.denial, "message": message, "also": [NAMES["agent"]]}))
    reason = f"stopped by user:{NAMES['agent']}, owner canary-agent"
    paused = replace(live, state=SessionState.STOPPED, reason=reason)
    await books.commit(SessionChanged(MIDNIGHT_US, paused, "stopped", "user:canary-admin", CANARY))
    await books.commit(KeySaved(MIDNIGHT_US, "user:canary-admin", "created", KEY))
    detail = {"team": "canary-team", "nested": [{"user": "canary-nested"}], "text": "for user:canary-detail."}
    await books.commit(AdminChanged(MIDNIGHT_US, "user:canary-admin", "limits.change", "team:canary-team", detail))
    await books.close()
    return path


def cells(path: Path) -> Iterator[tuple[str, str]]:
    """(table, text) of every value of every table."""
    connection = sqlite3.connect(path)
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in connection.execute(f"SELECT * FROM {table}"):
            yield from ((table, str(value)) for value in row)
    connection.close()


def test_rule_12_names_stand_in_the_erasable_tables_only(path: Path) -> None:
    tables = {table for table, text in cells(path) if "canary" in text}
    assert tables == {"names", "keys"}


def test_rule_12_parts_of_names_stand_nowhere_else(path: Path) -> None:
    tables = {table for table, text in cells(path) if "O'Neil" in text or "example.com" in text or "someone" in text}
    assert tables == {"names", "keys"}


def test_the_digest_of_a_key_stands_in_one_column(path: Path) -> None:
    assert [table for table, text in cells(path) if DIGEST[:16] in text] == ["keys"]


def test_the_install_key_is_not_in_the_database(path: Path) -> None:
    key = path.with_name("books.db.key").read_bytes()
    content = path.read_bytes()
    assert key not in content
    assert key.hex().encode() not in content


async def test_names_are_shown_until_they_are_erased(path: Path) -> None:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        found = await books.reports.call("call_2")
        assert found is not None
        assert found.denial is not None
        assert found.denial["message"].startswith("canary-user Ada O'Neil of canary-team and user:someone-else may not")
        assert found.denial["also"] == ["canary-agent"]
        stopped = await books.session("ses_1")
        assert stopped is not None
        assert stopped.reason == "stopped by user:canary-agent, owner canary-agent"
        (admin,) = await books.reports.audit(AuditSearch(kind="admin"))
        assert admin.doc["actor"] == "user:canary-admin"
        assert admin.doc["subject"] == "team:canary-team"
        assert admin.doc["detail"]["nested"] == [{"user": "canary-nested"}]
    finally:
        await books.close()


async def test_rule_12_an_erased_name_is_gone_and_its_figures_stay(path: Path) -> None:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        with pytest.raises(ValueError, match="key_1 still carry"):
            await books.erase("user", NAMES["user"], "admin", MIDNIGHT_US)
        await books.commit(KeySaved(MIDNIGHT_US, "admin", "revoked", replace(KEY, state=KeyState.REVOKED)))
        before = await books.reports.usage(("user",), None, None)
        assert await books.erase("user", NAMES["user"], "admin", MIDNIGHT_US) == 1
        (row,) = await books.reports.usage(("user",), None, None)
        assert row.group[0].startswith("user_")
        assert [replace(row, group=())] == [replace(old, group=()) for old in before]
        assert (await books.keys())[0].user == row.group[0]
        assert (await books.reports.verify()).faults == ()
        (erased,) = await books.reports.audit(AuditSearch(text="name.erase"))
        assert erased.doc["detail"]["ids"] == [row.group[0]]
        # While the books are open: neither the file nor its write-ahead log may keep it.
        kept = [file.name for file in path.parent.iterdir() if b"Ada O'Neil" in file.read_bytes()]
        assert kept == []
    finally:
        await books.close()


async def test_names_in_the_texts_of_holds_are_kept_once_and_shown_each_time(path: Path) -> None:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    limits = ("key:canary-key usd a day", "user:canary-visitor tokens")
    try:
        await books.commit(placed("call_3", CANARY))
        for number in range(4, 7):
            await books.commit(replace(placed(f"call_{number}", CANARY), limits=limits))
            (held,) = await books.reports.audit(AuditSearch(call_id=f"call_{number}"))
            assert held.doc["limits"] == list(limits)
    finally:
        await books.close()
    assert {table for table, text in cells(path) if "canary-visitor" in text} == {"names"}


async def test_a_name_that_comes_back_is_on_file_again(path: Path) -> None:
    books = await SqliteBooks.open(path, node="local", now_us=MIDNIGHT_US)
    try:
        await books.commit(placed("call_3", CANARY))
        assert await books.erase("end_user", NAMES["end_user"], "admin", MIDNIGHT_US) == 1
        (row,) = await books.reports.usage(("end_user",), None, None)
        assert row.group[0].startswith("end_user_")
        await books.commit(placed("call_4", CANARY))
        (row,) = await books.reports.usage(("end_user",), None, None)
        assert row.group == (NAMES["end_user"],)
    finally:
        await books.close()
