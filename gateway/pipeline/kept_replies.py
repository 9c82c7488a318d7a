"""Replies kept in memory, each in the parts in which it was sent: bounded in bytes, the oldest leave first."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

ENTRY_BYTES = 1_024
A = TypeVar("A", bound=Hashable)


@dataclass(frozen=True, slots=True)
class KeptReply:
    """`chunks` is the body in the parts in which it was sent; None if it was too large to be kept."""

    body_digest: str
    call_id: str
    at_us: int
    status: int
    headers: Mapping[str, str]
    chunks: tuple[bytes, ...] | None
    stream: bool
    usd_micros: int = 0

    @property
    def bytes(self) -> int:
        return ENTRY_BYTES + sum(map(len, self.chunks or ()))


class KeptReplies(Generic[A]):
    """`bytes` = what is kept, about."""

    def __init__(self) -> None:
        self.bytes = 0
        self._kept: OrderedDict[A, KeptReply] = OrderedDict()

    def get(self, at: A, since_us: int) -> KeptReply | None:
        """The reply, unless it is from `since_us` or before."""
        found = self._kept.get(at)
        if found is not None and found.at_us <= since_us:
            self.drop(at)
            return None
        return found

    def keep(self, at: A, reply: KeptReply, bytes_max: int) -> None:
        self.drop(at)
        self._kept[at] = reply
        self.bytes += reply.bytes
        while self.bytes > bytes_max:
            self.drop(next(iter(self._kept)))

    def drop(self, at: A) -> None:
        dropped = self._kept.pop(at, None)
        if dropped is not None:
            self.bytes -= dropped.bytes

    def sweep(self, since_us: int) -> None:
        """Lets go of what is from `since_us` or before; the oldest stand first."""
        while self._kept:
            at, oldest = next(iter(self._kept.items()))
            if oldest.at_us > since_us:
                return
            self.drop(at)

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0


class Recording:
    """The parts of a reply as they pass, up to a bound; then only that there were too many."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max
        self._chunks: list[bytes] | None = []
        self.complete = False

    def take(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0:
            self._chunks = None
        elif self._chunks is not None:
            self._chunks.append(chunk)

    async def passing(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The parts as they come; `complete` once the last one was taken."""
        async for chunk in chunks:
            self.take(chunk)
            yield chunk
        self.complete = True

    def chunks(self) -> tuple[bytes, ...] | None:
        return None if self._chunks is None else tuple(self._chunks)


async def played(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    """A kept stream, part by part."""
    for part in parts:
        yield part


async def nothing_to_close() -> None:
    """A kept stream was settled when it was made."""
