"""Searching the journal. Rows are shown with names where those are still on file; hashes are of what is stored."""

from collections.abc import Mapping
from typing import Any

import aiosqlite
import orjson

from gateway.core.report import AuditRow, AuditSearch
from gateway.storage.people import Who, who
from gateway.storage.pseudonyms import reveal, reveal_json

# A name that is searched for is searched for under its pseudonyms, and under the attributions that hold these.
SEARCH_ALL = """
WITH needles AS MATERIALIZED (
    SELECT ?4 AS needle
    UNION SELECT id FROM names WHERE name = ?4
    UNION SELECT t.attribution_id FROM attribution_terms AS t
    WHERE t.value = ?4 OR t.value IN (SELECT id FROM names WHERE name = ?4)
)
SELECT seq, at_us, segment, kind, doc, hash, subject FROM journal
WHERE (?1 IS NULL OR at_us >= ?1) AND (?2 IS NULL OR at_us < ?2) AND (?3 IS NULL OR kind = ?3)
AND (NOT ?8 OR kind = 'held' AND doc -> '$.would_deny' IS NOT NULL)
AND (?4 IS NULL OR EXISTS (SELECT 1 FROM needles WHERE instr(doc, needle) OR instr(subject, needle)))
ORDER BY seq DESC
LIMIT ?5
"""
SEARCH_ABOUT = """
WITH needles AS MATERIALIZED (
    SELECT ?4 AS needle
    UNION SELECT id FROM names WHERE name = ?4
    UNION SELECT t.attribution_id FROM attribution_terms AS t
    WHERE t.value = ?4 OR t.value IN (SELECT id FROM names WHERE name = ?4)
),
subjects AS MATERIALIZED (
    SELECT call_id AS subject FROM calls
    WHERE session_id = ?7 AND seq >= coalesce((SELECT min(seq) FROM journal WHERE subject = ?7), 0)
    UNION SELECT ?7
)
SELECT seq, at_us, segment, kind, doc, hash, subject FROM journal
WHERE (?6 IS NULL OR subject = ?6) AND (?7 IS NULL OR subject IN (SELECT subject FROM subjects))
AND subject IN (SELECT ?6 UNION ALL SELECT subject FROM subjects)
AND (?1 IS NULL OR at_us >= ?1) AND (?2 IS NULL OR at_us < ?2) AND (?3 IS NULL OR kind = ?3)
AND (NOT ?8 OR kind = 'held' AND doc -> '$.would_deny' IS NOT NULL)
AND (?4 IS NULL OR EXISTS (SELECT 1 FROM needles WHERE instr(doc, needle) OR instr(subject, needle)))
ORDER BY seq DESC
LIMIT ?5
"""


async def search(connection: aiosqlite.Connection, asked: AuditSearch) -> list[AuditRow]:
    """Newest first."""
    filters = (asked.since_us, asked.until_us, asked.kind, asked.text, asked.limit, asked.call_id, asked.session_id)
    statement = SEARCH_ALL if asked.call_id is None and asked.session_id is None else SEARCH_ABOUT
    rows = list(await connection.execute_fetchall(statement, (*filters, asked.would_deny)))
    attributions = {found for row in rows if isinstance(found := _json(row[4]).get("attribution"), str)}
    people = await who(connection, attributions, [row[4] for row in rows] + [row[6] for row in rows])
    return [_row(row, people) for row in rows]


def _row(row: aiosqlite.Row, people: Who) -> AuditRow:
    seq, at_us, segment, kind, text, row_hash, subject = row
    doc = {"subject": reveal(subject, people.names), **_json(reveal_json(text, people.names))}
    if isinstance(attribution := doc.get("attribution"), str):
        doc["attribution"] = people.group(attribution) or attribution
    return AuditRow(seq, at_us, segment, kind, doc, row_hash)


def _json(text: str) -> Mapping[str, Any]:
    """A damaged document is shown as text; telling of the damage is the verification's work."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return {"damaged": text.encode("utf-8", "replace").decode()}
    return found if isinstance(found, dict) else {"damaged": text}
