"""Request bodies that come compressed: read like any other, and never larger than what may come plain.

Coding agents may send gzip (research: clients 2). A small body can hold a huge one, so it is inflated in parts that are
counted, and the loop is given up between them.
"""

import asyncio
import zlib
from typing import Final

from gateway.core.denial import Code, Denial, Refused

GZIP: Final = frozenset({"gzip", "x-gzip"})
TAKEN: Final = GZIP | {"identity", ""}
PART_BYTES: Final = 256 * 1024
_GZIP_ONLY: Final = 16 + zlib.MAX_WBITS


def encoding_of(header: bytes | None) -> str:
    """A Content-Encoding as it is compared: names of codings are written in any case."""
    return "" if header is None else header.decode("latin-1").strip().lower()


async def plain_body(content: bytes, encoding: str, bytes_max: int) -> bytes:
    """The body as it was before its client encoded it. Raises Refused where it is broken or larger than `bytes_max`."""
    return await _inflated(content, bytes_max) if encoding in GZIP and content else content


async def _inflated(content: bytes, bytes_max: int) -> bytes:
    inflating = zlib.decompressobj(_GZIP_ONLY)
    body = bytearray()
    left = content
    while not inflating.eof:
        try:
            part = inflating.decompress(left, PART_BYTES)
        except zlib.error as error:
            raise _broken("it is not gzip") from error
        if len(body) + len(part) > bytes_max:
            text = f"The body is larger than {bytes_max} bytes once it is decompressed."
            raise Refused(Denial(Code.REQUEST_TOO_LARGE, text))
        body += part
        left = inflating.unconsumed_tail
        if not part and not left and not inflating.eof:
            raise _broken("it ends too early")
        if not inflating.eof:
            await asyncio.sleep(0)
    if inflating.unused_data:
        raise _broken("something follows its end")
    return bytes(body)


def _broken(why: str) -> Refused:
    return Refused(Denial(Code.REQUEST_MALFORMED, f"The body cannot be decompressed: {why}."))
