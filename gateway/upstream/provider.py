"""One provider: where it is reached, with which credential, by which client (port `Provider`)."""

from collections.abc import Mapping

from gateway.core.upstream import Timeouts, UpstreamRequest
from gateway.ports import Upstream, UpstreamReply

REDACTED = "[credential]"
ANTHROPIC_VERSION = "anthropic-version"
CONTENT_TYPE = "content-type"
_ANTHROPIC_VERSION_ASSUMED = "2023-06-01"
_SECRET_LENGTH_MIN = 6


def credential_of(kind: str, api_key: str | None) -> dict[str, str]:
    """The headers with which a provider of this kind is shown its key, and what its API asks for beside it."""
    if kind == "anthropic":
        key = {} if api_key is None else {"x-api-key": api_key}
        return {ANTHROPIC_VERSION: _ANTHROPIC_VERSION_ASSUMED, **key}
    if kind == "azure_openai":
        return {} if api_key is None else {"api-key": api_key}
    if kind == "gemini":
        return {} if api_key is None else {"x-goog-api-key": api_key}
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


class HttpProvider:
    """A provider under `base_url` (up to `/v1`). `credential` are the headers that show whose account is used."""

    def __init__(
        self,
        name: str,
        base_url: str,
        credential: Mapping[str, str],
        headers: Mapping[str, str],
        upstream: Upstream,
        reply_bytes_max: int,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        own = {CONTENT_TYPE: "application/json", "user-agent": "comptroller"}
        own |= credential
        own.update((header.lower(), value) for header, value in headers.items())
        self._headers = tuple(own.items())
        self._fixed = frozenset(own) - {ANTHROPIC_VERSION, CONTENT_TYPE}
        shown = [value.removeprefix("Bearer ") for name, value in credential.items() if name != ANTHROPIC_VERSION]
        self._secrets = tuple(s for s in (*shown, *headers.values()) if len(s) >= _SECRET_LENGTH_MIN)
        self._upstream = upstream
        self._reply_bytes_max = reply_bytes_max

    async def send(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamReply:
        """Raises UpstreamError."""
        return await self._upstream.send(self._request(path, body, timeouts, headers))

    def _request(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...]
    ) -> UpstreamRequest:
        sent = self._headers if not headers else self._with(headers)
        return UpstreamRequest("POST", self._base_url + path, sent, body, timeouts, self._reply_bytes_max)

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

    def credentials(self) -> tuple[int, int]:
        return 1, 0
