"""Server-sent events: decoding is independent of chunking and loses no byte; encoding cannot be broken out of."""

import collections
import json
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.sse import Event, SseDecoder, SseTooLarge, encode

line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
contents = st.binary().map(lambda value: value.replace(b"\r", b"").replace(b"\n", b""))
fields = st.sampled_from([b"data: ", b"data:", b"data", b"event: ", b"id: ", b"retry: ", b": ", b"other: ", b""])
lines = st.builds(lambda field, content, end: field + content + end, fields, contents, line_ends)
streams = st.lists(lines | line_ends, max_size=20).map(b"".join) | st.binary()


def _decode(stream: bytes, cuts: list[int] | None = None) -> list[Event]:
    decoder = SseDecoder()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts or []), len(stream)]
    events = [event for begin, end in pairwise(edges) for event in decoder.feed(stream[begin:end])]
    return events + decoder.flush()


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', [b'{"a":1}', b"[DONE]"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\n\r\ndata: b\r\n\n", [b"a", b"b"]),
        (b"data: a\ndata: b\ndata:\n\n", [b"a\nb\n"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", [b""]),
        (b"data: a:b: c\n\n", [b"a:b: c"]),
        (b": keep-alive\n\ndata: a\n\n", [b"", b"a"]),
        (b": note\ndata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n", [b"", b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a", b""]),
        (b"data: cut", [b"cut"]),
        (b"data: a\n\ndata: cut\n", [b"a", b"cut"]),
        (b"data: a\r\r", [b"a"]),
        (b" data: a\n\n", [b""]),
        ("data: \u2028 \x0b \u0085\n\n".encode(), ["\u2028 \x0b \u0085".encode()]),
        (b"", []),
    ],
)
def test_data(stream: bytes, data: list[bytes]) -> None:
    assert [event.data for event in _decode(stream)] == data


@pytest.mark.parametrize(
    ("block", "data", "event", "event_id", "retry_ms"),
    [
        (b"event: ping\ndata: {}\n\n", b"{}", b"ping", None, None),
        (b"id: 7\nretry: 1500\ndata: x\n\n", b"x", None, b"7", 1500),
        (b"event: a\nevent: b\n\n", b"", b"b", None, None),
        (b"retry: soon\nretry: -1\nid: a\0b\n\n", b"", None, None, None),
        (b"retry: " + b"9" * 5000 + b"\n\n", b"", None, None, None),
    ],
)
def test_fields(block: bytes, data: bytes, event: bytes | None, event_id: bytes | None, retry_ms: int | None) -> None:
    assert SseDecoder().feed(block) == [Event(data, event, event_id, retry_ms, block)]


@given(streams, st.lists(st.integers(0, 10_000), max_size=10))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", list(range(24)))
@example(b"data: a\n\n\n\ndata: b\n\n", list(range(21)))
def test_cutting_the_stream_anywhere_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    assert _decode(stream, cuts) == _decode(stream)


@given(streams)
def test_cutting_the_stream_everywhere_changes_nothing(stream: bytes) -> None:
    assert _decode(stream, list(range(len(stream)))) == _decode(stream)


@given(streams, st.lists(st.integers(0, 10_000), max_size=10))
def test_the_raw_blocks_are_the_stream(stream: bytes, cuts: list[int]) -> None:
    assert b"".join(event.raw for event in _decode(stream, cuts)) == stream


@given(st.lists(contents))
def test_an_event_is_out_as_soon_as_its_last_byte_is_in(values: list[bytes]) -> None:
    decoder = SseDecoder()
    for value in values:
        block = b"data: " + value + b"\n\n"
        assert decoder.feed(block[:-1]) == []
        assert decoder.feed(block[-1:]) == [Event(value, None, None, None, block)]


@given(st.binary(), st.none() | contents)
@example(b"x\n\ndata: forged\n\n", None)
@example(b"x\r\revent: forged\r\r", b"name")
def test_whatever_is_encoded_stays_one_event(data: bytes, name: bytes | None) -> None:
    (event,) = _decode(encode(data, name))
    assert event.data == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert event.event == name


def test_json_keeps_its_meaning_when_line_ends_between_its_tokens_are_encoded() -> None:
    value = {"text": "a\r\nb", "list": [1, 2]}
    (event,) = _decode(encode(json.dumps(value, indent=1).replace("\n", "\r\n").encode()))
    assert json.loads(event.data) == value


@pytest.mark.parametrize("name", [b"a\nb", b"a\rdata: x"])
def test_an_event_name_cannot_break_out(name: bytes) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode(b"{}", name)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
def test_an_event_without_an_end_is_not_kept_for_ever(chunk_bytes: int) -> None:
    decoder = SseDecoder(event_bytes_max=500)
    stream = b"data: " + b"x" * 2000
    chunks = [stream[begin : begin + chunk_bytes] for begin in range(0, len(stream), chunk_bytes)]
    with pytest.raises(SseTooLarge):
        collections.deque(map(decoder.feed, chunks), maxlen=0)


def test_many_lines_count_together_and_a_complete_event_counts_too() -> None:
    with pytest.raises(SseTooLarge):
        SseDecoder(event_bytes_max=500).feed(b"data: x\n" * 100)
    with pytest.raises(SseTooLarge):
        SseDecoder(event_bytes_max=500).feed(b"data: " + b"x" * 600 + b"\n\n")
    assert len(SseDecoder(event_bytes_max=500).feed(b"data: x\n\n" * 1000)) == 1000


def test_a_long_event_in_small_pieces_is_not_searched_again_and_again() -> None:
    def fed_s(decoder: SseDecoder, pieces: int, piece: bytes) -> float:
        start_s = time.thread_time()
        for _ in range(pieces):
            decoder.feed(piece)
        return time.thread_time() - start_s

    decoder = SseDecoder()
    # The same bytes as events that end are the measure; searching all that came before would move 32 GB.
    ended_s = fed_s(SseDecoder(), 8000, b"x" * 998 + b"\n\n")
    assert fed_s(decoder, 8000, b"x" * 1000) < 20 * ended_s
    assert len(decoder.feed(b"\n\n")) == 1
