"""Spending by hour, from the rollups: whose hour is worth a look, and the hours before it."""

import aiosqlite

from gateway.core.anomaly import HOUR_US, Spending
from gateway.storage.people import who

SELECT_SPENDING = """
WITH now AS (
    SELECT t.value, sum(r.usd_micros) AS usd_micros
    FROM attribution_terms AS t
    JOIN rollups AS r ON r.attribution_id = t.attribution_id AND r.grain_s = 900 AND r.bucket_us >= ?3
    WHERE t.kind = ?1
    GROUP BY t.value
    HAVING sum(r.usd_micros) >= ?4
)
SELECT now.value, now.usd_micros, r.bucket_us / ?5 AS hour, sum(r.usd_micros) AS usd_micros
FROM now
JOIN attribution_terms AS t ON t.kind = ?1 AND t.value = now.value
LEFT JOIN rollups AS r
    ON r.attribution_id = t.attribution_id AND r.grain_s = 900 AND r.bucket_us >= ?2 AND r.bucket_us < ?3
GROUP BY now.value, hour
ORDER BY now.value, hour
"""


async def spending(
    connection: aiosqlite.Connection, kind: str, since_us: int, hour_us: int, least_usd_micros: int
) -> list[Spending]:
    """See `gateway.ports.Reports`."""
    parameters = (kind, since_us, hour_us, least_usd_micros, HOUR_US)
    rows = list(await connection.execute_fetchall(SELECT_SPENDING, parameters))
    names = (await who(connection, (), (), [row[0] for row in rows])).names
    now: dict[str, int] = {}
    past: dict[str, list[int]] = {}
    for value, this_hour, hour, usd_micros in rows:
        now[value] = this_hour
        hours = past.setdefault(value, [])
        if hour is not None and usd_micros:
            hours.append(usd_micros)
    return [Spending(kind, names.get(value, value), now[value], tuple(hours)) for value, hours in past.items()]
