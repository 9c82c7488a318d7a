"""Server-sent events (WHATWG HTML 9.2): an incremental decoder for relaying and metering, and a safe encoder.

Rules: joined, the `raw` of all events is the stream byte for byte, with comments and odd blank lines. Where a block
ends depends on the bytes only, never on how the network cut them. Nothing unbounded is kept.
"""

import re
from typing import NamedTuple

EVENT_BYTES_MAX = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLOCK_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
# A block end is at most four bytes, so this many of the bytes already searched may be part of one.
_OVERLAP_BYTES = 3
_RETRY_DIGITS_MAX = 10


class SseTooLarge(ValueError):
    """An event longer than the decoder may keep."""


class Event(NamedTuple):
    """One block of a stream. `data` is empty for a block without any, such as a comment against idle timeouts."""

    data: bytes
    event: bytes | None
    id: bytes | None
    retry_ms: int | None
    raw: bytes


class SseDecoder:
    """Feed it the stream as it arrives; each call gives the blocks that became complete. Raises SseTooLarge.

    A carriage return at the end of a chunk may be half a line end, so a block that ends in one waits for the next byte.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._rest = bytearray()
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        data = chunk
        if self._rest:
            searched = max(0, len(self._rest) - _OVERLAP_BYTES)
            self._rest += chunk
            if not _BLOCK_END.search(self._rest, searched):
                self._check_size(len(self._rest))
                return []
            data = bytes(self._rest)
            self._rest.clear()
        events, end = self._blocks(data)
        if end < len(data):
            self._rest += data[end:]
            self._check_size(len(self._rest))
        return events

    def flush(self) -> list[Event]:
        """What the stream ended with, if it ended without a blank line: browsers drop it, a meter must not."""
        raw = bytes(self._rest)
        self._rest.clear()
        return [self._event(raw)] if raw else []

    def _blocks(self, data: bytes) -> tuple[list[Event], int]:
        events = []
        begin = 0
        if b"\r" not in data:
            end = data.find(b"\n\n") + 2
            while end > 1:
                events.append(self._event(data[begin:end]))
                begin = end
                end = data.find(b"\n\n", begin) + 2
            return events, begin
        for match in _BLOCK_END.finditer(data):
            end = match.end()
            if end == len(data) and data.endswith(b"\r"):
                break
            events.append(self._event(data[begin:end]))
            begin = end
        return events, begin

    def _event(self, raw: bytes) -> Event:
        self._check_size(len(raw))
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            self._at_start = False
            return Event(raw[6:-2], None, None, None, raw)
        block = raw
        if self._at_start:
            self._at_start = False
            block = raw.removeprefix(_BOM)
        return _parse(block, raw)

    def _check_size(self, size: int) -> None:
        if size > self._event_bytes_max:
            raise SseTooLarge(f"an event is longer than {self._event_bytes_max} bytes")


def encode(data: bytes, event: bytes | None = None) -> bytes:
    """One event. A line end inside `data` starts a new data line, so no content can forge a field or an event.

    A reader gets every such line end as a line feed, which JSON does not mind. An event name with one is a ValueError.
    """
    if event is not None and (b"\n" in event or b"\r" in event):
        raise ValueError("an event name cannot hold a line end")
    head = b"" if event is None else b"event: " + event + b"\n"
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    return head + b"data: " + data + b"\n\n"


def _parse(block: bytes, raw: bytes) -> Event:
    data: list[bytes] = []
    event = event_id = retry_ms = None
    for line in _LINE_END.split(block):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
        elif name == b"id" and b"\0" not in value:
            event_id = value
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS_MAX:
            retry_ms = int(value)
    return Event(b"\n".join(data), event, event_id, retry_ms, raw)
