"""The full recount: every sum that is kept, against the rows it is a sum of (rule 11)."""

from collections.abc import Sequence
from typing import Any

import aiosqlite

from gateway.core.ledger import Amounts
from gateway.core.report import Drift

DRIFTS_MAX = 1_000

ROLLUPS_NOT_COUNTED = "SELECT * FROM rollups EXCEPT SELECT * FROM counted_rollups LIMIT ?1"
COUNTED_NOT_IN_ROLLUPS = "SELECT * FROM counted_rollups EXCEPT SELECT * FROM rollups LIMIT ?1"
SESSION_ROLLUPS_NOT_COUNTED = """
SELECT
    session_id, attribution_id, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
    cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
FROM session_rollups
EXCEPT SELECT * FROM counted_session_rollups
LIMIT ?1
"""
COUNTED_NOT_IN_SESSION_ROLLUPS = """
SELECT * FROM counted_session_rollups
EXCEPT
SELECT
    session_id, attribution_id, calls, denied, would_deny, estimated_calls, sessions_opened, input_tokens,
    cached_input_tokens, output_tokens, usd_micros, requests, tool_calls, cache_write_tokens, reasoning_tokens
FROM session_rollups
LIMIT ?1
"""
TREE_NOT_COUNTED = "SELECT * FROM session_tree EXCEPT SELECT * FROM counted_session_tree LIMIT ?1"
COUNTED_NOT_IN_TREE = "SELECT * FROM counted_session_tree EXCEPT SELECT * FROM session_tree LIMIT ?1"

_COUNTS = ("calls", "denied", "would_deny", "estimated_calls", "sessions_opened")
_TOKENS_ONLY_REPORTED = ("cache_write_tokens", "reasoning_tokens")


async def recount(connection: aiosqlite.Connection) -> list[Drift]:
    """At most DRIFTS_MAX of each kind; an empty list says that the books agree."""
    rollups = await _compare(connection, "rollups", 3, ROLLUPS_NOT_COUNTED, COUNTED_NOT_IN_ROLLUPS)
    sessions = await _compare(
        connection, "session_rollups", 2, SESSION_ROLLUPS_NOT_COUNTED, COUNTED_NOT_IN_SESSION_ROLLUPS
    )
    misplaced = [*await _rows(connection, TREE_NOT_COUNTED), *await _rows(connection, COUNTED_NOT_IN_TREE)]
    places = sorted({f"{session} below {ancestor}" for ancestor, session, _ in misplaced})
    return rollups + sessions + [Drift("session_tree", place, Amounts(), Amounts()) for place in places]


async def _compare(
    connection: aiosqlite.Connection, table: str, key_length: int, derived_sql: str, counted_sql: str
) -> list[Drift]:
    derived = {tuple(row[:key_length]): tuple(row[key_length:]) for row in await _rows(connection, derived_sql)}
    counted = {tuple(row[:key_length]): tuple(row[key_length:]) for row in await _rows(connection, counted_sql)}
    nothing = (0,) * 13
    return [
        _drift(table, key, derived.get(key, nothing), counted.get(key, nothing))
        for key in sorted(derived.keys() | counted.keys(), key=str)
    ]


async def _rows(connection: aiosqlite.Connection, sql: str) -> Sequence[Sequence[Any]]:
    return list(await connection.execute_fetchall(sql, (DRIFTS_MAX,)))


def _drift(table: str, key: tuple[Any, ...], derived: tuple[int, ...], counted: tuple[int, ...]) -> Drift:
    others = [
        f"{name} {kept} instead of {right}"
        for name, kept, right in zip(
            (*_COUNTS, *_TOKENS_ONLY_REPORTED), derived[:5] + derived[11:], counted[:5] + counted[11:], strict=True
        )
        if kept != right
    ]
    return Drift(table, " ".join(map(str, (*key, *others))), _amounts(derived), _amounts(counted))


def _amounts(row: tuple[int, ...]) -> Amounts:
    given, cached, output, usd_micros, requests, tool_calls = row[5:11]
    return Amounts(given, output, cached, usd_micros, requests, tool_calls)
