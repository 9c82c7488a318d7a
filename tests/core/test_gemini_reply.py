"""Usage, output and tool calls of Gemini replies and streams; errors; the end of a stream that we cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sse import SseDecoder
from gateway.core.usage import Usage, UsageInvalid
from gateway.core.usage_gemini import from_gemini
from gateway.core.wire.gemini_reply import (
    GenerateEnd,
    GenerateMeter,
    error_body,
    reply_calls,
    reply_text,
    reply_usage,
)

Chunk = dict[str, Any]


def usage(prompt: object = 10, candidates: object = 4, **more: object) -> Chunk:
    return {"promptTokenCount": prompt, "candidatesTokenCount": candidates, **more}


def audio(tokens: int) -> list[Chunk]:
    return [{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": tokens}]


def chunk(*parts: Chunk, finish: str | None = None, index: int = 0, report: object = None) -> Chunk:
    candidate: Chunk = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate]} | ({} if report is None else {"usageMetadata": report})


def text(words: str) -> Chunk:
    return {"text": words}


def fed(*chunks: Chunk) -> GenerateMeter:
    meter = GenerateMeter()
    for each in chunks:
        assert not meter.feed(each)
    return meter


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (None, None),
        ({}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        (usage(), Usage(10, 0, 0, 4, 0)),
        (usage(totalTokenCount=14), Usage(10, 0, 0, 4, 0)),
        (usage(0, 0), Usage(0, 0, 0, 0, 0)),  # an explicit zero is a report
        ({"promptTokenCount": 10, "totalTokenCount": 10}, Usage(10, 0, 0, 0, 0)),  # protobuf leaves a zero out
        (usage(cachedContentTokenCount=6), Usage(10, 6, 0, 4, 0)),  # the prompt holds it
        (usage(thoughtsTokenCount=30, totalTokenCount=44), Usage(10, 0, 0, 34, 30)),  # candidates leave thoughts out
        (usage(toolUsePromptTokenCount=5, totalTokenCount=19), Usage(15, 0, 0, 4, 0)),
        (usage(totalTokenCount=20), Usage(10, 0, 0, 10, 0)),  # what the total has more is output
        ({"totalTokenCount": 14, "candidatesTokenCount": 4}, Usage(10, 0, 0, 4, 0)),
        (usage(promptTokensDetails=audio(3)), Usage(10, 0, 0, 4, 0, audio_input_tokens=3)),
        (
            usage(cachedContentTokenCount=6, promptTokensDetails=audio(5), cacheTokensDetails=audio(4)),
            Usage(10, 6, 0, 4, 0, audio_input_tokens=1, cached_audio_tokens=4),
        ),
        (usage(candidatesTokensDetails=audio(3)), Usage(10, 0, 0, 4, 0, audio_output_tokens=3)),
        (usage(cachedContentTokenCount=16), Usage(10, 10, 0, 4, 0, clamped=True)),
    ],
)
def test_usage_in_the_inclusive_convention(report: object, told: Usage | None) -> None:
    assert from_gemini(report) == told
    assert reply_usage({"usageMetadata": report}) == (told, False)


@pytest.mark.parametrize(
    "report",
    [
        [1],
        usage(-1),
        usage(10, -4),
        usage("10"),
        usage(10.0),
        usage(True),
        usage(10**12),
        usage(thoughtsTokenCount=-1),
        usage(promptTokensDetails=["x"]),
        usage(promptTokensDetails=audio(-1)),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(report: object) -> None:
    with pytest.raises(UsageInvalid):
        from_gemini(report)
    assert reply_usage({"usageMetadata": report}) == (None, True)


@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
def test_total_tokens_are_googles_total(
    prompt: int, cached: int, candidates: int, thoughts: int, fed_back: int
) -> None:
    report = usage(
        prompt + cached,
        candidates,
        cachedContentTokenCount=cached,
        thoughtsTokenCount=thoughts,
        toolUsePromptTokenCount=fed_back,
        totalTokenCount=prompt + cached + candidates + thoughts + fed_back,
    )
    told = from_gemini(report)
    assert told is not None
    assert (told.total_tokens, told.reasoning_tokens) == (report["totalTokenCount"], thoughts)
    assert not told.clamped


@pytest.mark.parametrize(
    ("chunks", "told", "bad"),
    [
        ([chunk(text("hi"), finish="STOP")], None, False),  # missing
        ([chunk(text("hi"), report=usage(10, 1)), chunk(text("!"), finish="STOP", report=usage())], 4, False),
        ([chunk(text("hi"), report=usage(10, 9)), chunk(text("!"), finish="STOP", report=usage())], 4, False),  # lower
        ([chunk(text("hi"), report=usage(10, 1)), chunk(text("!"))], None, False),  # older than what was seen
        ([chunk(text("hi")), {"usageMetadata": usage()}], 4, False),  # late, by itself
        ([chunk(text("hi"), report=usage()), {"usageMetadata": {}}], 4, False),  # an empty one says nothing
        ([chunk(text("hi"), report=usage(10, -4))], None, True),
        ([chunk(text("hi"), report=usage(10, -4)), {"usageMetadata": usage()}], 4, False),
    ],
)
def test_usage_of_a_stream(chunks: list[Chunk], told: int | None, *, bad: bool) -> None:
    meter = fed(*chunks)
    assert (None if meter.reported is None else meter.reported.output_tokens) == told
    assert meter.usage_bad is bad


@pytest.mark.parametrize(
    ("parts", "events", "counted"),
    [
        ([text("hello")], 1, "hello"),
        ([{"text": "so", "thought": True}, text("yes")], 1, "soyes"),
        ([{"functionCall": {"name": "look", "args": {"q": 1}}}], 1, 'look{"q":1}'),
        ([{"executableCode": {"code": "1+1"}}, {"codeExecutionResult": {"output": "2"}}], 1, "1+12"),
        ([text("")], 0, ""),
        ([{"thoughtSignature": "abc"}], 0, ""),
        ([{"text": 7}, {"functionCall": {"name": 5}}], 0, ""),
    ],
)
def test_rule_2_every_kind_of_output_is_metered(parts: list[Chunk], events: int, counted: str) -> None:
    meter = fed(chunk(*parts))
    assert (meter.events, meter.uncounted()) == (events, counted)
    assert meter.bound == max(events, len(counted.encode()))
    assert reply_text(chunk(*parts)) == counted


def test_generated_binary_data_is_bounded_by_the_image_not_by_its_bytes() -> None:
    meter = fed(chunk({"inlineData": {"mimeType": "image/png", "data": "A" * 100_000}}))
    assert meter.bound == 3_000


@pytest.mark.parametrize(
    ("chunks", "finished"),
    [
        ([], False),
        ([chunk(text("a"))], False),
        ([chunk(text("a")), chunk(finish="STOP")], True),
        ([chunk(text("a"), index=0), chunk(text("b"), index=1), chunk(finish="STOP", index=0)], False),
        ([chunk(text("a"), index=0, finish="STOP"), chunk(text("b"), index=1, finish="MAX_TOKENS")], True),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], True),
        ([{"candidates": None}, {"candidates": [None, 5]}, {"candidates": [{"content": "x"}]}], False),
    ],
)
def test_when_an_answer_is_complete(chunks: list[Chunk], *, finished: bool) -> None:
    assert fed(*chunks).finished is finished


def test_tool_calls_of_a_reply_and_of_a_stream() -> None:
    call = {"functionCall": {"name": "look", "args": {"path": "ä"}}}
    bare = {"functionCall": {"name": "stop"}}
    both = [("look", '{"path":"ä"}'), ("stop", "{}")]
    assert reply_calls(chunk(call, bare)) == both
    assert list(fed(chunk(call), chunk(bare)).tool_calls()) == both


def test_an_error_is_googles_object_with_ours_in_it() -> None:
    body = error_body("spent", 402, "budget_exhausted", {"code": "budget_exhausted"}, None)["error"]
    assert (body["code"], body["status"], body["message"]) == (402, "RESOURCE_EXHAUSTED", "spent")
    assert body["comptroller"] == {"code": "budget_exhausted"}
    assert [detail["@type"].rpartition(".")[2] for detail in body["details"]] == ["ErrorInfo"]
    waits = error_body("slow", 429, "rate_limited", None, 2.5)["error"]
    assert waits["details"][-1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}


def test_rule_32_our_cut_is_a_chunk_with_text_a_finish_reason_and_the_usage_seen_last() -> None:
    ending = GenerateEnd()
    for seen in (chunk(text("a"), report=usage(10, 1)), {"responseId": "r", "usageMetadata": usage(10, 2)}):
        ending.saw(seen)
    (event,) = SseDecoder().feed(ending.error("line\nspent", "budget_exhausted", {"call": "c"}))
    told = json.loads(event.data)
    assert told["candidates"][0]["finishReason"] == "OTHER"
    assert told["candidates"][0]["content"]["parts"] == [{"text": "line\nspent"}]
    assert told["usageMetadata"] == usage(10, 2)
    assert (told["responseId"], told["comptroller"]) == ("r", {"call": "c", "code": "budget_exhausted"})
    assert fed(told).finished
