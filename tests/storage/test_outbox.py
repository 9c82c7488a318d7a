"""The outbox: raised with its deliveries in one transaction, read back with names, forgotten when asked or old."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.outbox import AlertCounted, AlertRaised, Delivery, DeliveryState, DeliveryTried
from gateway.storage.books import SqliteBooks
from tests.storage.conftest import OpenBooks
from tests.storage.entries import ALICE, MIDNIGHT_US, placed

ALERT = Alert(
    AlertKind.LOOP,
    Severity.WARNING,
    f"agent:{ALICE.value('agent')}",
    f"{ALICE.value('user')} and user:somebody-else run in circles.",
    MIDNIGHT_US,
    {"team": ALICE.value("team"), "calls": 7, "ratio": 1.5, "none": None},
    attribution=ALICE,
)


def raised(alert_id: str, *channels: str, due_us: int = MIDNIGHT_US, at_us: int = MIDNIGHT_US) -> AlertRaised:
    return AlertRaised(alert_id, replace(ALERT, at_us=at_us), "a key", due_us, channels)


async def test_what_was_posted_is_due_with_names_and_figures(books: SqliteBooks) -> None:
    books.post(raised("alert_1", "webhook", "smtp"))
    (due,) = await books.outbox.due("webhook", MIDNIGHT_US, 10)
    assert due.delivery == Delivery("webhook", DeliveryState.WAITING, 0, MIDNIGHT_US)
    assert due.raised.id == "alert_1"
    assert due.raised.alert == replace(ALERT, dedupe="a key", attribution=None)
    assert await books.outbox.due("slack", MIDNIGHT_US, 10) == []


async def test_it_is_due_at_its_time_and_longest_due_first(books: SqliteBooks) -> None:
    for number, due_us in enumerate((30, 10, 20)):
        books.post(raised(f"alert_{number}", "webhook", due_us=MIDNIGHT_US + due_us))
    assert await books.outbox.next_due_us("webhook") == MIDNIGHT_US + 10
    found = await books.outbox.due("webhook", MIDNIGHT_US + 20, 10)
    assert [due.raised.id for due in found] == ["alert_1", "alert_2"]
    assert len(await books.outbox.due("webhook", MIDNIGHT_US + 99, 1)) == 1
    assert await books.outbox.next_due_us("smtp") is None


async def test_counts_and_attempts_are_written_down(books: SqliteBooks) -> None:
    books.post(raised("alert_1", "webhook", "smtp"), AlertCounted("alert_1", 5, MIDNIGHT_US + 9))
    await books.outbox.tried(DeliveryTried("alert_1", "webhook", DeliveryState.SENT, 1, MIDNIGHT_US, ""))
    await books.outbox.tried(DeliveryTried("alert_1", "smtp", DeliveryState.WAITING, 2, MIDNIGHT_US + 50, "no"))
    (row,) = await books.reports.alerts(alert_id=None, state=None, limit=10)
    assert (row.raised.count, row.raised.last_at_us) == (5, MIDNIGHT_US + 9)
    assert row.deliveries == (
        Delivery("smtp", DeliveryState.WAITING, 2, MIDNIGHT_US + 50, "no"),
        Delivery("webhook", DeliveryState.SENT, 1, MIDNIGHT_US),
    )
    assert await books.outbox.due("webhook", MIDNIGHT_US + 99, 10) == []
    assert [r.raised.id for r in await books.reports.alerts(alert_id=None, state="sent", limit=10)] == ["alert_1"]
    assert await books.reports.alerts(alert_id=None, state="dead", limit=10) == []
    assert await books.reports.alerts(alert_id="alert_2", state=None, limit=10) == []


async def test_the_chain_is_not_touched_and_stays_whole(books: SqliteBooks) -> None:
    await books.commit(placed("call_1"))
    before = await books.reports.verify()
    books.post(raised("alert_1", "webhook"))
    await books.outbox.tried(DeliveryTried("alert_1", "webhook", DeliveryState.SENT, 1, MIDNIGHT_US, ""))
    after = await books.reports.verify()
    assert (after.faults, after.rows, after.head) == ((), before.rows, before.head)


async def test_rule_12_names_stand_in_the_outbox_as_pseudonyms_and_go_when_they_are_erased(
    open_books: OpenBooks, tmp_path: Path
) -> None:
    books = await open_books()
    books.post(raised("alert_1", "webhook"))
    (row,) = await books.reports.alerts(alert_id="alert_1", state=None, limit=1)
    assert ALICE.value("user") in row.raised.alert.text
    await books.erase("user", ALICE.value("user"), "admin", MIDNIGHT_US)
    (row,) = await books.reports.alerts(alert_id="alert_1", state=None, limit=1)
    assert ALICE.value("user") not in row.raised.alert.text
    assert "user:somebody-else" in row.raised.alert.text
    (due,) = await books.outbox.due("webhook", MIDNIGHT_US, 1)
    assert ALICE.value("user") not in due.raised.alert.text
    await books.close()
    written = b"".join(path.read_bytes() for path in (tmp_path / "var").iterdir())
    assert ALICE.value("user").encode() not in written


async def test_old_rows_leave_but_never_one_that_waits(books: SqliteBooks) -> None:
    for number in range(4):
        books.post(raised(f"alert_{number}", "webhook", at_us=MIDNIGHT_US + number))
    for number in (0, 2, 3):
        await books.outbox.tried(DeliveryTried(f"alert_{number}", "webhook", DeliveryState.SENT, 1, 0, ""))
    assert await books.outbox.tidy(("webhook",), MIDNIGHT_US + 3, 100) == 2
    assert [r.raised.id for r in await books.reports.alerts(alert_id=None, state=None, limit=9)] == [
        "alert_3",
        "alert_1",
    ]
    assert await books.outbox.tidy(("webhook",), 0, 0) == 1
    assert (await books.outbox.tidy((), 0, 0), await books.outbox.tidy((), 0, 0)) == (1, 0)


async def test_what_waits_for_a_channel_that_is_gone_is_given_up(books: SqliteBooks) -> None:
    books.post(raised("alert_1", "webhook", "smtp"))
    await books.outbox.tidy(("smtp",), 0, 100)
    (row,) = await books.reports.alerts(alert_id="alert_1", state=None, limit=1)
    assert [(each.channel, each.state) for each in row.deliveries] == [("smtp", "waiting"), ("webhook", "dead")]


@pytest.mark.parametrize("name", ['quote " and \\ backslash', "grün", "zero\u200bwidth"])
async def test_strange_names_come_back_as_they_are(books: SqliteBooks, name: str) -> None:
    books.post(AlertRaised("alert_1", replace(ALERT, facts={"user": name}), "", MIDNIGHT_US, ("webhook",)))
    (due,) = await books.outbox.due("webhook", MIDNIGHT_US, 1)
    assert due.raised.alert.facts == {"user": name}
