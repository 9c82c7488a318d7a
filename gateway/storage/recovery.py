"""What is done first at start: find the end of the chain, seal what a dead process left, end its calls."""

from dataclasses import dataclass

import aiosqlite
import orjson

from gateway.core.audit import Head, Segment
from gateway.core.ledger import Amounts, OpenHold, orphan_posting
from gateway.storage.batch import Batch, OpenCall, OpenCalls, Opening, OrphanSettled
from gateway.storage.pseudonyms import Pseudonyms
from gateway.storage.writer import INSERT_BATCH, READ_HEAD

SELECT_LAST_EPOCH = "SELECT coalesce(max(epoch), 0) FROM segments"
SELECT_OPEN_SEGMENT = "SELECT segment, first_seq, previous_hash FROM segments WHERE seal IS NULL"
SELECT_HELD = """
SELECT
    c.seq, c.call_id, c.started_at_us, c.session_id, c.attribution_id, c.raised, j.doc ->> '$.held',
    j.doc ->> '$.prompt_tokens', j.doc ->> '$.prompt_usd_micros', j.doc ->> '$.usual_output_tokens',
    j.doc ->> '$.stream', j.doc ->> '$.sliced'
FROM calls AS c JOIN journal AS j ON j.seq = c.seq
WHERE c.state = 'held'
ORDER BY c.seq
"""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a new process goes on. `segment` is set if recovery wrote into it already."""

    head: Head
    opening: Opening
    segment: Segment | None
    orphans: int


async def recover(
    connection: aiosqlite.Connection, install_key: bytes, pseudonyms: Pseudonyms, node: str, now_us: int
) -> Recovered:
    """Settles every call that is still held (rule 8), all in one batch, journaled and rolled up like others."""
    ((seq, last_hash),) = await connection.execute_fetchall(READ_HEAD)
    ((epoch,),) = await connection.execute_fetchall(SELECT_LAST_EPOCH)
    head, opening = Head(seq, last_hash), Opening(node, epoch + 1)
    holds = [_open_hold(row) for row in await connection.execute_fetchall(SELECT_HELD)]
    open_calls: OpenCalls = {hold.call_id: call for hold, call in holds}
    batch = Batch(head, opening, None, open_calls, pseudonyms)
    for name, first_seq, previous_hash in await connection.execute_fetchall(SELECT_OPEN_SEGMENT):
        batch.seal(Segment(name, first_seq, previous_hash), install_key)
    batch.add([OrphanSettled(hold.call_id, now_us, orphan_posting(hold)) for hold, _ in holds])
    if not batch.empty:
        await connection.execute_fetchall(INSERT_BATCH, batch.parameters(install_key))
    return Recovered(batch.head, opening, batch.segment, len(holds))


def _open_hold(row: aiosqlite.Row) -> tuple[OpenHold, OpenCall]:
    (
        seq,
        call_id,
        at_us,
        session_id,
        attribution_id,
        raised,
        held,
        prompt_tokens,
        prompt_usd_micros,
        usual,
        stream,
        sliced,
    ) = row
    hold = OpenHold(
        placed_at_us=at_us,
        call_id=call_id,
        session_id=session_id,
        attribution_id=attribution_id,
        held=Amounts(**orjson.loads(raised or held)),
        prompt_tokens=prompt_tokens,
        prompt_usd_micros=prompt_usd_micros,
        usual_output_tokens=usual,
        stream=bool(stream),
        sliced=bool(sliced),
    )
    return hold, OpenCall(seq, attribution_id)
