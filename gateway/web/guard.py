"""What no request may look like, whatever server parsed it: the answer before any handler sees it.

Hypercorn 0.18 takes Content-Length and Transfer-Encoding together and would serve a smuggled second request; both
headers are visible in the ASGI scope, so the pair is refused here and the connection closed (research: trust A3).
"""

from collections.abc import Mapping, Sequence

from gateway.core.denial import Code, Denial
from gateway.web.encoding import TAKEN, encoding_of

HEADERS_MAX = 100
PATH_BYTES_MAX = 4096
_SINGLE = (
    *(b"content-length", b"transfer-encoding", b"host", b"content-type", b"content-encoding"),
    *(b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"x-comptroller-session", b"x-comptroller-tags"),
)
"""What decides framing, identity or attribution: of two values one would be dropped unseen."""


def objection(
    headers: Sequence[tuple[bytes, bytes]], raw: Mapping[bytes, bytes], path: str, bytes_max: int
) -> Denial | None:
    """Why a request is refused, None if it is well-formed. `raw` = the headers as a mapping, last value wins."""
    if b"transfer-encoding" in raw and b"content-length" in raw:
        return _malformed("Content-Length and Transfer-Encoding exclude each other.")
    if len(headers) > HEADERS_MAX or sum(map(len, raw)) + sum(map(len, raw.values())) > bytes_max:
        return Denial(Code.REQUEST_TOO_LARGE, "The request has too many or too large headers.")
    if len(raw) != len(headers):
        names = [name for name, _ in headers]
        doubled = next((name for name in _SINGLE if names.count(name) > 1), None)
        if doubled is not None:
            return _malformed(f"The header {doubled.decode()} came more than once.")
    if len(path) > PATH_BYTES_MAX:
        return Denial(Code.REQUEST_TOO_LARGE, "The path is too long.")
    if encoding_of(raw.get(b"content-encoding")) not in TAKEN:
        return _malformed("Request bodies are taken as they are or as gzip; this encoding is not.")
    return None


def _malformed(text: str) -> Denial:
    return Denial(Code.REQUEST_MALFORMED, text)
