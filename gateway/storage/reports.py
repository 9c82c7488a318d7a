"""What people ask of the books, on connections of its own that cannot write: see `gateway.ports.Reports`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiosqlite
import orjson

from gateway.core.anomaly import Spending
from gateway.core.identity import ABSENT
from gateway.core.ledger import Amounts, CallState
from gateway.core.outbox import OutboxRow
from gateway.core.quota_request import QuotaRequest
from gateway.core.report import (
    AuditRow,
    AuditSearch,
    CallRow,
    Drift,
    HistoryRow,
    SessionRow,
    UsageRow,
    Verification,
)
from gateway.storage.audit_search import search
from gateway.storage.outbox import listed
from gateway.storage.people import who
from gateway.storage.pseudonyms import reveal, reveal_json
from gateway.storage.readers import Readers
from gateway.storage.recount import recount
from gateway.storage.requests import requests
from gateway.storage.spending import spending
from gateway.storage.stored import session_of
from gateway.storage.usage import usage
from gateway.storage.verification import verify

SELECT_SESSIONS = """
WITH chosen AS (
    SELECT * FROM sessions_shown
    WHERE (?1 IS NULL OR key_id = ?1) AND (?2 IS NULL OR state = ?2)
    ORDER BY last_active_us DESC, id DESC
    LIMIT ?3
),
below AS MATERIALIZED (
    SELECT
        t.ancestor_id, count(DISTINCT CASE WHEN t.distance = 1 THEN t.session_id END) AS children,
        coalesce(sum(r.input_tokens), 0) AS input_tokens, coalesce(sum(r.output_tokens), 0) AS output_tokens,
        coalesce(sum(r.cached_input_tokens), 0) AS cached_input_tokens, coalesce(sum(r.usd_micros), 0) AS usd_micros,
        coalesce(sum(r.requests), 0) AS requests, coalesce(sum(r.tool_calls), 0) AS tool_calls
    FROM chosen AS c
    CROSS JOIN session_tree AS t ON t.ancestor_id = c.id
    LEFT JOIN session_rollups AS r ON r.session_id = t.session_id
    GROUP BY t.ancestor_id
)
SELECT
    s.*, coalesce(sum(r.calls), 0), coalesce(sum(r.denied), 0), coalesce(sum(r.input_tokens), 0),
    coalesce(sum(r.output_tokens), 0), coalesce(sum(r.cached_input_tokens), 0), coalesce(sum(r.usd_micros), 0),
    coalesce(sum(r.requests), 0), coalesce(sum(r.tool_calls), 0),
    coalesce(max(CASE WHEN r.sessions_opened > 0 THEN r.attribution_id END), max(r.attribution_id)) AS attribution_id,
    b.children, b.input_tokens, b.output_tokens, b.cached_input_tokens, b.usd_micros, b.requests, b.tool_calls
FROM chosen AS s
LEFT JOIN session_rollups AS r ON r.session_id = s.id
LEFT JOIN below AS b ON b.ancestor_id = s.id
GROUP BY s.id
ORDER BY s.last_active_us DESC, s.id DESC
"""
# ?2 is the length of a step in seconds; whole days have rollups of their own.
SELECT_HISTORY = """
SELECT
    r.bucket_us / (?2 * 1000000) * ?2 * 1000000 AS start_us, sum(r.calls), sum(r.denied), sum(r.input_tokens),
    sum(r.output_tokens), sum(r.cached_input_tokens), sum(r.usd_micros), sum(r.requests), sum(r.tool_calls)
FROM attribution_terms AS t
CROSS JOIN rollups AS r
    ON r.attribution_id = t.attribution_id AND r.grain_s = CASE WHEN ?2 % 86400 = 0 THEN 86400 ELSE 900 END
    AND r.bucket_us >= ?3 AND r.bucket_us < ?4
WHERE t.kind = 'key' AND t.value = ?1
GROUP BY 1
ORDER BY 1
"""
SELECT_CALL = """
SELECT
    c.call_id, c.kind, c.state, c.started_at_us, c.session_id, c.attribution_id, c.raised, j.doc, c.outcome,
    c.estimated, c.status, c.input_tokens, c.output_tokens, c.cached_input_tokens, c.usd_micros, c.requests,
    c.tool_calls,
    (SELECT e.doc FROM journal AS e WHERE e.subject = c.call_id AND e.kind = 'settled') AS ending
FROM journal AS j JOIN calls AS c ON c.seq = j.seq
WHERE j.subject = ?1 AND j.kind IN ('held', 'denied')
"""


class SqliteReports:
    """See `gateway.ports.Reports`.

    `caught_up` waits for what the writer of this process has queued: a reply does not wait for its settlement (rule 9),
    but whoever asks after the reply must find it booked.
    """

    def __init__(self, path: Path, install_key: bytes, caught_up: Callable[[], Awaitable[None]] | None = None) -> None:
        self._readers = Readers(path)
        self._install_key = install_key
        self._caught_up = caught_up

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[aiosqlite.Connection]:
        if self._caught_up is not None:
            await self._caught_up()
        async with self._readers.snapshot() as connection:
            yield connection

    async def usage(self, by: tuple[str, ...], since_us: int | None, until_us: int | None) -> list[UsageRow]:
        async with self._snapshot() as connection:
            return await usage(connection, by, since_us, until_us)

    async def sessions(self, *, key_id: str | None, state: str | None, limit: int) -> list[SessionRow]:
        """Last active first."""
        async with self._snapshot() as connection:
            rows = list(await connection.execute_fetchall(SELECT_SESSIONS, (key_id, state, limit)))
            reasons = [row["reason"] for row in rows]
            attributions = {row["attribution_id"] for row in rows if row["attribution_id"] is not None}
            people = await who(connection, attributions, reasons, [row["key_id"] for row in rows])
        found = []
        for row in rows:
            session = session_of(row)
            calls, denied, *sums = row[13:21]
            children, *below = row[22:29]
            attribution_id = row["attribution_id"] or ""
            found.append(
                SessionRow(
                    session=replace(session, reason=reveal(session.reason, people.names)),
                    posted=Amounts(*sums),
                    calls=calls,
                    denied=denied,
                    user=people.value(attribution_id, "user"),
                    team=people.value(attribution_id, "team"),
                    agent=people.value(attribution_id, "agent"),
                    key=people.names.get(session.key_id, session.key_id or ABSENT),
                    children=children or 0,
                    below=Amounts() if children is None else Amounts(*below),
                )
            )
        return found

    async def history(self, key_id: str, step_s: int, since_us: int, until_us: int) -> list[HistoryRow]:
        async with self._snapshot() as connection:
            rows = await connection.execute_fetchall(SELECT_HISTORY, (key_id, step_s, since_us, until_us))
        return [HistoryRow(start_us, calls, denied, Amounts(*sums)) for start_us, calls, denied, *sums in rows]

    async def call(self, call_id: str) -> CallRow | None:
        async with self._snapshot() as connection:
            rows = list(await connection.execute_fetchall(SELECT_CALL, (call_id,)))
            if not rows:
                return None
            row = rows[0]
            people = await who(connection, {row["attribution_id"]}, [row["doc"], row["ending"] or ""])
        doc = orjson.loads(reveal_json(row["doc"], people.names))
        ending = orjson.loads(reveal_json(row["ending"] or "{}", people.names))
        refused = row["state"] == "denied"
        held = doc.get("held", {}) if row["raised"] is None else orjson.loads(row["raised"])
        return CallRow(
            call_id=row["call_id"],
            kind=row["kind"],
            state=None if refused else CallState(row["state"]),
            started_at_us=row["started_at_us"],
            session_id=row["session_id"],
            group=people.group(row["attribution_id"]),
            held=Amounts(**held),
            posted=Amounts(*row[11:17]),
            outcome=row["outcome"],
            estimated=row["estimated"],
            status=row["status"],
            denial=(doc if refused else ending).get("denial"),
            would_deny=tuple(doc.get("would_deny", ())),
            routed_from=doc.get("routed_from"),
        )

    async def quota_requests(
        self,
        *,
        request_id: str | None = None,
        state: str | None = None,
        since_us: int | None = None,
        limit: int,
    ) -> list[QuotaRequest]:
        """Newest first; `since_us` is when they were asked for."""
        async with self._snapshot() as connection:
            return await requests(connection, request_id, state, since_us, limit)

    async def audit(self, search_for: AuditSearch) -> list[AuditRow]:
        async with self._snapshot() as connection:
            return await search(connection, search_for)

    async def alerts(self, *, alert_id: str | None, state: str | None, limit: int) -> list[OutboxRow]:
        """Newest first."""
        async with self._snapshot() as connection:
            return await listed(connection, alert_id, state, limit)

    async def spending(self, kind: str, since_us: int, hour_us: int, least_usd_micros: int) -> list[Spending]:
        async with self._snapshot() as connection:
            return await spending(connection, kind, since_us, hour_us, least_usd_micros)

    async def verify(self) -> Verification:
        async with self._readers.connection() as connection:
            return await verify(connection, self._install_key)

    async def recount(self) -> list[Drift]:
        async with self._readers.connection() as connection:
            return await recount(connection)

    async def damage(self) -> list[str]:
        """What SQLite finds wrong with the whole file, for `comptroller doctor`; reads all of it."""
        rows = await self._readers.fetch("PRAGMA integrity_check")
        return [row[0] for row in rows if row[0] != "ok"]

    async def close(self) -> None:
        await self._readers.close()
