"""The value of counters, read from the books: all asks that wait are one statement.

An ask becomes parts, each answered by one arm of the statement: rollups of days and quarters of an hour, rollups of a
session, and the calls themselves for edges and for windows that no rollup fits (minutes, fine rolling buckets).
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.attribution import PERSONAL_KINDS
from gateway.core.ledger import Amounts
from gateway.core.report import Totals, TotalsAsk
from gateway.storage.spans import FOREVER_US, Source, spans

# A part is [ask, source, anchor kind, anchor value, [[kind, value or null] ...], session, start, end, bucket length].
# The anchor is a term that every wanted attribution has, so that an index leads to them; the others are checked.
# A session's places are itself and every session below it.
SELECT_TOTALS = """
WITH parts AS MATERIALIZED (
    SELECT
        value ->> 0 AS ask, value ->> 1 AS source, value ->> 2 AS kind, value ->> 3 AS value, value -> 4 AS others,
        value ->> 5 AS session_id, value ->> 6 AS start_us, value ->> 7 AS end_us, value ->> 8 AS bucket_us
    FROM json_each(?1)
),
scopes AS MATERIALIZED (
    SELECT p.*, t.attribution_id
    FROM parts AS p
    CROSS JOIN attribution_terms AS t ON t.kind = p.kind AND t.value = p.value
    WHERE NOT EXISTS (
        SELECT 1 FROM json_each(p.others) AS o
        WHERE (o.value ->> 1 IS NULL) = EXISTS (
            SELECT 1 FROM attribution_terms AS has
            WHERE has.attribution_id = t.attribution_id AND has.kind = o.value ->> 0
            AND (o.value ->> 1 IS NULL OR has.value = o.value ->> 1)
        )
    )
),
places AS MATERIALIZED (
    SELECT p.*, p.session_id AS place FROM parts AS p WHERE p.session_id IS NOT NULL
    UNION ALL
    SELECT p.*, t.session_id AS place FROM parts AS p CROSS JOIN session_tree AS t ON t.ancestor_id = p.session_id
)
SELECT
    s.ask, r.bucket_us / s.bucket_us * s.bucket_us AS bucket, sum(r.input_tokens), sum(r.output_tokens),
    sum(r.cached_input_tokens), sum(r.usd_micros), sum(r.requests), sum(r.tool_calls), sum(r.sessions_opened)
FROM scopes AS s
CROSS JOIN rollups AS r
    ON r.attribution_id = s.attribution_id AND r.grain_s = CASE s.source WHEN 'days' THEN 86400 ELSE 900 END
    AND r.bucket_us >= s.start_us AND r.bucket_us < s.end_us
WHERE s.source IN ('days', 'quarters')
GROUP BY 1, 2
UNION ALL
SELECT
    s.ask, c.started_at_us / s.bucket_us * s.bucket_us AS bucket, sum(c.input_tokens), sum(c.output_tokens),
    sum(c.cached_input_tokens), sum(c.usd_micros), sum(c.requests), sum(c.tool_calls), 0
FROM scopes AS s
CROSS JOIN calls AS c
    ON c.attribution_id = s.attribution_id AND c.started_at_us >= s.start_us AND c.started_at_us < s.end_us
WHERE s.source = 'calls' AND c.state = 'settled'
GROUP BY 1, 2
UNION ALL
SELECT
    s.ask, o.at_us / s.bucket_us * s.bucket_us AS bucket, 0, 0, 0, 0, 0, 0, count(*)
FROM scopes AS s
CROSS JOIN session_opens AS o ON o.attribution_id = s.attribution_id AND o.at_us >= s.start_us AND o.at_us < s.end_us
WHERE s.source = 'calls'
GROUP BY 1, 2
UNION ALL
SELECT
    p.ask, 0 AS bucket, sum(r.input_tokens), sum(r.output_tokens), sum(r.cached_input_tokens), sum(r.usd_micros),
    sum(r.requests), sum(r.tool_calls), sum(r.sessions_opened)
FROM places AS p
CROSS JOIN session_rollups AS r ON r.session_id = p.place
WHERE p.source = 'session' AND NOT EXISTS (
    SELECT 1 FROM json_each(p.others) AS o
    WHERE (o.value ->> 1 IS NULL) = EXISTS (
        SELECT 1 FROM attribution_terms AS has
        WHERE has.attribution_id = r.attribution_id AND has.kind = o.value ->> 0
        AND (o.value ->> 1 IS NULL OR has.value = o.value ->> 1)
    )
)
GROUP BY 1
UNION ALL
SELECT
    p.ask, c.started_at_us / p.bucket_us * p.bucket_us AS bucket, sum(c.input_tokens), sum(c.output_tokens),
    sum(c.cached_input_tokens), sum(c.usd_micros), sum(c.requests), sum(c.tool_calls), 0
FROM places AS p
CROSS JOIN session_rollups AS r ON r.session_id = p.place
CROSS JOIN calls AS c
    ON c.attribution_id = r.attribution_id AND c.started_at_us >= p.start_us AND c.started_at_us < p.end_us
WHERE p.source = 'session calls' AND c.session_id = p.place AND c.state = 'settled' AND NOT EXISTS (
    SELECT 1 FROM json_each(p.others) AS o
    WHERE (o.value ->> 1 IS NULL) = EXISTS (
        SELECT 1 FROM attribution_terms AS has
        WHERE has.attribution_id = c.attribution_id AND has.kind = o.value ->> 0
        AND (o.value ->> 1 IS NULL OR has.value = o.value ->> 1)
    )
)
GROUP BY 1, 2
"""

Part = tuple[int, str, str, str, list[tuple[str, str | None]], str | None, int, int, int]


@dataclass(slots=True, eq=False)
class TotalsRead:
    """Asks in the writer's queue: they see all entries queued before them."""

    asks: Sequence[TotalsAsk]
    done: asyncio.Future[list[Totals]]


def parameter(asks: Iterable[TotalsAsk]) -> str:
    """The parameter of SELECT_TOTALS; an ask is known by its position."""
    return orjson.dumps([part for index, ask in enumerate(asks) for part in _parts(index, ask)]).decode()


def answers(asks: Sequence[TotalsAsk], rows: Iterable[Sequence[Any]]) -> list[Totals]:
    """The rows of SELECT_TOTALS summed up per ask and bucket."""
    buckets: list[dict[int, Amounts]] = [{} for _ in asks]
    opened = [0] * len(asks)
    for index, bucket_us, *sums, sessions_opened in rows:
        found = buckets[index]
        found[bucket_us] = found.get(bucket_us, Amounts()).plus(Amounts(*sums))
        opened[index] += sessions_opened
    return [Totals(found, count) for found, count in zip(buckets, opened, strict=True)]


def _parts(index: int, ask: TotalsAsk) -> list[Part]:
    bucket_us = FOREVER_US if ask.bucket_us is None else ask.bucket_us
    others = list(ask.terms)
    if ask.session_id is not None:
        whole = ask.start_us is None and ask.end_us is None and ask.bucket_us is None
        start_us = ask.start_us or 0
        end_us = FOREVER_US if ask.end_us is None else ask.end_us
        source = "session" if whole else "session calls"
        return [(index, source, "", "", others, ask.session_id, start_us, end_us, bucket_us)]
    kind, value = _anchor(others)
    return [
        (index, Source(span.source).value, kind, value, others, None, span.start_us, span.end_us, bucket_us)
        for span in spans(ask.start_us, ask.end_us, ask.bucket_us)
    ]


def _anchor(terms: list[tuple[str, str | None]]) -> tuple[str, str]:
    """The term that leads to the fewest attributions, as far as can be told from its kind."""
    given = [(kind, value) for kind, value in terms if value is not None]
    return min(given, key=lambda term: term[0] not in PERSONAL_KINDS, default=("org", "org"))
