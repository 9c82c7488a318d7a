"""Rows of the books read back as the domain's values: sessions and keys."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.core.identity import KeyLimit, KeyState, VirtualKey
from gateway.core.limit import Unit
from gateway.core.session import Part, Session, SessionMark, SessionState
from gateway.core.stop import Stop
from gateway.storage.pseudonyms import reveal

SELECT_SESSION_BY_MARK = """
SELECT * FROM sessions_shown
WHERE key_id = ?1 AND mark_kind = ?2 AND client = ?3
ORDER BY opened_at_us DESC, id DESC
LIMIT 1
"""
SELECT_SESSION_BY_ID = "SELECT * FROM sessions_shown WHERE id = ?1"
SELECT_DESCENDANTS = """
SELECT s.* FROM session_tree AS t CROSS JOIN sessions_shown AS s ON s.id = t.session_id
WHERE t.ancestor_id = ?1
ORDER BY s.opened_at_us, s.id
"""
SELECT_OPENINGS = """
SELECT
    o.at_us,
    (SELECT coalesce(n.name, t.value) FROM attribution_terms AS t LEFT JOIN names AS n ON n.id = t.value
     WHERE t.attribution_id = o.attribution_id AND t.kind = 'agent') AS agent,
    (SELECT coalesce(n.name, t.value) FROM attribution_terms AS t LEFT JOIN names AS n ON n.id = t.value
     WHERE t.attribution_id = o.attribution_id AND t.kind = 'key') AS key
FROM session_opens AS o
WHERE o.at_us >= ?1
ORDER BY o.at_us
"""
SELECT_KEYS = "SELECT id, digest, doc FROM keys ORDER BY id"
SELECT_NAMES = "SELECT id, name FROM names WHERE id IN (SELECT value FROM json_each(?1))"
SELECT_KEYS_NAMING = """
SELECT id FROM keys
WHERE doc ->> '$.state' <> 'revoked' AND doc ->> CASE ?1 WHEN 'key' THEN '$.name' ELSE '$.' || ?1 END = ?2
ORDER BY id
"""
ERASE_NAME_IN_KEYS = """
UPDATE keys SET doc = json_set(doc, CASE ?1 WHEN 'key' THEN '$.name' ELSE '$.' || ?1 END, ?3)
WHERE doc ->> CASE ?1 WHEN 'key' THEN '$.name' ELSE '$.' || ?1 END = ?2
"""
ERASE_NAME = "DELETE FROM names WHERE kind = ?1 AND name = ?2"
EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
SELECT_IDS_OF_NAME = "SELECT id FROM names WHERE kind = ?1 AND name = ?2"
SELECT_STOPS = """
SELECT s.kind, CASE s.kind WHEN 'key' THEN s.name ELSE coalesce(n.name, s.name) END, s.state, s.reason, s.actor, s.at_us
FROM stops AS s LEFT JOIN names AS n ON n.id = s.name
ORDER BY s.kind, s.name
"""
SELECT_META = "SELECT value FROM meta WHERE name = ?1"


def session_of(row: Sequence[Any]) -> Session:
    """From a row of `sessions_shown`; the reason still holds pseudonyms."""
    session_id, key_id, mark_kind, client_id, agent_part, state, opened, run_started, last_active, reason = row[:10]
    ancestors, parts = orjson.loads(row[10]), orjson.loads(row[11])
    return Session(
        session_id,
        key_id,
        SessionMark(mark_kind, client_id, agent_part),
        SessionState(state),
        opened,
        run_started,
        last_active,
        reason,
        tuple(ancestors),
        tuple([Part(Unit(unit), amount) for unit, amount in parts]),
    )


def stop_of(row: Sequence[Any], names: Mapping[str, str]) -> Stop:
    kind, name, state, reason, actor, at_us = row
    return Stop(kind, name, SessionState(state), reveal(reason, names), reveal(actor, names), at_us)


def key_of(key_id: str, digest: str, document: str) -> VirtualKey:
    doc = orjson.loads(document)
    doc["models"] = None if doc["models"] is None else tuple(doc["models"])
    doc["tools"] = None if doc["tools"] is None else tuple(doc["tools"])
    doc["limits"] = tuple(KeyLimit(*limit) for limit in doc["limits"])
    doc["state"] = KeyState(doc["state"])
    return VirtualKey(id=key_id, digest=digest, **doc)
