"""Verifies the books: the whole hash chain, then every derived table against the journal.

Rule: what is read here may have been tampered with; nothing in it may make this fail, only make it report.
"""

import hashlib
from collections.abc import Iterable

import aiosqlite
import orjson

from gateway.core.audit import Chain, Head, Row, Segment
from gateway.core.report import Fault, Verification
from gateway.storage.recount import recount

FAULTS_MAX = 200
CHUNK_ROWS = 400
"""Small enough not to hold up calls while the hashes of a chunk are computed."""

SELECT_END = """
SELECT j.seq, h.seq, h.hash, h.mac
FROM (SELECT coalesce(max(seq), 0) AS seq FROM journal) AS j LEFT JOIN head AS h ON TRUE
"""
SELECT_SEGMENTS = "SELECT segment, first_seq, previous_hash, last_seq, last_hash, seal, dropped FROM segments"
SELECT_ROWS = """
SELECT seq, segment, at_us, kind, subject, doc, hash FROM journal
WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3
"""
SELECT_ATTRIBUTIONS = "SELECT id, doc FROM attributions WHERE id > ?1 ORDER BY id LIMIT ?2"
# ?1 and ?2 bound the rows; rows up to ?3 belong to dropped segments. A document that is no JSON was told of already.
SELECT_CALLS_UNLIKE_JOURNAL = """
SELECT j.seq, j.subject
FROM journal AS j
LEFT JOIN calls AS c ON c.seq = j.seq
WHERE j.seq > ?1 AND j.seq <= ?2 AND j.kind IN ('held', 'denied') AND CASE WHEN json_valid(j.doc) THEN
    c.seq IS NULL OR c.call_id <> j.subject OR c.started_at_us <> j.at_us OR c.session_id IS NOT j.doc ->> '$.session'
    OR c.kind IS NOT j.doc ->> '$.kind' OR (c.state = 'denied') <> (j.kind = 'denied')
    OR c.denied <> coalesce(j.doc ->> '$.count', 0)
    OR c.would_deny <> (j.doc -> '$.would_deny' IS NOT NULL)
    OR (c.state IN ('held', 'voided', 'denied') AND c.attribution_id IS NOT j.doc ->> '$.attribution')
    OR (c.state = 'held' AND EXISTS (
        SELECT 1 FROM journal AS e WHERE e.subject = j.subject AND e.kind IN ('settled', 'voided', 'expired')
    ))
END
UNION ALL
SELECT j.seq, j.subject
FROM journal AS j
LEFT JOIN journal AS o ON o.subject = j.subject AND o.kind = 'held'
LEFT JOIN calls AS c ON c.seq = o.seq
WHERE j.seq > ?1 AND j.seq <= ?2 AND j.kind IN ('settled', 'voided', 'expired')
AND NOT (o.seq IS NULL AND ?3 > 0) AND CASE WHEN json_valid(j.doc) THEN
    c.seq IS NULL OR c.state <> j.kind OR c.ended_at_us IS NOT j.at_us
    OR c.outcome IS NOT j.doc ->> '$.outcome' OR c.estimated IS NOT j.doc ->> '$.estimated'
    OR c.status IS NOT j.doc ->> '$.status'
    OR (j.kind = 'settled' AND c.attribution_id IS NOT j.doc ->> '$.attribution')
    OR c.input_tokens <> coalesce(j.doc ->> '$.posted.input_tokens', 0)
    OR c.cached_input_tokens <> coalesce(j.doc ->> '$.posted.cached_input_tokens', 0)
    OR c.output_tokens <> coalesce(j.doc ->> '$.posted.output_tokens', 0)
    OR c.usd_micros <> coalesce(j.doc ->> '$.posted.usd_micros', 0)
    OR c.requests <> coalesce(j.doc ->> '$.posted.requests', 0)
    OR c.tool_calls <> coalesce(j.doc ->> '$.posted.tool_calls', 0)
    OR c.cache_write_tokens <> coalesce(j.doc ->> '$.usage.cache_write_tokens', 0)
    OR c.reasoning_tokens <> coalesce(j.doc ->> '$.usage.reasoning_tokens', 0)
END
"""
SELECT_CALLS_WITHOUT_JOURNAL = """
SELECT c.seq, c.call_id
FROM calls AS c
LEFT JOIN journal AS j ON j.seq = c.seq AND j.subject = c.call_id AND j.kind IN ('held', 'denied')
WHERE c.seq > ?1 AND c.seq <= ?2 AND (
    j.seq IS NULL OR (
        c.state IN ('settled', 'voided', 'expired')
        AND NOT EXISTS (SELECT 1 FROM journal AS e WHERE e.subject = c.call_id AND e.kind = c.state)
    )
)
LIMIT ?3
"""
# Where a session stands in its tree and what its part is never changes: every row about it says the same.
SELECT_SESSIONS_UNLIKE_JOURNAL = """
SELECT DISTINCT j.seq, j.subject
FROM journal AS j LEFT JOIN sessions AS s ON s.id = j.subject
WHERE j.seq > ?1 AND j.seq <= ?2 AND j.kind = 'session' AND CASE WHEN json_valid(j.doc) THEN
    s.id IS NULL OR s.ancestors IS NOT j.doc -> '$.ancestors' OR s.parts IS NOT j.doc -> '$.parts'
END
LIMIT ?3
"""
SELECT_REQUESTS_UNLIKE_JOURNAL = """
SELECT r.seq, r.id
FROM quota_requests AS r
LEFT JOIN journal AS j ON j.seq = r.seq AND j.subject = r.id AND j.kind = 'request'
WHERE r.seq > ?1 AND r.seq <= ?2 AND (
    j.seq IS NULL
    OR CASE WHEN json_valid(j.doc) THEN
        r.state IS NOT j.doc ->> '$.state' OR r.asked_us IS NOT j.doc ->> '$.asked_us'
    END
    OR EXISTS (
        SELECT 1 FROM journal AS l
        WHERE l.subject = r.id AND l.kind = 'request' AND l.seq > r.seq AND l.seq <= ?2
    )
)
LIMIT ?3
"""
# Rows up to ?1 belong to dropped segments, so the row that set a stop may be among them.
SELECT_STOPS_UNLIKE_JOURNAL = """
WITH last AS (
    SELECT subject, CASE WHEN json_valid(doc) THEN doc ->> '$.state' END AS state, max(seq)
    FROM journal WHERE kind = 'stop' AND seq <= ?2 GROUP BY subject
)
SELECT l.subject FROM last AS l LEFT JOIN stops AS s ON s.kind || ':' || s.name = l.subject
WHERE l.state <> coalesce(s.state, 'open')
UNION ALL
SELECT s.kind || ':' || s.name FROM stops AS s
WHERE ?1 = 0 AND NOT EXISTS (SELECT 1 FROM journal AS j WHERE j.subject = s.kind || ':' || s.name AND j.kind = 'stop')
LIMIT ?3
"""
SELECT_TERMS_UNLIKE_DOCUMENT = """
SELECT DISTINCT a.id
FROM attributions AS a CROSS JOIN json_each(CASE WHEN json_valid(a.doc) THEN a.doc ELSE '[]' END) AS pair
WHERE NOT EXISTS (
    SELECT 1 FROM attribution_terms AS t
    WHERE t.attribution_id = a.id AND t.kind = pair.value ->> 0 AND t.value = pair.value ->> 1
)
LIMIT ?1
"""


async def verify(connection: aiosqlite.Connection, install_key: bytes) -> Verification:
    """At most FAULTS_MAX faults; the chain is walked to its end in any case."""
    # What is appended while this runs is the next verification's business.
    ((until, head_seq, head_hash, mac),) = await connection.execute_fetchall(SELECT_END)
    head = None if head_seq is None else Head(head_seq, head_hash)
    segments = [
        Segment(name, first_seq, previous_hash, last_seq, last_hash, seal, dropped == 1)
        for name, first_seq, previous_hash, last_seq, last_hash, seal, dropped in await connection.execute_fetchall(
            SELECT_SEGMENTS
        )
    ]
    chain = Chain(install_key, segments)
    faults = _Faults(chain.start())
    dropped = chain.head.seq
    last = chain.head.seq
    while rows := [Row(*row) for row in await connection.execute_fetchall(SELECT_ROWS, (last, until, CHUNK_ROWS))]:
        for row in rows:
            faults.extend(chain.feed(row))
        bounds = (last, rows[-1].seq, dropped)
        for seq, subject in await connection.execute_fetchall(SELECT_CALLS_UNLIKE_JOURNAL, bounds):
            faults.add(seq, f"call {subject} differs from its row {seq} in the journal")
        last = rows[-1].seq
    faults.extend(chain.finish(head, mac))
    await _derived(connection, dropped, until, faults)
    return Verification(chain.rows, len(segments), chain.head.hash, tuple(faults.found))


async def _derived(connection: aiosqlite.Connection, dropped: int, until: int, faults: "_Faults") -> None:
    bounds = (dropped, until, FAULTS_MAX)
    for seq, call_id in await connection.execute_fetchall(SELECT_CALLS_WITHOUT_JOURNAL, bounds):
        faults.add(seq, f"call {call_id} is not in the journal as it stands")
    for seq, session_id in await connection.execute_fetchall(SELECT_SESSIONS_UNLIKE_JOURNAL, bounds):
        faults.add(seq, f"session {session_id} does not stand in its tree as its row {seq} in the journal says")
    for seq, request_id in await connection.execute_fetchall(SELECT_REQUESTS_UNLIKE_JOURNAL, bounds):
        faults.add(seq, f"request {request_id} is not what the journal says of it")
    for (subject,) in await connection.execute_fetchall(SELECT_STOPS_UNLIKE_JOURNAL, bounds):
        faults.add(None, f"the stop of {subject} is not what the journal says")
    last = ""
    while rows := list(await connection.execute_fetchall(SELECT_ATTRIBUTIONS, (last, CHUNK_ROWS))):
        for identifier, doc in rows:
            if not _is_digest_of(identifier, doc):
                faults.add(None, f"attribution {identifier} was changed")
        last = rows[-1][0]
    for (identifier,) in await connection.execute_fetchall(SELECT_TERMS_UNLIKE_DOCUMENT, (FAULTS_MAX,)):
        faults.add(None, f"the terms of attribution {identifier} are not those of its document")
    for drift in await recount(connection):
        faults.add(None, f"{drift.table} {drift.key}: {drift.derived} instead of {drift.counted}")


class _Faults:
    def __init__(self, found: Iterable[Fault]) -> None:
        self.found = list(found)

    def extend(self, found: Iterable[Fault]) -> None:
        for fault in found:
            self.add(fault.seq, fault.what)

    def add(self, seq: int | None, what: str) -> None:
        if len(self.found) < FAULTS_MAX:
            self.found.append(Fault(seq, what))


def _is_digest_of(identifier: str, doc: str) -> bool:
    """Whether the id of an attribution is what `Attribution.identifier` makes of its pairs."""
    try:
        words = [f"{kind}={value}" for kind, value in orjson.loads(doc)]
    except (ValueError, TypeError):
        return False
    return hashlib.blake2b("\x00".join(words).encode(), digest_size=12).hexdigest() == identifier
