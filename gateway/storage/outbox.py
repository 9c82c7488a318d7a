"""The outbox in the books: what is due, what became of it, what people see of it.

Its rows are not chained and may leave; names stand in them as pseudonyms and come back only while they are on file.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite
import orjson

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.outbox import Delivery, DeliveryState, DeliveryTried, DueDelivery, OutboxRow, RaisedAlert
from gateway.storage.people import who
from gateway.storage.pseudonyms import PSEUDONYM, reveal_json
from gateway.storage.stored import SELECT_NAMES
from gateway.storage.writer import Writer

SELECT_DUE = """
SELECT
    a.id, a.at_us, a.last_at_us, a.count, a.kind, a.severity, a.doc, d.channel, d.state, d.attempts, d.due_us, d.error
FROM deliveries AS d JOIN alerts AS a ON a.id = d.alert_id
WHERE d.state = 'waiting' AND d.channel = ?1 AND d.due_us <= ?2
ORDER BY d.due_us, d.alert_id
LIMIT ?3
"""
SELECT_NEXT_DUE = "SELECT min(due_us) FROM deliveries WHERE state = 'waiting' AND channel = ?1"
SELECT_ALERTS = """
WITH chosen AS (
    SELECT id FROM alerts AS a
    WHERE (?1 IS NULL OR a.id = ?1)
        AND (?2 IS NULL OR EXISTS (SELECT 1 FROM deliveries AS d WHERE d.alert_id = a.id AND d.state = ?2))
    ORDER BY a.at_us DESC, a.id DESC
    LIMIT ?3
)
SELECT
    a.id, a.at_us, a.last_at_us, a.count, a.kind, a.severity, a.doc, d.channel, d.state, d.attempts, d.due_us, d.error
FROM chosen AS c JOIN alerts AS a ON a.id = c.id LEFT JOIN deliveries AS d ON d.alert_id = a.id
ORDER BY a.at_us DESC, a.id DESC, d.channel
"""
GIVE_UP = """
UPDATE deliveries SET state = 'dead', error = 'the channel is not configured any more'
WHERE state = 'waiting' AND channel NOT IN (SELECT value FROM json_each(?1))
"""
DROP_OLD = """
DELETE FROM alerts
WHERE (at_us < ?1 OR id IN (SELECT id FROM alerts ORDER BY at_us DESC, id DESC LIMIT -1 OFFSET ?2))
    AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.alert_id = alerts.id AND d.state = 'waiting')
RETURNING id
"""


class SqliteOutbox:
    """See `gateway.ports.Outbox`. Reads stand in the writer's queue, so they see all that was posted before."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def due(self, channel: str, now_us: int, limit: int) -> list[DueDelivery]:
        rows = await self._writer.read(SELECT_DUE, (channel, now_us, limit))
        pseudonyms = sorted({found for row in rows for found in PSEUDONYM.findall(row[6])})
        names = dict(await self._writer.read(SELECT_NAMES, (orjson.dumps(pseudonyms).decode(),))) if pseudonyms else {}
        return [DueDelivery(_raised(row, names), _delivery(row)) for row in rows]

    async def next_due_us(self, channel: str) -> int | None:
        ((found,),) = await self._writer.read(SELECT_NEXT_DUE, (channel,))
        return None if found is None else int(found)

    async def tried(self, *attempts: DeliveryTried) -> None:
        await self._writer.commit(attempts)

    async def tidy(self, channels: Sequence[str], before_us: int, rows_max: int) -> int:
        await self._writer.read(GIVE_UP, (orjson.dumps(channels).decode(),))
        return len(await self._writer.read(DROP_OLD, (before_us, rows_max)))


async def listed(
    connection: aiosqlite.Connection, alert_id: str | None, state: str | None, limit: int
) -> list[OutboxRow]:
    rows = list(await connection.execute_fetchall(SELECT_ALERTS, (alert_id, state, limit)))
    people = await who(connection, (), [row[6] for row in rows])
    found: dict[str, OutboxRow] = {}
    for row in rows:
        before = found.get(row[0])
        deliveries = () if row[7] is None else (_delivery(row),)
        if before is None:
            found[row[0]] = OutboxRow(_raised(row, people.names), deliveries)
        else:
            found[row[0]] = OutboxRow(before.raised, (*before.deliveries, *deliveries))
    return list(found.values())


def _raised(row: Sequence[Any] | aiosqlite.Row, names: dict[str, str] | Any) -> RaisedAlert:
    alert_id, at_us, last_at_us, count, kind, severity, doc = tuple(row)[:7]
    said = orjson.loads(reveal_json(doc, names))
    alert = Alert(
        kind=AlertKind(kind),
        severity=Severity(severity),
        subject=said["subject"],
        text=said["text"],
        at_us=at_us,
        facts=said["facts"],
        dedupe=said["dedupe"],
    )
    return RaisedAlert(alert_id, alert, count, last_at_us)


def _delivery(row: Iterable[Any]) -> Delivery:
    channel, state, attempts, due_us, error = tuple(row)[7:12]
    return Delivery(channel, DeliveryState(state), attempts, due_us, error)
