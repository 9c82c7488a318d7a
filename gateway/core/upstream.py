"""What is sent to a provider and how sending can fail.

Owns the vocabulary of the `forward` station: a request with its bounds, and one error per way in which an upstream lets
us down. The HTTP adapters translate their client's exceptions into these; nothing above them knows the client.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.value import value


class Phase(StrEnum):
    """The part of an exchange that a timeout or a break happened in."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    IDLE = "idle"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds in seconds: to connect, to the first byte of the reply's headers, between two chunks, for everything."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 120.0
    total_s: float = 1800.0


@value
class UpstreamRequest:
    """One HTTP request to a provider. Header names are lower case; the body is sent as it is."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeouts: Timeouts
    reply_bytes_max: int = 64 * 1024 * 1024


class UpstreamError(Exception):
    """An exchange with a provider that gave no usable reply."""


class UpstreamTimeout(UpstreamError):
    """A bound of `Timeouts` was passed. `sent` tells whether the request may have reached the provider."""

    def __init__(self, phase: Phase, *, sent: bool) -> None:
        super().__init__(f"the upstream exceeded its {phase} timeout")
        self.phase = phase
        self.sent = sent


class UpstreamFailed(UpstreamError):
    """No connection, or a connection that broke. `sent` as above; the text never holds a credential."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class TokenUnavailable(UpstreamError):
    """Who issues the tokens that a provider takes gave none, so nothing was sent. `refused` = it refused the
    credential itself, else it was not reached or failed; the text is for people and holds no credential."""

    sent = False

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused

    def again(self) -> "TokenUnavailable":
        """The same for another caller: what was raised once keeps the traceback of its caller."""
        return TokenUnavailable(str(self), refused=self.refused)


class UpstreamInvalid(UpstreamError):
    """A reply that is not what the wire format promises: wrong type, broken JSON, too large."""
