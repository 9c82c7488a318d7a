"""Who spent what: sums per attribution from SQLite, grouped here by whatever dimensions are asked for."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import aiosqlite
import orjson

from gateway.core.identity import ABSENT
from gateway.core.report import USAGE_DIMENSIONS, UsageRow
from gateway.storage.people import Who, who
from gateway.storage.spans import FOREVER_US, spans

FIGURES = 10
# The parameter is an array of [source, start, end], which do not overlap.
SELECT_BY_ATTRIBUTION = """
WITH spans AS MATERIALIZED (
    SELECT value ->> 0 AS source, value ->> 1 AS start_us, value ->> 2 AS end_us FROM json_each(?1)
),
parts AS (
    SELECT
        r.attribution_id, r.calls, r.denied, r.input_tokens, r.cached_input_tokens, r.output_tokens, r.reasoning_tokens,
        r.tool_calls, r.usd_micros, r.estimated_calls, r.would_deny
    FROM spans AS s
    CROSS JOIN attributions AS a
    CROSS JOIN rollups AS r
        ON r.attribution_id = a.id AND r.grain_s = CASE s.source WHEN 'days' THEN 86400 ELSE 900 END
        AND r.bucket_us >= s.start_us AND r.bucket_us < s.end_us
    WHERE s.source IN ('days', 'quarters')
    UNION ALL
    SELECT
        c.attribution_id, c.state = 'settled', c.denied, c.input_tokens, c.cached_input_tokens, c.output_tokens,
        c.reasoning_tokens, c.tool_calls, c.usd_micros, c.estimated IS NOT NULL, c.would_deny
    FROM spans AS s
    CROSS JOIN attributions AS a
    CROSS JOIN calls AS c
        ON c.attribution_id = a.id AND c.started_at_us >= s.start_us AND c.started_at_us < s.end_us
    WHERE s.source = 'calls' AND c.state IN ('settled', 'denied')
)
SELECT
    attribution_id, '', sum(calls), sum(denied), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens),
    sum(reasoning_tokens), sum(tool_calls), sum(usd_micros), sum(estimated_calls),
    sum(would_deny)
FROM parts
GROUP BY 1
HAVING sum(calls) > 0 OR sum(denied) > 0
"""
SELECT_BY_SESSION = """
SELECT
    attribution_id, session_id, calls, denied, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
    tool_calls, usd_micros, estimated_calls, would_deny
FROM session_rollups
WHERE calls > 0 OR denied > 0
"""
SELECT_BY_SESSION_WITHIN = """
SELECT
    c.attribution_id, c.session_id, sum(c.state = 'settled'), sum(c.denied), sum(c.input_tokens),
    sum(c.cached_input_tokens), sum(c.output_tokens), sum(c.reasoning_tokens), sum(c.tool_calls), sum(c.usd_micros),
    sum(c.estimated IS NOT NULL), sum(c.would_deny)
FROM attributions AS a
CROSS JOIN calls AS c ON c.attribution_id = a.id AND c.started_at_us >= ?1 AND c.started_at_us < ?2
WHERE c.state IN ('settled', 'denied')
GROUP BY 1, 2
"""


async def usage(
    connection: aiosqlite.Connection, by: tuple[str, ...], since_us: int | None, until_us: int | None
) -> list[UsageRow]:
    """One row per group, dearest first. Raises ValueError for a dimension that does not exist."""
    unknown = [name for name in by if name not in USAGE_DIMENSIONS]
    if unknown:
        raise ValueError(f"usage is not known by {', '.join(unknown)}; it is by {', '.join(USAGE_DIMENSIONS)}")
    rows = list(await _sums(connection, by, since_us, until_us))
    people = await who(connection, {row[0] for row in rows})
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * FIGURES)
    for row in rows:
        for group in _groups(by, row[0], row[1], people):
            sums = groups[group]
            for index in range(FIGURES):
                sums[index] += row[index + 2]
    found = [_usage_row(group, sums) for group, sums in groups.items()]
    return sorted(found, key=lambda row: (-row.cost_usd_micros, row.group))


async def _sums(
    connection: aiosqlite.Connection, by: tuple[str, ...], since_us: int | None, until_us: int | None
) -> Sequence[Sequence[Any]]:
    if "session" not in by:
        parts = [[span.source, span.start_us, span.end_us] for span in spans(since_us, until_us)]
        return list(await connection.execute_fetchall(SELECT_BY_ATTRIBUTION, (orjson.dumps(parts).decode(),)))
    if since_us is None and until_us is None:
        return list(await connection.execute_fetchall(SELECT_BY_SESSION))
    span = (since_us or 0, FOREVER_US if until_us is None else until_us)
    return list(await connection.execute_fetchall(SELECT_BY_SESSION_WITHIN, span))


def _groups(by: tuple[str, ...], attribution_id: str, session_id: str, people: Who) -> list[tuple[str, ...]]:
    values = [[session_id or ABSENT] if kind == "session" else people.values(attribution_id, kind) for kind in by]
    return list(itertools.product(*values))


def _usage_row(group: tuple[str, ...], sums: Sequence[int]) -> UsageRow:
    calls, denied, given, cached, output, reasoning, tool_calls, cost, estimated, would_deny = sums
    return UsageRow(
        group=group,
        calls=calls,
        denied=denied,
        input_tokens=given,
        cached_input_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
        tool_calls=tool_calls,
        cost_usd_micros=cost,
        estimated_calls=estimated,
        would_deny=would_deny,
    )
