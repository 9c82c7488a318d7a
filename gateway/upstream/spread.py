"""A provider with several credentials: calls take turns among them, and a refused one is left alone for a while."""

from collections.abc import Sequence

from gateway.core.credential_pool import CredentialPool
from gateway.core.provider_signal import retry_after_us
from gateway.core.upstream import Timeouts
from gateway.ports import Clock, UpstreamReply
from gateway.upstream.provider import HttpProvider

_TOO_MANY = 429
_INVALID = (401, 403)


class SpreadProvider:
    """`each` = the same provider with each of its credentials."""

    def __init__(self, each: Sequence[HttpProvider], clock: Clock) -> None:
        self.name = each[0].name
        self._each = tuple(each)
        self._pool = CredentialPool(len(each))
        self._clock = clock

    async def send(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamReply:
        """With the next credential as long as one is refused; the last refusal is the answer. Raises UpstreamError."""
        tried = 0
        at = self._pool.pick(self._now_us(), tried)
        assert at is not None, "the first pick gives one"
        while True:
            reply = await self._each[at].send(path, body, timeouts, headers)
            tried |= 1 << at
            if reply.status == _TOO_MANY:
                asked_us = retry_after_us(reply.headers, self._clock.now_us())
                self._pool.too_many(at, asked_us, self._now_us())
            elif reply.status in _INVALID:
                self._pool.invalid(at, self._now_us())
            else:
                return reply
            following = self._pool.pick(self._now_us(), tried)
            if following is None:
                return reply
            await reply.close()
            at = following

    def redact(self, text: str) -> str:
        for each in self._each:
            text = each.redact(text)
        return text

    def credentials(self) -> tuple[int, int]:
        return len(self._each), self._pool.resting(self._now_us())

    def _now_us(self) -> int:
        return self._clock.monotonic_ns() // 1000
