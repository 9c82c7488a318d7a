"""AWS event-stream framing (`application/vnd.amazon.eventstream`): an incremental decoder and an encoder.

A frame: u32 length of all, u32 length of the headers, u32 CRC-32 of those eight bytes, headers, payload, u32 CRC-32 of
all before it; big-endian. A header: u8 length of the name, name, u8 type, value. Source: the AWS SDKs' specification.
Rules: joined, the `raw` of all frames is the stream byte for byte; both checksums are checked; nothing unbounded is
kept.
"""

import struct
from collections.abc import Iterable
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

EVENT_STREAM = "application/vnd.amazon.eventstream"
FRAME_BYTES_MAX = 24 * 1024 * 1024
HEADERS_BYTES_MAX = 128 * 1024
"""What the specification allows."""

_PRELUDE = struct.Struct(">III")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _U32.size
_STRING = 7
_FIXED_SIZES = MappingProxyType({0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16})
"""Bytes of a value by its type: booleans, integers, a time, a UUID."""
_COUNTED = frozenset({6, _STRING})
_TYPE, _EVENT, _EXCEPTION, _CONTENT = ":message-type", ":event-type", ":exception-type", ":content-type"


class FrameBroken(ValueError):
    """Bytes that are no frame: a wrong checksum, a length that cannot be."""


class Frame(NamedTuple):
    """One message. `headers` are those that hold text; `data` is the payload."""

    headers: dict[str, str]
    data: bytes
    raw: bytes

    @property
    def event(self) -> str:
        """The kind of an event, "" for what is none."""
        return self.headers.get(_EVENT, "")

    @property
    def exception(self) -> str:
        """The kind of an exception that ends the stream, "" for an event."""
        return self.headers.get(_EXCEPTION, "") or self.headers.get(":error-code", "")


class FrameDecoder:
    """Feed it the stream as it arrives; each call gives the frames that became complete. Raises FrameBroken."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[Frame]:
        self._rest += chunk
        frames = []
        while len(self._rest) >= _PRELUDE.size:
            size, _, prelude_sum = _PRELUDE.unpack_from(self._rest)
            if crc32(self._rest[:8]) != prelude_sum:
                raise FrameBroken("the checksum of a frame's beginning is wrong")
            if not _OVERHEAD <= size <= self._frame_bytes_max:
                raise FrameBroken(f"a frame cannot have {size} bytes")
            if len(self._rest) < size:
                break
            frames.append(_frame(bytes(self._rest[:size])))
            del self._rest[:size]
        return frames

    def flush(self) -> list[Frame]:
        """Raises FrameBroken where the stream ended within a frame."""
        if self._rest:
            raise FrameBroken("the stream ended within a frame")
        return []


def encode(headers: Iterable[tuple[str, str]], payload: bytes) -> bytes:
    """One frame. Raises ValueError for a header that is too long."""
    fields = bytearray()
    for name, text in headers:
        name_bytes, value = name.encode(), text.encode()
        if not 0 < len(name_bytes) <= 255 or len(value) > 65_535:
            raise ValueError("a header is too long")
        fields += bytes((len(name_bytes),)) + name_bytes + bytes((_STRING,)) + _U16.pack(len(value)) + value
    prelude = struct.pack(">II", _OVERHEAD + len(fields) + len(payload), len(fields))
    frame = prelude + _U32.pack(crc32(prelude)) + bytes(fields) + payload
    return frame + _U32.pack(crc32(frame))


def event_frame(kind: str, payload: bytes) -> bytes:
    """A frame with one event, its payload JSON."""
    return encode(((_EVENT, kind), (_CONTENT, "application/json"), (_TYPE, "event")), payload)


def exception_frame(kind: str, payload: bytes) -> bytes:
    """A frame that ends a stream with an exception, its payload JSON."""
    return encode(((_EXCEPTION, kind), (_CONTENT, "application/json"), (_TYPE, "exception")), payload)


def _frame(raw: bytes) -> Frame:
    size, headers_size, _ = _PRELUDE.unpack_from(raw)
    (whole_sum,) = _U32.unpack_from(raw, size - _U32.size)
    if crc32(raw[: -_U32.size]) != whole_sum:
        raise FrameBroken("the checksum of a frame is wrong")
    payload_at = _PRELUDE.size + headers_size
    if headers_size > HEADERS_BYTES_MAX or payload_at > size - _U32.size:
        raise FrameBroken("the headers of a frame are too long")
    return Frame(_headers(raw[_PRELUDE.size : payload_at]), raw[payload_at : -_U32.size], raw)


def _headers(fields: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(fields):
            name_end = at + 1 + fields[at]
            name, kind = fields[at + 1 : name_end].decode(), fields[name_end]
            at = name_end + 1
            size = _FIXED_SIZES.get(kind)
            if kind in _COUNTED:
                (size,) = _U16.unpack_from(fields, at)
                at += _U16.size
            if size is None or at + size > len(fields):
                raise FrameBroken("a header of a frame is malformed")
            if kind == _STRING:
                found[name] = fields[at : at + size].decode()
            at += size
    except (IndexError, struct.error, UnicodeDecodeError):
        raise FrameBroken("a header of a frame is malformed") from None
    return found
