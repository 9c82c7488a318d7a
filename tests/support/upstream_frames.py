"""AWS event-stream frames, written down once more from the specification: what the gateway reads is not its own."""

import struct
from typing import Any
from zlib import crc32

from tests.support.upstream_replies import encode


def frame(kind: str, payload: dict[str, Any]) -> bytes:
    headers = b"".join(
        struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name, 7, len(value), value)
        for name, value in (
            (b":event-type", kind.encode()),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    body = encode(payload)
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    head = prelude + struct.pack(">I", crc32(prelude)) + headers + body
    return head + struct.pack(">I", crc32(head))
