"""Bedrock's Converse, and Anthropic's messages in its envelope: requests, usage, streams, traces, ends."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Usage, UsageInvalid
from gateway.core.usage_bedrock import from_bedrock
from gateway.core.wire.bedrock_invoke import InvokeMeter, read_invoke
from gateway.core.wire.bedrock_reply import (
    ConverseMeter,
    ExceptionEnd,
    error_body,
    reply_calls,
    reply_text,
    reply_usage,
)
from gateway.core.wire.bedrock_request import beside, outgoing, read_converse, texts, without_tools
from gateway.core.wire.bedrock_trace import answered, beginning, exchanges
from gateway.core.wire.eventstream import FrameDecoder
from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, ContentFacts, FieldRefused
from gateway.core.wire.metering import TextMeter

Body = dict[str, Any]
HELLO: Body = {"role": "user", "content": [{"text": "hello"}]}
CACHE_POINT: Body = {"cachePoint": {"type": "default"}}


def body(**fields: object) -> Body:
    return {"model": "claude", "stream": False, "messages": [HELLO], **fields}


def tools(*names: str) -> list[Body]:
    return [{"toolSpec": {"name": name, "inputSchema": {"json": {}}}} for name in names]


def more(**fields: object) -> Body:
    return body(additionalModelRequestFields=fields)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (body(), {"model": "claude", "stream": False, "choices": 1, "client_max_tokens": None, "hidden": False}),
        (body(stream=True), {"stream": True, "include_usage": False}),
        (body(inferenceConfig={"maxTokens": 9}), {"client_max_tokens": 9, "max_field": "maxTokens"}),
        (body(toolConfig={"tools": [*tools("a", "b"), CACHE_POINT]}), {"tools": ("a", "b")}),
        (more(thinking={"type": "enabled", "budget_tokens": 2000}), {"thinking_tokens": 2000, "hidden": True}),
        (more(thinking={"type": "adaptive"}), {"thinking_tokens": 0, "hidden": True}),
        (more(thinking={"type": "disabled"}), {"thinking_tokens": 0, "hidden": False}),
        (more(reasoning_effort="high", top_k=4), {"hidden": True}),
        (body(performanceConfig={"latency": "standard"}, serviceTier={"type": "default"}), {"service_tier": "default"}),
    ],
)
def test_what_a_request_asks_for(asked: Body, told: dict[str, object]) -> None:
    facts = read_converse(asked)
    assert {name: getattr(facts, name) for name in told} == told


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([{"text": "x"}, CACHE_POINT], NO_CONTENT_BUT_TEXT),
        ([{"image": {"format": "png", "source": {"bytes": "aaaa"}}}], ContentFacts(1, 4, 0, 0)),
        ([{"image": {"format": "png", "source": {"s3Location": {"uri": "s3://x"}}}}], ContentFacts(1, 0, 0, 0)),
        ([{"document": {"format": "pdf", "name": "d", "source": {"bytes": "aaaa"}}}], ContentFacts(0, 4, 0, 1)),
        ([{"document": {"format": "txt", "name": "d", "source": {"text": "inline"}}}], NO_CONTENT_BUT_TEXT),
        ([{"audio": {"format": "wav", "source": {"bytes": "aa"}}}], ContentFacts(0, 2, 1, 0)),
        ([{"video": {"format": "mp4", "source": {"bytes": "aa"}}}], ContentFacts(0, 2, 0, 1)),
        (
            [{"toolResult": {"toolUseId": "1", "content": [{"image": {"source": {"bytes": "aa"}}}]}}],
            ContentFacts(1, 2, 0, 0),
        ),
    ],
)
def test_rule_3_what_is_not_inline_text(blocks: list[Body], content: ContentFacts) -> None:
    assert read_converse(body(messages=[{"role": "user", "content": blocks}])).content == content
    assert read_converse(body(system=blocks)).content == content


@pytest.mark.parametrize(
    ("asked", "field", "unsupported"),
    [
        ({"messages": [HELLO]}, "model", False),
        ({"model": "claude"}, "messages", False),
        (body(messages=["hello"]), "messages", False),
        (body(messages=[{"role": "user", "content": "hello"}]), "messages", False),
        (body(messages=[{"role": "user", "content": [{"toolUse": "x"}]}]), "toolUse", False),
        (body(inferenceConfig={"maxTokens": 0}), "maxTokens", False),
        (body(inferenceConfig={"maxTokens": "9"}), "maxTokens", False),
        (body(inferenceConfig=[]), "inferenceConfig", False),
        (body(guardrailConfig={"guardrailIdentifier": "x"}), "guardrailConfig", True),
        (body(promptVariables={"x": {"text": "y"}}), "promptVariables", True),
        (body(performanceConfig={"latency": "optimized"}), "performanceConfig", True),
        (body(serviceTier={"type": "priority"}), "serviceTier", True),
        (body(toolConfig={"tools": [{"systemTool": {"name": "nova_grounding"}}]}), "toolConfig", True),
        (body(toolConfig={"tools": [{"toolSpec": {}}]}), "toolConfig", False),
        (body(toolConfig={"tools": "all"}), "toolConfig", False),
        # What goes to the model past the format could raise the cap or declare tools that nobody judged.
        (more(max_tokens=50_000), "additionalModelRequestFields", True),
        (more(tools=[{"type": "web_search_20250305"}]), "additionalModelRequestFields", True),
        (more(thinking={"type": "enabled", "budget_tokens": -1}), "additionalModelRequestFields", False),
    ],
)
def test_rule_7_what_is_refused_is_named(asked: Body, field: str, *, unsupported: bool) -> None:
    with pytest.raises(FieldRefused) as refused:
        read_converse(asked)
    assert (refused.value.field, refused.value.unsupported) == (field, unsupported)


def test_endless_nesting_of_tool_results_is_refused_not_followed() -> None:
    block: Body = {"text": "x"}
    for _ in range(2_000):
        block = {"toolResult": {"toolUseId": "1", "content": [block]}}
    with pytest.raises(FieldRefused):
        read_converse(body(messages=[{"role": "user", "content": [block]}]))


@given(st.none() | st.integers(1, 10**6), st.none() | st.integers(1, 10**6))
def test_what_is_sent_is_the_clients_body_with_our_cap(client_max: int | None, cap: int | None) -> None:
    config = {} if client_max is None else {"inferenceConfig": {"maxTokens": client_max, "temperature": 1}}
    asked = body(**config, unknown={"kept": 1})
    sent = outgoing(asked, read_converse(asked), model="x", cap=cap, cap_field="maxTokens", ask_usage=True)
    assert not {"model", "stream"} & sent.keys()
    assert (sent["messages"], sent["unknown"]) == ([HELLO], {"kept": 1})
    assert sent.get("inferenceConfig", {}).get("maxTokens") == (client_max if cap is None else cap)


@pytest.mark.parametrize(
    ("config", "denied", "left"),
    [
        ({"tools": tools("a", "b")}, {"b"}, {"tools": tools("a")}),
        ({"tools": [*tools("a"), CACHE_POINT]}, {"a"}, None),
        (
            {"tools": tools("a", "b"), "toolChoice": {"tool": {"name": "b"}}},
            {"b"},
            {"tools": tools("a")},
        ),
        (
            {"tools": tools("a", "b"), "toolChoice": {"auto": {}}},
            {"b"},
            {"tools": tools("a"), "toolChoice": {"auto": {}}},
        ),
    ],
)
def test_denied_tools_are_stripped(config: Body, denied: set[str], left: Body | None) -> None:
    assert without_tools(body(toolConfig=config), frozenset(denied)).get("toolConfig") == left


def test_what_is_prompt_and_what_is_counted() -> None:
    image = {"image": {"format": "png", "source": {"bytes": "QUJD"}}}
    use = {"toolUse": {"toolUseId": "1", "name": "look", "input": {}}}
    result = {"toolResult": {"toolUseId": "1", "content": [{"text": "found"}]}}
    asked = body(
        messages=[{"role": "user", "content": [{"text": "hello"}, image, use, result]}],
        system=[{"text": "be brief"}],
        inferenceConfig={"temperature": 1},
        requestMetadata={"a": "b"},
    )
    assert beside(asked) == {"system": [{"text": "be brief"}]}
    counted = texts(asked)
    assert counted[0] == "hello"
    assert all(any(word in text for text in counted) for word in ("look", "found", "be brief"))
    assert not any("QUJD" in text for text in counted)


def usage(fresh: object = 10, output: object = 4, **fields: object) -> Body:
    return {"inputTokens": fresh, "outputTokens": output, **fields}


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (None, None),
        ({}, None),
        (usage(), Usage(10, 0, 0, 4, 0)),
        (usage(0, 0, totalTokens=0), Usage(0, 0, 0, 0, 0)),
        (usage(cacheReadInputTokens=100, totalTokens=114), Usage(110, 100, 0, 4, 0)),  # input leaves caches out
        (usage(cacheWriteInputTokens=30), Usage(40, 0, 30, 4, 0)),
        (
            usage(
                cacheWriteInputTokens=30,
                cacheDetails=[{"ttl": "5m", "inputTokens": 10}, {"ttl": "1h", "inputTokens": 20}],
            ),
            Usage(40, 0, 30, 4, 0, cache_write_long_tokens=20),
        ),
        (usage(totalTokens=20), Usage(10, 0, 0, 10, 0)),  # what the total has more is output
    ],
)
def test_usage_in_the_inclusive_convention(report: object, told: Usage | None) -> None:
    assert from_bedrock(report) == told
    assert reply_usage({"usage": report}) == (told, False)


@pytest.mark.parametrize(
    "report", [[1], usage(-1), usage(10, "4"), usage(True), usage(10**12), usage(cacheDetails=["x"])]
)
def test_a_report_that_cannot_be_true_is_refused(report: object) -> None:
    with pytest.raises(UsageInvalid):
        from_bedrock(report)
    assert reply_usage({"usage": report}) == (None, True)


def delta(at: int = 0, **fields: object) -> Body:
    return {"delta": fields, "contentBlockIndex": at}


def start(name: str, at: int = 0) -> Body:
    return {"start": {"toolUse": {"toolUseId": "t", "name": name}}, "contentBlockIndex": at}


def fed(meter: TextMeter, *chunks: Body) -> Any:
    for chunk in chunks:
        assert not meter.feed(chunk)  # type: ignore[attr-defined] # the meters of formats have it
    return meter


def test_a_stream_of_every_kind_of_output() -> None:
    meter = fed(
        ConverseMeter(),
        {"role": "assistant"},
        delta(text="hé"),
        delta(reasoningContent={"text": "hm"}),
        delta(reasoningContent={"signature": "x"}),
        start("look", 1),
        delta(1, toolUse={"input": '{"q":'}),
        delta(1, toolUse={"input": "1}"}),
        start("stop", 2),
    )
    assert (meter.events, meter.uncounted(), meter.finished) == (6, 'héhmlook{"q":1}stop', False)
    assert meter.bound == len("héhmlook{'q':1}stop".encode())
    assert list(meter.tool_calls()) == [("look", '{"q":1}'), ("stop", "{}")]
    assert meter.reported is None
    meter = fed(meter, {"stopReason": "end_turn"}, {"usage": usage(), "metrics": {}})
    assert (meter.finished, meter.reported) == (True, Usage(10, 0, 0, 4, 0))
    fed(meter, {"usage": usage(-1)})
    assert meter.usage_bad
    assert meter.reported is None


def wrapped(event: object) -> Body:
    return {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abc"}


def test_invoke_is_read_and_metered_as_anthropics_messages() -> None:
    asked = {**body(), "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"content": "x"}]}
    assert read_invoke(asked).client_max_tokens == 9
    with pytest.raises(FieldRefused) as refused:
        read_invoke({"model": "nova", "messages": [], "max_tokens": 9})
    assert (refused.value.field, refused.value.unsupported) == ("anthropic_version", True)
    meter = fed(
        InvokeMeter(),
        wrapped({"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}),
        wrapped({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
        wrapped({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}}),
        wrapped({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 10}}),
    )
    assert (meter.finished, meter.reported) == (True, Usage(10, 0, 0, 4, 0))
    other = fed(InvokeMeter(), {"bytes": "no base64!"}, {"bytes": "aGk="}, {"bytes": 5}, wrapped([1]), {"message": "x"})
    assert (other.events, other.finished) == (0, False)


def test_a_whole_reply() -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    use = {"toolUse": {"toolUseId": "1", "name": "look", "input": {"q": 1}}}
    reply = {"output": {"message": {"content": [thought, {"text": "yes"}, use, "x"]}}}
    assert reply_calls(reply) == [("look", '{"q": 1}')]
    assert reply_text(reply) == 'hmyeslook{"q": 1}'
    assert reply_text({"output": None}) == reply_text({}) == ""


def test_rule_32_our_cut_is_an_exception_frame() -> None:
    (frame,) = FrameDecoder().feed(ExceptionEnd().error("spent", "budget_exhausted", {"call": "c"}))
    assert frame.exception == "validationException"
    assert json.loads(frame.data) == error_body("spent", "budget_exhausted", {"call": "c", "code": "budget_exhausted"})


def test_rule_24_exchanges_with_their_results() -> None:
    calls = [{"toolUse": {"toolUseId": at, "name": "look", "input": {"q": at}}} for at in "ab"]
    results = [
        {"toolResult": {"toolUseId": "b", "content": [{"text": "no"}], "status": "error"}},
        {"toolResult": {"toolUseId": "a", "content": [{"json": {"r": 1}}]}},
    ]
    messages = [
        HELLO,
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [*results, CACHE_POINT, {"text": "go on"}]},
        {"role": "assistant", "content": [{"text": "done"}]},
    ]
    first, last = exchanges(messages, 1)
    assert [(use.name, use.arguments, use.says_failed) for use in first.uses] == [
        ("look", '{"q": "a"}', False),
        ("look", '{"q": "b"}', True),
    ]
    assert "'r': 1" in str(first.uses[0].result)
    assert first.uses[1] == ToolUse("look", '{"q": "b"}', "no", says_failed=True)
    assert (first.said, last) == (("go on",), Exchange("done", (), ()))
    assert exchanges(messages, 0) == [last]
    assert (beginning(messages), answered(messages), answered(messages[:1])) == ("hello", True, False)
