"""Counts tokens on the event loop without ever holding it for long, whatever the text is.

Rules: tiktoken keeps the interpreter locked while it works, takes six times longer for hostile text than for prose, and
panics on very long runs of spaces. So it gets one short piece at a time, one piece per turn of the loop in the whole
process, and never sees a long text at once. A piece that fails counts as its bytes, which no token count exceeds.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

import tiktoken

# The worst text measured (a run of one character) took 2.1 ms for this many; prose takes 0.4 ms.
PIECE_CHARACTERS_MAX = 16 * 1024
CACHED_PIECES_MAX = 32 * 1024

# Looking a piece up costs a hash of it, so a turn of the loop may hold many hits but not any number.
_LOOKUPS_CHARACTERS_PER_TURN = 32 * PIECE_CHARACTERS_MAX
_LOOKUP_OVERHEAD_CHARACTERS = 512
# How far back from the end of a piece a boundary between words is looked for.
_BOUNDARY_TRIES = 128


class TokenCounter:
    """Counts with one encoding, which is built at first use, in a thread: `TokenCounter(partial(load, O200K))`.

    Keeps the counts, not the texts, of the pieces that it saw last.
    """

    def __init__(
        self,
        build: Callable[[], tiktoken.Encoding],
        *,
        piece_characters_max: int = PIECE_CHARACTERS_MAX,
        cached_pieces_max: int = CACHED_PIECES_MAX,
    ) -> None:
        self._build = build
        self._piece_characters_max = piece_characters_max
        self._cached_pieces_max = cached_pieces_max
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._encoding: tiktoken.Encoding | None = None
        self._loading = asyncio.Lock()
        self._encoding_turn = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether counting can start at once."""
        return self._encoding is not None

    async def load(self) -> None:
        """Idempotent; `count` does it when it must. Worth doing early: building holds every thread for 0.1 s, once."""
        await self._loaded()

    async def count(self, texts: Iterable[str]) -> int:
        """The tokens of these texts, each encoded for itself and by `encode_ordinary`: special tokens are mere text."""
        total = 0
        looked_up = 0
        for text in texts:
            for piece in _pieces(text, self._piece_characters_max):
                data = piece.encode("utf-8", "surrogatepass")
                digest = blake2b(data, digest_size=16).digest()
                tokens = self._counts.get(digest)
                if tokens is None:
                    tokens = await self._encode_in_turn(piece, len(data))
                    self._keep(digest, tokens)
                else:
                    self._counts.move_to_end(digest)
                total += tokens
                looked_up += len(piece) + _LOOKUP_OVERHEAD_CHARACTERS
                if looked_up > _LOOKUPS_CHARACTERS_PER_TURN:
                    looked_up = 0
                    await asyncio.sleep(0)
        return total

    async def _encode_in_turn(self, piece: str, byte_count: int) -> int:
        encoding = await self._loaded()
        async with self._encoding_turn:
            tokens = _encode(encoding, piece, byte_count)
            # Inside the turn, so that ten callers together hold the loop no longer at a time than one.
            await asyncio.sleep(0)
        return tokens

    async def _loaded(self) -> tiktoken.Encoding:
        if self._encoding is None:
            async with self._loading:
                if self._encoding is None:
                    self._encoding = await asyncio.to_thread(self._build)
        return self._encoding

    def _keep(self, digest: bytes, tokens: int) -> None:
        self._counts[digest] = tokens
        if len(self._counts) > self._cached_pieces_max:
            self._counts.popitem(last=False)


def _encode(encoding: tiktoken.Encoding, piece: str, byte_count: int) -> int:
    try:
        return len(encoding.encode_ordinary(piece))
    except BaseException as error:
        # A Rust panic arrives as a class that cannot be imported and is no Exception.
        if type(error).__module__ != "pyo3_runtime":
            raise
        return byte_count


def _pieces(text: str, characters_max: int) -> Iterator[str]:
    begin = 0
    while len(text) - begin > characters_max:
        end = _boundary(text, begin + characters_max // 2, begin + characters_max)
        yield text[begin:end]
        begin = end
    if begin < len(text):
        yield text[begin:]


def _boundary(text: str, earliest: int, latest: int) -> int:
    """A place where tiktoken itself splits, a single space before a letter, so that cutting there changes no count."""
    end = latest
    for _ in range(_BOUNDARY_TRIES):
        end = text.rfind(" ", earliest, end)
        if end < 0:
            break
        if not text[end - 1].isspace() and text[end + 1].isalpha():
            return end
    return latest
