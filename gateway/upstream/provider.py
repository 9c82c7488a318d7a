"""One provider: where it is reached, with which credential, by which client (port `Provider`)."""

from collections.abc import Mapping

from gateway.core.upstream import Timeouts, UpstreamRequest
from gateway.ports import Upstream, UpstreamReply

REDACTED = "[credential]"
_SECRET_LENGTH_MIN = 6


class HttpProvider:
    """A provider that speaks the OpenAI format under `base_url` (up to `/v1`)."""

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None,
        headers: Mapping[str, str],
        upstream: Upstream,
        reply_bytes_max: int,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        own = {"content-type": "application/json", "user-agent": "comptroller"}
        if api_key is not None:
            own["authorization"] = f"Bearer {api_key}"
        own.update((header.lower(), value) for header, value in headers.items())
        self._headers = tuple(own.items())
        self._fixed = frozenset(own) - {"anthropic-version"}
        self._secrets = tuple(s for s in (api_key, *headers.values()) if s and len(s) >= _SECRET_LENGTH_MIN)
        self._upstream = upstream
        self._reply_bytes_max = reply_bytes_max

    async def send(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamReply:
        """Raises UpstreamError."""
        sent = self._headers if not headers else self._with(headers)
        request = UpstreamRequest("POST", self._base_url + path, sent, body, timeouts, self._reply_bytes_max)
        return await self._upstream.send(request)

    def _with(self, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The client's beside ours; of one name, the client's word about the format, never about who pays."""
        own = dict(self._headers)
        own.update((name, value) for name, value in headers if name not in self._fixed)
        return tuple(own.items())

    def redact(self, text: str) -> str:
        """The text with this provider's credentials taken out: some providers echo the key that they refuse."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text
