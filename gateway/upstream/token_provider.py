"""A provider that is shown short-lived tokens in place of a key.

Rule: a 401 is answered once with another token, for a token can be revoked before its end; a second one is the answer.
"""

from collections.abc import Mapping
from dataclasses import replace

from gateway.core.upstream import Timeouts, UpstreamRequest
from gateway.ports import Upstream, UpstreamReply
from gateway.upstream.provider import REDACTED, HttpProvider
from gateway.upstream.token_source import TokenSource

_AUTHORIZATION = "authorization"
_INVALID = 401


class TokenProvider(HttpProvider):
    """`base_url`, `headers` as of HttpProvider; `secrets` = what tokens are asked for with, never to be shown."""

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        upstream: Upstream,
        reply_bytes_max: int,
        *,
        tokens: TokenSource,
        secrets: tuple[str, ...],
    ) -> None:
        super().__init__(name, base_url, {}, headers, upstream, reply_bytes_max)
        self._tokens = tokens
        self._issued_for = tuple(secret for secret in secrets if secret)

    async def send(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamReply:
        """Raises UpstreamError, also where no token is to be had."""
        request = self._request(path, body, timeouts, headers)
        token = await self._tokens.token()
        reply = await self._upstream.send(_bearing(request, token))
        if reply.status != _INVALID:
            return reply
        try:
            other = await self._tokens.instead_of(token)
        except BaseException:
            await reply.close()
            raise
        if other is None:
            return reply
        await reply.close()
        return await self._upstream.send(_bearing(request, other))

    def redact(self, text: str) -> str:
        for secret in (*self._tokens.values, *self._issued_for):
            text = text.replace(secret, REDACTED)
        return super().redact(text)

    def credentials(self) -> tuple[int, int]:
        return 1, int(self._tokens.resting)


def _bearing(request: UpstreamRequest, token: str) -> UpstreamRequest:
    others = tuple(pair for pair in request.headers if pair[0] != _AUTHORIZATION)
    return replace(request, headers=(*others, (_AUTHORIZATION, f"Bearer {token}")))
