"""Requests for more, written and read back. The journal's last row about a request is the request; what stands beside
it is where that row is, and the free texts, which can be erased."""

import aiosqlite
import orjson

from gateway.core.ledger import QuotaRequestChanged
from gateway.core.quota_request import QuotaRequest, RequestState
from gateway.storage.people import who
from gateway.storage.pseudonyms import NameRow, Pseudonyms, reveal_json

SELECT_REQUESTS = """
SELECT r.id, r.said, j.doc
FROM quota_requests AS r JOIN journal AS j ON j.seq = r.seq
WHERE (?1 IS NULL OR r.id = ?1) AND (?2 IS NULL OR r.state = ?2) AND (?3 IS NULL OR r.asked_us >= ?3)
ORDER BY r.asked_us DESC, r.id DESC
LIMIT ?4
"""
ERASE_SAID = """
UPDATE quota_requests SET said = '["", ""]'
WHERE instr(said, ?1) OR EXISTS (
    SELECT 1 FROM journal AS j, json_each(?2) AS pseudonym
    WHERE j.seq = quota_requests.seq AND instr(j.doc, pseudonym.value)
)
"""


def document(entry: QuotaRequestChanged, pseudonyms: Pseudonyms, names: dict[str, NameRow]) -> dict[str, object]:
    """The journal's row: pseudonyms and figures, no word of anybody's own."""
    request = entry.request
    hidden = pseudonyms.hide(
        {"actor": entry.actor, "scope": request.scope, "subjects": request.subjects, "decided_by": request.decided_by},
        None,
        names,
    )
    return {
        "action": entry.action,
        **hidden,
        "state": request.state,
        "limit": request.limit,
        "unit": request.unit,
        "amount": request.amount,
        "until_us": request.until_us,
        "asked_us": request.asked_us,
        "key": request.key_id,
        "session": request.session_id,
        "decided_us": request.decided_us,
        "granted": request.granted,
        "from_us": request.from_us,
        "ends_us": request.ends_us,
        "used_us": request.used_us,
    }


def said(request: QuotaRequest) -> str:
    return orjson.dumps((request.reason, request.note)).decode()


async def requests(
    connection: aiosqlite.Connection, request_id: str | None, state: str | None, since_us: int | None, limit: int
) -> list[QuotaRequest]:
    """Newest first."""
    rows = list(await connection.execute_fetchall(SELECT_REQUESTS, (request_id, state, since_us, limit)))
    people = await who(connection, (), [row["doc"] for row in rows])
    found = []
    for row in rows:
        doc = orjson.loads(reveal_json(row["doc"], people.names))
        reason, note = orjson.loads(row["said"])
        found.append(
            QuotaRequest(
                id=row["id"],
                limit=doc["limit"],
                scope=doc["scope"],
                unit=doc["unit"],
                amount=doc["amount"],
                until_us=doc["until_us"],
                asked_us=doc["asked_us"],
                key_id=doc["key"],
                session_id=doc["session"],
                subjects=tuple(doc["subjects"]),
                state=RequestState(doc["state"]),
                decided_us=doc["decided_us"],
                decided_by=doc["decided_by"],
                granted=doc["granted"],
                from_us=doc["from_us"],
                ends_us=doc["ends_us"],
                used_us=doc["used_us"],
                reason=reason,
                note=note,
            )
        )
    return found
