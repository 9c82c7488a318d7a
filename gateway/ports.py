"""What the data plane and the control plane ask of the world, in the domain's own verbs.

Rule: a port offers what a station needs as one operation (hold, settle, void), never get and set.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from gateway.core.upstream import UpstreamRequest


class UpstreamReply(Protocol):
    """A reply whose headers have arrived. Header names are lower case. Close it whether or not it was read."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamError (UpstreamInvalid above `reply_bytes_max`)."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, nothing joined and nothing held back. Raises UpstreamError."""

    async def close(self) -> None:
        """Idempotent. Before the end of the body it drops the connection, so that the provider stops working."""


class Upstream(Protocol):
    """Sends requests to one provider. Raises UpstreamError; a reply of any status is a reply, not an error."""

    async def send(self, request: UpstreamRequest) -> UpstreamReply: ...

    async def close(self) -> None: ...
