"""Which call was made with an Idempotency-Key, and what became of it (port `MadeCalls`)."""

from gateway.core.idempotency import EarlierCall
from gateway.core.ledger import CallState
from gateway.storage.writer import Writer

SELECT_MADE = """
SELECT k.call_id, k.body_digest, c.state, c.usd_micros
FROM idempotency AS k
LEFT JOIN journal AS j ON j.subject = k.call_id AND j.kind = 'held'
LEFT JOIN calls AS c ON c.seq = j.seq
WHERE k.key_id = ?1 AND k.key_digest = ?2 AND k.at_us > ?3
"""
FORGET = "DELETE FROM idempotency WHERE at_us <= ?1"


class SqliteMadeCalls:
    """Reads stand in the writer's queue, so they see every hold and settlement before them."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def find(self, key_id: str, key_digest: str, since_us: int) -> EarlierCall | None:
        rows = await self._writer.read(SELECT_MADE, (key_id, key_digest, since_us))
        if not rows:
            return None
        call_id, body_digest, state, usd_micros = rows[0]
        return EarlierCall(call_id, body_digest, None if state is None else CallState(state), usd_micros or 0)

    async def forget(self, before_us: int) -> None:
        await self._writer.read(FORGET, (before_us,))
