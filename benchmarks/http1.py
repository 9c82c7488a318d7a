"""Cuts HTTP/1.1 messages out of a byte stream, for the mock upstream (requests) and the loader (replies).

Owns framing only: Content-Length, chunked, and end by close. Body bytes are handed on as they arrive, so that the
loader can time each event. It trusts the other side to be well-behaved: it is an instrument, not an edge.
"""

from collections.abc import Callable
from enum import Enum

HEAD_BYTES_MAX = 64 * 1024


class Role(Enum):
    """What is read. A request without a length has no body; a reply without one ends when the connection closes."""

    REQUESTS = "requests"
    REPLIES = "replies"


class FramingError(Exception):
    """The bytes are not the HTTP/1.1 that this module knows."""


class Reader:
    """Calls `on_head(start_line, lower_cased_headers)`, then `on_body(piece)` for each piece, then `on_end()`."""

    __slots__ = ("_at_head", "_left", "_on_body", "_on_end", "_on_head", "_rest", "_role", "_state")

    def __init__(
        self,
        role: Role,
        on_head: Callable[[bytes, bytes], None],
        on_body: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._role = role
        self._on_head = on_head
        self._on_body = on_body
        self._on_end = on_end
        self._rest = b""
        self._left = 0
        self._state: Callable[[bytes, int], int] = self._head

    def feed(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            reached = self._state(data, at)
            if reached < 0:
                self._rest = data[at:]
                return
            at = reached

    def close(self) -> None:
        """The other side closed: ends a reply that has no length."""
        if self._state == self._until_close:
            self._end()

    # Each state reads from `at` and returns where it stopped, or -1 when it needs more bytes than there are.

    def _head(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if len(data) - at > HEAD_BYTES_MAX:
                raise FramingError("the head is too long")
            return -1
        start, _, headers = data[at:end].partition(b"\r\n")
        headers = b"\r\n" + headers.lower() + b"\r\n"
        self._on_head(start, headers)
        if b"\r\ntransfer-encoding:" in headers:
            self._state = self._chunk_size
        else:
            length = header(headers, b"content-length")
            if (
                length is None
                and self._role is Role.REPLIES
                and not start.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304"))
            ):
                self._state = self._until_close
            else:
                self._left = int(length or 0)
                self._state = self._length
                if self._left == 0:
                    self._end()
        return end + 4

    def _length(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._left -= len(piece)
        self._on_body(piece)
        if self._left == 0:
            self._end()
        return at + len(piece)

    def _chunk_size(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            return -1
        try:
            self._left = int(data[at:end].partition(b";")[0], 16)
        except ValueError as bad:
            raise FramingError("a chunk has no size") from bad
        self._state = self._chunk if self._left else self._trailer
        return end + 2

    def _chunk(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._left -= len(piece)
        self._on_body(piece)
        if self._left == 0:
            self._state = self._chunk_end
        return at + len(piece)

    def _chunk_end(self, data: bytes, at: int) -> int:
        if len(data) - at < 2:
            return -1
        if data[at : at + 2] != b"\r\n":
            raise FramingError("a chunk is longer than it said")
        self._state = self._chunk_size
        return at + 2

    def _trailer(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            return -1
        if end == at:
            self._end()
        return end + 2

    def _until_close(self, data: bytes, at: int) -> int:
        self._on_body(data[at:])
        return len(data)

    def _end(self) -> None:
        self._state = self._head
        self._on_end()


def header(headers: bytes, name: bytes) -> bytes | None:
    """The value of a header in the block that `on_head` was given; `name` in lower case."""
    start = headers.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return headers[start : headers.index(b"\r\n", start)].strip()


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
