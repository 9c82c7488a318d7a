"""The Anthropic wire format: what is read of a request, a reply, a stream and a conversation."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Usage, UsageInvalid, from_anthropic
from gateway.core.wire.anthropic_reply import (
    MessagesEnd,
    MessagesMeter,
    error_body,
    reply_calls,
    reply_text,
    reply_tier,
    reply_usage,
)
from gateway.core.wire.anthropic_request import beside, outgoing, read_messages, texts, without_tools
from gateway.core.wire.anthropic_trace import answered, beginning, exchanges
from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.core.wire.facts import ContentFacts, FieldRefused

Chunk = dict[str, Any]
TOOL = {"name": "read", "input_schema": {}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PAGES = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAAAAAA"}}


def body(**fields: Any) -> Chunk:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}


def test_the_facts_of_a_request() -> None:
    facts = read_messages(
        body(stream=True, tools=[TOOL, {"type": "bash_20250124", "name": "bash"}], max_tokens=128_000)
    )
    assert (facts.model, facts.stream, facts.client_max_tokens, facts.choices) == ("m", True, 128_000, 1)
    assert facts.tools == ("read", "bash")
    assert not facts.hidden


@pytest.mark.parametrize(
    ("thinking", "tokens", "hidden"),
    [
        (None, 0, False),
        ({"type": "disabled"}, 0, False),
        ({"type": "adaptive"}, 0, True),
        ({"type": "enabled", "budget_tokens": 60}, 60, True),
    ],
)
def test_rule_01_thinking_is_billed_unseen_and_keeps_its_budget(thinking: Any, tokens: int, hidden: bool) -> None:
    facts = read_messages(body(thinking=thinking))
    assert (facts.thinking_tokens, facts.hidden) == (tokens, hidden)


@pytest.mark.parametrize(
    ("fields", "field", "unsupported"),
    [
        ({"model": ""}, "model", False),
        ({"messages": []}, "messages", False),
        ({"messages": ["x"]}, "messages", False),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages", False),
        ({"max_tokens": None}, "max_tokens", False),
        ({"max_tokens": True}, "max_tokens", False),
        ({"max_tokens": 0}, "max_tokens", False),
        ({"stream": "yes"}, "stream", False),
        ({"thinking": "hard"}, "thinking", False),
        ({"thinking": {"type": "enabled", "budget_tokens": 101}}, "thinking", False),
        ({"tools": {}}, "tools", False),
        ({"tools": [{"input_schema": {}}]}, "tools", False),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 0}]}, "tools.max_uses", False),
        ({"tools": [{"type": "web_search_20250305"}]}, "tools", False),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "tools", True),
        ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}, "tools", True),
        ({"mcp_servers": [{}]}, "mcp_servers", True),
        ({"container": "c"}, "container", True),
        ({"speed": "fast"}, "speed", True),
        ({"inference_geo": "us"}, "inference_geo", True),
        ({"service_tier": "priority"}, "service_tier", True),
    ],
)
def test_rule_07_what_has_authority_or_cost_is_understood_or_refused_by_name(
    fields: Chunk, field: str, unsupported: bool
) -> None:
    with pytest.raises(FieldRefused) as refused:
        read_messages(body(**fields))
    assert (refused.value.field, refused.value.unsupported) == (field, unsupported)


def test_rule_07_the_rest_passes() -> None:
    asked = body(metadata={"user_id": "u"}, context_management={}, output_config={"effort": "low"}, speed="standard")
    sent = outgoing(asked, read_messages(asked), model="claude", cap=None, cap_field="x", ask_usage=True)
    assert sent == {**asked, "model": "claude"}
    assert outgoing(asked, read_messages(asked), model="c", cap=7, cap_field="x", ask_usage=True)["max_tokens"] == 7


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("hi", ContentFacts(0, 0, 0, 0)),
        ([{"type": "text", "text": "hi"}, PICTURE], ContentFacts(1, 4, 0, 0)),
        ([PAGES, {"type": "document", "source": {"type": "url", "url": "http://x"}}], ContentFacts(0, 8, 0, 2)),
        ([{"type": "document", "source": {"type": "text", "data": "plain"}}], ContentFacts(0, 0, 0, 0)),
        ([{"type": "tool_result", "tool_use_id": "t", "content": [PICTURE, PICTURE]}], ContentFacts(2, 8, 0, 0)),
        ([{"type": "image", "source": {"type": "file", "file_id": "f"}}], ContentFacts(1, 0, 0, 0)),
    ],
)
def test_rule_03_what_is_not_inline_text(content: Any, facts: ContentFacts) -> None:
    assert read_messages(body(messages=[{"role": "user", "content": content}])).content == facts


def test_denied_tools_are_taken_out_with_the_choice_of_them() -> None:
    asked = body(tools=[TOOL, {"name": "write"}], tool_choice={"type": "tool", "name": "write"})
    assert without_tools(asked, frozenset({"write"})) == body(tools=[TOOL])
    assert "tools" not in without_tools(asked, frozenset({"read", "write"}))


def test_all_inline_text_is_counted() -> None:
    content = [
        {"type": "text", "text": "one"},
        PICTURE,
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "two"}]},
        {"type": "thinking", "thinking": "three"},
        {"type": "tool_use", "name": "read", "input": {"a": 1}},
    ]
    asked = body(messages=[{"role": "user", "content": content}], system="four", tools=[TOOL])
    found = "\n".join(texts(asked))
    assert all(word in found for word in ("one", "two", "three", "read", "four", "input_schema"))
    assert "AAAA" not in found
    assert set(beside(asked)) == {"system", "tools"}


# Usage


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": 0, "output_tokens": 0}, Usage(0, 0, 0, 0, 0)),
        ({"input_tokens": 5, "output_tokens": 2}, Usage(5, 0, 0, 2, 0)),
        (
            {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3, "output_tokens": 2},
            Usage(15, 7, 3, 2, 0),
        ),
        (
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 3,
                "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2},
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 4},
            },
            Usage(4, 0, 3, 9, 4, cache_write_long_tokens=2),
        ),
        ({"output_tokens": 3}, None),
        ({"input_tokens": 5}, None),
    ],
)
def test_rule_25_usage_is_inclusive(report: Any, usage: Usage | None) -> None:
    assert from_anthropic(report) == usage


@pytest.mark.parametrize(
    "report",
    [
        {"input_tokens": -1, "output_tokens": 0},
        {"input_tokens": "5"},
        {"output_tokens": 10**12},
        [],
        {"input_tokens": True},
    ],
)
def test_a_report_that_cannot_be_true_is_refused(report: Any) -> None:
    with pytest.raises(UsageInvalid):
        from_anthropic(report)


# Streams


def start(**usage: int) -> Chunk:
    return {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1, **usage}}}


def text(words: str) -> Chunk:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}}


def end(**usage: int) -> Chunk:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


STOP = {"type": "message_stop"}


def fed(*chunks: Chunk) -> MessagesMeter:
    meter = MessagesMeter()
    for chunk in chunks:
        assert meter.feed(chunk) is False
    return meter


def test_a_whole_stream() -> None:
    meter = fed(start(cache_read_input_tokens=90), text("hello "), text("world"), end(output_tokens=2), STOP)
    assert meter.finished
    assert meter.reported == Usage(100, 90, 0, 2, 0)
    assert (meter.events, meter.bound) == (2, 11)


@pytest.mark.parametrize(
    ("chunks", "reported", "bad"),
    [
        ([start(), text("a")], None, False),
        ([start(), text("a"), end(output_tokens=5), text("b")], None, False),
        ([start(), text("a"), end(output_tokens=5, input_tokens=12)], Usage(12, 0, 0, 5, 0), False),
        ([start(), text("a"), end(output_tokens=5), end(output_tokens=3)], Usage(10, 0, 0, 5, 0), False),
        ([start(), text("a"), end(output_tokens=-5)], None, True),
        ([start(input_tokens=-1), text("a"), end(output_tokens=5, input_tokens=9)], Usage(9, 0, 0, 5, 0), False),
        ([text("a"), STOP], None, False),
    ],
)
def test_reports_that_are_late_double_or_absurd(chunks: list[Chunk], reported: Usage | None, bad: bool) -> None:
    meter = fed(*chunks)
    assert (meter.reported, meter.usage_bad) == (reported, bad)


def test_tool_calls_are_put_together() -> None:
    block = {"type": "tool_use", "id": "t", "name": "read", "input": {}}
    parts = [
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": part}}
        for part in ('{"a"', ":1}")
    ]
    meter = fed(start(), {"type": "content_block_start", "index": 1, "content_block": block}, *parts)
    assert list(meter.tool_calls()) == [("read", '{"a":1}')]
    assert meter.uncounted() == 'read{"a":1}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta", "ping", "x"]),
    st.dictionaries(st.sampled_from(["message", "index", "delta", "content_block", "usage"]), json_values),
)
def test_no_event_breaks_the_meter(kind: str, fields: Chunk) -> None:
    meter = MessagesMeter()
    meter.feed({**fields, "type": kind})
    assert meter.bound >= 0
    assert all(isinstance(arguments, str) for _, arguments in meter.tool_calls())


# Replies


def test_a_whole_reply() -> None:
    reply = {
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "ok"},
            {"type": "tool_use", "id": "t", "name": "read", "input": {"a": "é"}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4, "service_tier": "priority"},
    }
    assert reply_usage(reply) == (Usage(3, 0, 0, 4, 0), False)
    assert reply_calls(reply) == [("read", '{"a": "é"}')]
    assert reply_text(reply) == 'hmokread{"a": "é"}'
    assert reply_tier(reply) == "priority"
    assert reply_usage({"usage": {"input_tokens": -1}}) == (None, True)
    assert (reply_usage({}), reply_text({}), reply_tier({})) == ((None, False), "", None)


def test_rule_32_our_own_end_of_a_stream() -> None:
    event = MessagesEnd().error("Stopped: é", "budget_exhausted", {"call": "call_1"})
    assert event.startswith(b"event: error\ndata: ")
    assert event.endswith(b"\n\n")
    said = json.loads(event.split(b"data: ")[1])
    assert said["type"] == "error"
    assert said["error"]["type"] == "invalid_request_error"
    assert (said["error"]["message"], said["error"]["code"]) == ("Stopped: é", "budget_exhausted")
    assert said["request_id"] == "call_1"
    assert MessagesEnd().usage(Usage(1, 0, 0, 1, 0)) == b""
    assert error_body("m", "api_error", None, None) == {
        "type": "error",
        "error": {"type": "api_error", "message": "m"},
        "request_id": None,
    }


@pytest.mark.parametrize("code", ["upstream_failed", "upstream_timeout"])
def test_what_the_provider_did_in_mid_stream_is_no_fault_of_the_request(code: str) -> None:
    said = json.loads(MessagesEnd().error("It went away.", code, {"call": "call_1"}).split(b"data: ")[1])
    assert (said["error"]["type"], said["error"]["code"]) == ("api_error", code)


# Conversations

TASK = {"role": "user", "content": "do it"}
SYSTEM = {"role": "system", "content": "be good"}


def asks(at: str, **arguments: Any) -> Chunk:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": at, "name": "read", "input": arguments}]}


def gives(at: str, result: Any, **fields: Any) -> Chunk:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": at, "content": result, **fields}]}


def test_rule_24_exchanges_with_their_results() -> None:
    messages = [
        TASK,
        asks("1", a=1),
        gives("1", "one"),
        asks("2"),
        gives("2", [{"type": "text", "text": "no"}], is_error=True),
    ]
    first = Exchange("", (ToolUse("read", '{"a": 1}', "one"),), ())
    last = Exchange("", (ToolUse("read", "{}", "no", says_failed=True),), ())
    assert exchanges(messages, 0) == [last]
    assert exchanges(messages, 1) == [first, last]
    assert exchanges(messages, 3) == [last]
    assert (beginning(messages), answered(messages)) == ("do it", True)


def test_words_beside_results_are_what_was_said() -> None:
    both = {"role": "user", "content": [*gives("1", "one")["content"], {"type": "text", "text": "go on"}]}
    assert exchanges([TASK, asks("1"), both, SYSTEM], 1) == [Exchange("", (ToolUse("read", "{}", "one"),), ("go on",))]
    said = {"role": "assistant", "content": "done"}
    assert exchanges([TASK, said, TASK], 1) == [Exchange("done", (), ("do it",))]
    assert (beginning([SYSTEM]), answered([SYSTEM]), exchanges([SYSTEM], 0)) == ("", False, [])


@given(st.lists(json_values, max_size=4))
def test_no_conversation_breaks_the_reading(messages: list[Any]) -> None:
    exchanges(messages, 0)
    beginning(messages)
    answered(messages)
