"""Amazon Bedrock as a provider: requests are signed with the account's credentials by botocore's signer.

Credentials are those of the settings, else those that botocore's chain finds (environment, shared files, container,
instance). It renews them before they expire, which may read files or ask the host: that happens in a thread.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from gateway.core.upstream import Timeouts, UpstreamFailed, UpstreamRequest
from gateway.ports import Upstream, UpstreamReply
from gateway.upstream.provider import REDACTED, HttpProvider

_SERVICE = "bedrock"
_CONTENT_TYPE = "content-type"


class BedrockProvider(HttpProvider):
    """`keys` = access key id, secret access key, session token or None; `keys` None = the chain."""

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        upstream: Upstream,
        reply_bytes_max: int,
        *,
        region: str,
        keys: tuple[str, str, str | None] | None,
    ) -> None:
        super().__init__(name, base_url, {}, headers, upstream, reply_bytes_max)
        self._region = region
        self._credentials: Credentials | None = None if keys is None else Credentials(*keys)
        self._frozen: ReadOnlyCredentials | None = None

    async def send(
        self, path: str, body: bytes, timeouts: Timeouts, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamReply:
        """Raises UpstreamError, also where no credentials are found."""
        frozen = await self._renewed()
        request = self._request(path, body, timeouts, headers)
        return await self._upstream.send(_signed(request, frozen, self._region))

    def redact(self, text: str) -> str:
        for secret in self._frozen or ():
            text = text.replace(secret, REDACTED) if secret else text
        return super().redact(text)

    async def _renewed(self) -> ReadOnlyCredentials:
        known = self._credentials
        waits = known is None or (isinstance(known, RefreshableCredentials) and known.refresh_needed())
        try:
            frozen = await asyncio.to_thread(self._find) if waits else self._find()
        except BotoCoreError:
            frozen = None
        if frozen is None:
            raise UpstreamFailed("no AWS credentials were found", sent=False)
        self._frozen = frozen
        return frozen

    def _find(self) -> ReadOnlyCredentials | None:
        if self._credentials is None:
            self._credentials = Session().get_credentials()
        return None if self._credentials is None else self._credentials.get_frozen_credentials()


def _signed(request: UpstreamRequest, credentials: ReadOnlyCredentials, region: str) -> UpstreamRequest:
    own = dict(request.headers)
    to_sign = AWSRequest(request.method, request.url, {_CONTENT_TYPE: own[_CONTENT_TYPE]}, request.body)
    SigV4Auth(credentials, _SERVICE, region).add_auth(to_sign)
    own |= {name.lower(): value for name, value in to_sign.headers.items()}
    return replace(request, headers=tuple(own.items()))
