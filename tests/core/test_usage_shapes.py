"""The golden table of usage: every shape of a report, whole and streamed, complete and cut (research P4, C2, C3)."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from gateway.core.wire.formats import FORMATS
from gateway.core.wire.metering import Meter
from tests.core.usage_shapes import CHAT, CONVERSE, FIRST, GEMINI, LAST, LATE, MESSAGES, MIDDLE, RESPONSES, Shape

WORDS = ("one ", "two ", "three")
Chunk = Mapping[str, Any]
Teller = Callable[[Shape], Iterator[Chunk]]


def _at(shape: Shape, *places: str) -> Iterator[Any]:
    return (report for place, report in shape.reports if place in places)


def _chat(shape: Shape) -> Iterator[Chunk]:
    def chunk(delta: Chunk, reason: str | None = None) -> Chunk:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield from ({**chunk({"role": "assistant"}), "usage": report} for report in _at(shape, FIRST))
    yield chunk({"content": WORDS[0]})
    yield from ({**chunk({"content": WORDS[1]}), "usage": report} for report in _at(shape, MIDDLE))
    yield chunk({"content": WORDS[2]})
    yield chunk({}, "stop")
    yield from ({"choices": [], "usage": report} for report in _at(shape, LAST))
    yield from ({"usage": report} for report in _at(shape, LATE))


def _responses(shape: Shape) -> Iterator[Chunk]:
    yield {"type": "response.created", "response": {"usage": None}}
    for word in WORDS:
        yield {"type": "response.output_text.delta", "output_index": 0, "delta": word}
    content = [{"type": "output_text", "text": "".join(WORDS)}]
    item = {"type": "message", "role": "assistant", "content": content}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    reports = list(_at(shape, LAST))
    usage = {"usage": reports[0]} if reports else {}
    yield {"type": "response.completed", "response": {"status": "completed", "output": [item], **usage}}


def _messages(shape: Shape) -> Iterator[Chunk]:
    starts = list(_at(shape, FIRST))
    yield {"type": "message_start", "message": {"id": "m", "usage": starts[0]} if starts else {"id": "m"}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for word in WORDS:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}
    ends = list(_at(shape, LAST))
    yield from ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": report} for report in ends)
    if not ends:
        yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    yield {"type": "message_stop"}


def _gemini(shape: Shape) -> Iterator[Chunk]:
    def chunk(text: str, reports: list[Any], **more: str) -> Chunk:
        candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}
        return {"candidates": [candidate], **({"usageMetadata": reports[0]} if reports else {})}

    yield from ({"usageMetadata": report} for report in _at(shape, FIRST))
    yield chunk(WORDS[0], [])
    yield chunk(WORDS[1], list(_at(shape, MIDDLE)))
    yield chunk(WORDS[2], list(_at(shape, LAST)), finishReason="STOP")
    yield from ({"usageMetadata": report} for report in _at(shape, LATE))


def _converse(shape: Shape) -> Iterator[Chunk]:
    yield {"role": "assistant"}
    for word in WORDS:
        yield {"contentBlockIndex": 0, "delta": {"text": word}}
    yield {"contentBlockIndex": 0}
    yield {"stopReason": "end_turn"}
    yield from ({"metrics": {"latencyMs": 3}, "usage": report} for report in _at(shape, LAST))


TABLE: Mapping[str, tuple[tuple[Shape, ...], Teller]] = {
    "openai_chat": (CHAT, _chat),
    "openai_responses": (RESPONSES, _responses),
    "anthropic_messages": (MESSAGES, _messages),
    "gemini": (GEMINI, _gemini),
    "bedrock_converse": (CONVERSE, _converse),
}
ROWS = [pytest.param(name, shape, id=f"{name}: {shape}") for name, (shapes, _) in TABLE.items() for shape in shapes]


def _fed(name: str, chunks: list[Chunk]) -> Meter:
    meter = FORMATS[name].meter()
    for chunk in chunks:
        meter.feed(chunk)
    return meter


@pytest.mark.parametrize(("name", "shape"), ROWS)
def test_a_stream_that_came_whole(name: str, shape: Shape) -> None:
    meter = _fed(name, list(TABLE[name][1](shape)))
    assert (meter.reported, meter.usage_bad) == (shape.believed, shape.bad)
    assert meter.finished
    assert meter.bound >= len(WORDS)


@pytest.mark.parametrize(("name", "shape"), ROWS)
def test_a_report_stands_for_no_word_that_came_after_it(name: str, shape: Shape) -> None:
    """Cut by whom makes no difference to the meter. A report is believed only if no word came after it."""
    chunks = list(TABLE[name][1](shape))
    for cut in range(len(chunks)):
        meter = _fed(name, chunks[:cut])
        if meter.reported is not None:
            told = max(place for place, chunk in enumerate(chunks[:cut]) if "sage" in json.dumps(chunk))
            assert meter.events == _fed(name, chunks[: told + 1]).events
            assert meter.reported == _fed(name, chunks[: told + 1]).usage


WHOLE = {
    "openai_chat": lambda report: {"choices": [{"message": {"content": "one two three"}}], "usage": report},
    "openai_responses": lambda report: {"output": [], "usage": report},
    "anthropic_messages": lambda report: {"content": [], "usage": report},
    "gemini": lambda report: {"candidates": [], "usageMetadata": report},
    "bedrock_converse": lambda report: {"output": {}, "usage": report},
}


@pytest.mark.parametrize(
    ("name", "shape"),
    [row for row in ROWS if [place for place, _ in row.values[1].reports] == [LAST]],  # type: ignore[union-attr]
)
def test_a_whole_reply(name: str, shape: Shape) -> None:
    ((_, report),) = shape.reports
    assert FORMATS[name].replies.usage(WHOLE[name](report)) == (shape.believed, shape.bad)


def test_the_output_that_a_stream_told_without_its_input_is_kept_for_the_estimate() -> None:
    shape = next(shape for shape in MESSAGES if shape.name == "output only")
    meter = _fed("anthropic_messages", list(_messages(shape)))
    assert (meter.reported, meter.usage, meter.output_told) == (None, None, 7)


def test_the_table_is_wide_enough() -> None:
    assert (
        min(len(TABLE[name][0]) for name in ("openai_chat", "openai_responses", "anthropic_messages", "gemini")) >= 40
    )
