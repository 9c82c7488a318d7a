"""AWS event-stream frames, against botocore's own decoder: however cut, whatever broken."""

from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.eventstream import Frame, FrameBroken, FrameDecoder, encode, event_frame, exception_frame

HEADERS = st.lists(
    st.tuples(st.text(min_size=1, max_size=60), st.text(max_size=200)), max_size=5, unique_by=lambda header: header[0]
)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=500)), min_size=1, max_size=5)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    at = 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    return [*pieces, stream[at:]]


def decoded(pieces: list[bytes]) -> list[Frame]:
    decoder = FrameDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert decoder.flush() == []
    return frames


@given(FRAMES)
def test_botocore_reads_what_we_write(messages: list[tuple[list[tuple[str, str]], bytes]]) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encode(headers, payload) for headers, payload in messages))
    read = [(list(event.headers.items()), event.payload) for event in buffer]
    assert read == messages


@given(FRAMES, st.lists(st.integers(1, 80), max_size=20))
def test_what_goes_in_comes_out_however_the_network_cut_it(
    messages: list[tuple[list[tuple[str, str]], bytes]], sizes: list[int]
) -> None:
    stream = b"".join(encode(headers, payload) for headers, payload in messages)
    frames = decoded(cut(stream, sizes))
    assert [(list(frame.headers.items()), frame.data) for frame in frames] == messages
    assert b"".join(frame.raw for frame in frames) == stream


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_one_changed_byte_never_passes(at: int, change: int) -> None:
    stream = bytearray(event_frame("contentBlockDelta", b'{"delta":{"text":"hello"}}'))
    stream[at % len(stream)] ^= change
    with pytest.raises(FrameBroken):
        decoded([bytes(stream)])


@given(st.binary(max_size=300))
def test_bytes_from_anywhere_give_frames_or_a_named_fault(stream: bytes) -> None:
    try:
        frames = decoded([stream])
    except FrameBroken:
        return
    assert b"".join(frame.raw for frame in frames) == stream


def test_headers_of_other_types_are_passed_over() -> None:
    values = {2: b"\x01", 3: b"\0\x02", 4: b"\0\0\0\x03", 5: b"\0" * 8, 6: b"\0\x02ab", 8: b"\0" * 8, 9: b"\0" * 16}
    fields = b"".join(b"\x01x" + bytes((kind,)) + value for kind, value in {**values, 0: b"", 1: b""}.items())
    plain = encode((("y", "1"),), b"payload")
    (size, y_size) = (len(plain) + len(fields), int.from_bytes(plain[4:8]))
    frame = _framed(size, y_size + len(fields), fields + plain[12:-4])
    assert decoded([frame]) == [Frame({"y": "1"}, b"payload", frame)]


@pytest.mark.parametrize(
    ("fields", "payload"), [(b"\x05ab", b""), (b"\x01x\x0a", b""), (b"\x01x\x07\xff\xff", b""), (b"\x01\xff\x00", b"")]
)
def test_a_malformed_header_is_refused(fields: bytes, payload: bytes) -> None:
    frame = _framed(16 + len(fields) + len(payload), len(fields), fields + payload)
    with pytest.raises(FrameBroken):
        FrameDecoder().feed(frame)


def test_nothing_unbounded_is_kept() -> None:
    with pytest.raises(FrameBroken):
        FrameDecoder(100).feed(_framed(101, 0, b"x" * 85)[:12])
    with pytest.raises(FrameBroken):
        FrameDecoder().feed(_framed(200, 199, b"x" * 184))
    with pytest.raises(ValueError, match="too long"):
        encode((("x" * 256, ""),), b"")


def test_a_stream_that_ends_within_a_frame_is_told() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(event_frame("metadata", b"{}")[:-1]) == []
    with pytest.raises(FrameBroken, match="ended within"):
        decoder.flush()


def test_events_and_exceptions() -> None:
    event, exception = decoded([event_frame("metadata", b"{}") + exception_frame("validationException", b"{}")])
    assert (event.event, event.exception) == ("metadata", "")
    assert (exception.event, exception.exception) == ("", "validationException")


def _framed(size: int, headers_size: int, rest: bytes) -> bytes:
    """A frame with right checksums, whatever is in it."""
    prelude = size.to_bytes(4) + headers_size.to_bytes(4)
    frame = prelude + crc32(prelude).to_bytes(4) + rest
    return frame + crc32(frame).to_bytes(4)
