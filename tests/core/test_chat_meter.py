"""What a stream of any shape says of usage, output and tool calls. Every shape here was seen in the wild."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Usage
from gateway.core.wire.openai_reply import (
    ChatEnd,
    ChatMeter,
    all_calls,
    reply_text,
    reply_usage,
)

Chunk = dict[str, Any]


def delta(index: int = 0, finish: str | None = None, **fields: object) -> Chunk:
    return {"id": "c", "choices": [{"index": index, "delta": fields, "finish_reason": finish}]}


def report(prompt: object = 10, completion: object = 4, **more: object) -> Chunk:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def usage_chunk(usage: object) -> Chunk:
    return {"id": "c", "choices": [], "usage": usage}


def call(index: object = 0, **function: object) -> Chunk:
    return {"index": index, "function": function}


HELLO = delta(content="hello")
STOP = delta(finish="stop")
PLAIN = Usage(10, 0, 0, 4, 0)


def fed(*chunks: Chunk) -> ChatMeter:
    meter = ChatMeter()
    for chunk in chunks:
        meter.feed(chunk)
    return meter


@pytest.mark.parametrize(
    ("chunks", "usage", "bad"),
    [
        ([HELLO, STOP, usage_chunk(report())], PLAIN, False),
        ([HELLO, STOP], None, False),  # missing
        ([HELLO, STOP, usage_chunk(None)], None, False),
        ([HELLO, STOP, usage_chunk({})], None, False),
        ([HELLO, {**STOP, "usage": report()}], PLAIN, False),  # in a choice chunk
        ([HELLO, STOP, {"usage": report()}], PLAIN, False),  # without choices
        ([HELLO, STOP, {"choices": None, "usage": report()}], PLAIN, False),
        ([{**HELLO, "usage": None}, {**STOP, "usage": None}, usage_chunk(report())], PLAIN, False),
        ([{**HELLO, "usage": report(10, 1)}, {**STOP, "usage": report(10, 4)}], PLAIN, False),  # cumulative
        ([HELLO, usage_chunk(report(10, 9)), usage_chunk(report())], PLAIN, False),  # twice: the last one
        ([HELLO, usage_chunk(report()), usage_chunk({})], PLAIN, False),  # an empty one says nothing
        ([HELLO, usage_chunk(report(0, 0))], Usage(0, 0, 0, 0, 0), False),  # an explicit zero is a report
        ([HELLO, usage_chunk(report(-1, 4))], None, True),
        ([HELLO, usage_chunk(report(10, -4))], None, True),
        ([HELLO, usage_chunk(report(10, "4"))], None, True),
        ([HELLO, usage_chunk(report(10, 4.0))], None, True),
        ([HELLO, usage_chunk(report(10, True))], None, True),
        ([HELLO, usage_chunk(report(10**12, 4))], None, True),
        ([HELLO, usage_chunk([1])], None, True),
        ([HELLO, usage_chunk(report(-1, 4)), usage_chunk(report())], PLAIN, False),
        ([HELLO, usage_chunk(report()), usage_chunk(report(-1, 4))], PLAIN, True),
        ([HELLO, usage_chunk(report(prompt_tokens_details={"cached_tokens": 6}))], Usage(10, 6, 0, 4, 0), False),
        ([HELLO, usage_chunk(report(completion_tokens_details={"reasoning_tokens": 3}))], Usage(10, 0, 0, 4, 3), False),
        ([HELLO, usage_chunk(report(total_tokens=20))], Usage(10, 0, 0, 10, 0), False),  # reasoning left out
        ([HELLO, usage_chunk({"total_tokens": 14, "completion_tokens": 4})], PLAIN, False),
    ],
)
def test_usage_of_a_stream(chunks: list[Chunk], usage: Usage | None, *, bad: bool) -> None:
    meter = fed(*chunks)
    assert (meter.usage, meter.usage_bad) == (usage, bad)


@pytest.mark.parametrize(
    ("chunk", "only_usage"),
    [
        (usage_chunk(report()), True),
        ({"usage": report()}, True),
        ({"choices": None, "usage": report()}, True),
        ({**STOP, "usage": report()}, False),
        (usage_chunk(None), False),
        ({"choices": []}, False),  # a keep-alive or a content filter report
        (HELLO, False),
        ({}, False),
    ],
)
def test_the_chunk_that_holds_nothing_but_usage(chunk: Chunk, *, only_usage: bool) -> None:
    assert ChatMeter().feed(chunk) is only_usage


@pytest.mark.parametrize(
    ("chunks", "events", "text"),
    [
        ([delta(role="assistant", content="")], 0, ""),
        ([HELLO, delta(content=" there"), STOP], 2, "hello there"),
        ([delta(content="héé")], 1, "héé"),
        ([delta(refusal="I cannot")], 1, "I cannot"),
        ([delta(reasoning_content="so"), delta(content="yes")], 2, "soyes"),
        ([delta(reasoning="so")], 1, "so"),
        ([delta(reasoning="so", reasoning_content="so")], 1, "so"),  # the same under two names
        ([delta(content="a", reasoning_content="b")], 1, "ab"),
        ([delta(0, content="a"), delta(1, content="b"), delta(1, content="c")], 3, "abc"),  # n > 1
        (
            [delta(tool_calls=[call(name="read", arguments="")]), delta(tool_calls=[call(arguments='{"a":1}')])],
            2,
            'read{"a":1}',
        ),
        ([delta(tool_calls=[call(0, name="a"), call(1, name="b")])], 1, "ab"),
        ([delta(tool_calls=[{"index": 0, "custom": {"name": "sh", "input": "ls"}}])], 1, "shls"),
        ([delta(function_call={"name": "read"}), delta(function_call={"arguments": "{}"})], 2, "read{}"),
        ([delta(tool_calls=None, content=None)], 0, ""),
        ([delta(tool_calls="x", content=7)], 0, ""),
        ([{"choices": [None, 5, {"delta": "x"}]}, {"choices": {"a": 1}}], 0, ""),
    ],
)
def test_rule_2_every_kind_of_output_is_metered(chunks: list[Chunk], events: int, text: str) -> None:
    meter = fed(*chunks)
    assert (meter.events, meter.uncounted()) == (events, text)
    assert meter.bound == max(events, len(text.encode()))


def test_rule_2_what_is_counted_replaces_its_bytes() -> None:
    meter = fed(HELLO, delta(content=" world"))
    assert meter.bound == 11
    text = meter.uncounted()
    assert meter.bound == 11  # until it is counted, and if counting is interrupted
    meter.counted(text, 2)
    assert (meter.bound, meter.uncounted()) == (2, "")
    meter.feed(delta(content="!!!"))
    assert meter.bound == 5
    meter.counted(meter.uncounted(), 50)
    assert meter.bound == 5  # no text has more tokens than bytes


def test_rule_2_every_content_event_is_a_token_at_least() -> None:
    meter = fed(*[delta(content="a")] * 5)
    meter.counted(meter.uncounted(), 1)
    assert meter.bound == 5


@given(st.lists(st.tuples(st.text(min_size=1), st.booleans()), max_size=20))
def test_rule_2_the_bound_never_falls_below_what_was_counted(pieces: list[tuple[str, bool]]) -> None:
    meter = ChatMeter()
    true_tokens = 0
    for text, count_now in pieces:
        meter.feed(delta(content=text))
        true_tokens += (len(text) + 3) // 4
        if count_now:
            fresh = meter.uncounted()
            meter.counted(fresh, len(fresh.encode("utf-8", "surrogatepass")))
        assert meter.bound >= true_tokens


@pytest.mark.parametrize(
    ("chunks", "calls"),
    [
        ([HELLO], []),
        (
            [
                delta(tool_calls=[call(0, name="read", arguments="")]),
                delta(tool_calls=[call(0, arguments='{"a"')]),
                delta(tool_calls=[call(1, name="write", arguments="{}")]),
                delta(tool_calls=[call(0, arguments=":1}")]),
            ],
            [("read", '{"a":1}'), ("write", "{}")],
        ),
        ([delta(tool_calls=[call(0, name="re")]), delta(tool_calls=[call(0, name="ad")])], [("read", "")]),
        (
            [
                delta(tool_calls=[call(0, name="read", arguments="{")]),
                delta(tool_calls=[call(0, name="read", arguments="}")]),
            ],
            [("read", "{}")],
        ),
        (
            [
                delta(
                    tool_calls=[
                        {"id": "a", "function": {"name": "x", "arguments": "1"}},
                        {"id": "b", "function": {"name": "y", "arguments": "2"}},
                    ]
                )
            ],
            [("x", "1"), ("y", "2")],
        ),
        ([delta(0, tool_calls=[call(0, name="x")]), delta(1, tool_calls=[call(0, name="y")])], [("x", ""), ("y", "")]),
        (
            [delta(function_call={"name": "x", "arguments": "{"}), delta(function_call={"arguments": "}"})],
            [("x", "{}")],
        ),
    ],
)
def test_tool_calls_of_a_stream(chunks: list[Chunk], calls: list[tuple[str, str]]) -> None:
    assert list(fed(*chunks).tool_calls()) == calls


@pytest.mark.parametrize(
    ("chunks", "finished"),
    [
        ([], False),
        ([HELLO], False),
        ([HELLO, STOP], True),
        ([HELLO, delta(1, content="x"), STOP], False),  # the other choice broke off
        ([HELLO, delta(1, content="x"), STOP, delta(1, finish="length")], True),
        ([usage_chunk(report())], False),
    ],
)
def test_a_stream_is_finished_when_every_choice_is(chunks: list[Chunk], *, finished: bool) -> None:
    assert fed(*chunks).finished is finished


def test_the_service_tier_is_that_of_the_last_chunk_that_names_one() -> None:
    assert fed(HELLO).served_tier is None
    assert (
        fed({**HELLO, "service_tier": "default"}, {**STOP, "service_tier": "flex"}, usage_chunk(None)).served_tier
        == "flex"
    )


def test_a_whole_reply() -> None:
    message = {
        "content": "hi",
        "refusal": None,
        "reasoning": "so",
        "tool_calls": [
            {"function": {"name": "read", "arguments": '{"a":1}'}},
            {"custom": {"name": "sh", "input": "ls"}},
        ],
    }
    reply = {"choices": [{"message": message}, None, {"message": "x"}, {}], "usage": report()}
    assert reply_usage(reply) == (PLAIN, False)
    assert reply_text(reply) == 'hisoread{"a":1}shls'
    assert all_calls(reply) == [("read", '{"a":1}'), ("sh", "ls")]
    assert reply_usage({}) == (None, False)
    assert reply_usage({"usage": {"prompt_tokens": -1}}) == (None, True)
    assert reply_text({"choices": 7}) == reply_text({}) == ""


def test_rule_32_our_own_end_is_an_error_that_stock_clients_do_not_retry() -> None:
    event = ChatEnd().error("Stopped: é", "budget_exhausted", {"call": "call_1"})
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    error = json.loads(event[6:])["error"]
    assert (error["type"], error["code"], error["message"]) == (
        "invalid_request_error",
        "budget_exhausted",
        "Stopped: é",
    )
    assert error["comptroller"] == {"call": "call_1"}


@pytest.mark.parametrize("code", ["upstream_failed", "upstream_timeout"])
def test_what_the_provider_did_in_mid_stream_is_no_fault_of_the_request(code: str) -> None:
    """opencode and Copilot ask again after this type, as they do when a provider fails before the first byte."""
    error = json.loads(ChatEnd().error("It went away.", code, {"call": "call_1"})[6:])["error"]
    assert (error["type"], error["code"]) == ("server_error", code)


def test_rule_32_the_usage_chunk_of_our_own_end_looks_like_the_others() -> None:
    end = ChatEnd()
    end.saw({"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "m", "x": 1})
    event = end.usage(PLAIN)
    chunk = json.loads(event[6:])
    assert {name: chunk[name] for name in ("id", "object", "created", "model", "choices")} == {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "choices": [],
    }
    assert "x" not in chunk
    assert fed(chunk).usage == PLAIN
