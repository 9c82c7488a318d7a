"""What a Responses stream of any shape says of usage, output and tool calls, and how we end one ourselves."""

import json
from typing import Any

import pytest

from gateway.core.usage import Usage
from gateway.core.wire.responses_reply import (
    ResponsesEnd,
    ResponsesMeter,
    reply_calls,
    reply_text,
    reply_tier,
    reply_usage,
)

Event = dict[str, Any]


def delta(text: object, kind: str = "output_text", at: int = 0) -> Event:
    return {"type": f"response.{kind}.delta", "output_index": at, "delta": text}


def added(item: object, at: int = 0) -> Event:
    return {"type": "response.output_item.added", "output_index": at, "item": item}


def done(item: object, at: int = 0) -> Event:
    return {"type": "response.output_item.done", "output_index": at, "item": item}


def ended(usage: object = None, how: str = "completed", **fields: object) -> Event:
    return {"type": f"response.{how}", "response": {"id": "r", "status": how, "usage": usage, **fields}}


def report(given: object = 10, made: object = 4, **more: object) -> Event:
    return {"input_tokens": given, "output_tokens": made, **more}


def words(text: str) -> Event:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(name: str, arguments: str, **more: object) -> Event:
    return {"type": "function_call", "call_id": "c", "name": name, "arguments": arguments, **more}


HELLO = delta("hello")
PLAIN = Usage(10, 0, 0, 4, 0)
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}], "encrypted_content": "xxxx"}


def fed(*events: Event) -> ResponsesMeter:
    meter = ResponsesMeter()
    for event in events:
        assert meter.feed(event) is False
    return meter


@pytest.mark.parametrize(
    ("events", "usage", "bad"),
    [
        ([HELLO, ended(report())], PLAIN, False),
        ([HELLO, ended(report(), "incomplete")], PLAIN, False),
        ([HELLO, ended(report(), "failed")], PLAIN, False),
        ([HELLO, ended(None, "failed")], None, False),
        ([HELLO], None, False),
        ([HELLO, ended({})], None, False),
        ([HELLO, ended(report(0, 0))], Usage(0, 0, 0, 0, 0), False),  # an explicit zero is a report
        ([HELLO, ended(report(-1))], None, True),
        ([HELLO, ended(report(10, "4"))], None, True),
        ([HELLO, ended(report(10, True))], None, True),
        ([HELLO, ended(report(10**12))], None, True),
        ([HELLO, ended([1])], None, True),
        ([HELLO, ended(report(-1)), ended(report())], PLAIN, False),
        ([{"type": "response.created", "response": {"usage": None}}, HELLO, ended(report())], PLAIN, False),
        ([HELLO, ended(report(input_tokens_details={"cached_tokens": 6}))], Usage(10, 6, 0, 4, 0), False),
        (
            [HELLO, ended(report(input_tokens_details={"cached_tokens": 6, "cache_write_tokens": 3}))],
            Usage(10, 6, 3, 4, 0),
            False,
        ),
        ([HELLO, ended(report(output_tokens_details={"reasoning_tokens": 3}))], Usage(10, 0, 0, 4, 3), False),
        ([HELLO, ended(report(total_tokens=20))], Usage(10, 0, 0, 10, 0), False),  # reasoning left out
        ([HELLO, {"type": "response.completed"}], None, False),
        ([HELLO, {"type": "error", "message": "x"}], None, False),
    ],
)
def test_usage_of_a_stream(events: list[Event], usage: Usage | None, *, bad: bool) -> None:
    meter = fed(*events)
    assert (meter.usage, meter.usage_bad) == (usage, bad)
    assert meter.reported == (None if bad else usage)


@pytest.mark.parametrize(
    ("events", "count", "text"),
    [
        ([{"type": "response.created"}, {"type": "response.in_progress"}], 0, ""),
        ([HELLO, delta(" there")], 2, "hello there"),
        ([HELLO, {"type": "response.output_text.done", "text": "hello"}, done(words("hello"))], 1, "hello"),
        ([delta("I cannot", "refusal")], 1, "I cannot"),
        ([delta("so", "reasoning_summary_text"), done(THOUGHT), delta("yes", at=1)], 2, "soyes"),
        ([delta("so", "reasoning_text")], 1, "so"),
        ([added(call("read", "")), delta("{}", "function_call_arguments")], 2, "read{}"),
        ([added({"type": "custom_tool_call", "name": "sh"}), delta("ls", "custom_tool_call_input")], 2, "shls"),
        ([done(words("hello"))], 1, "hello"),  # a server without deltas
        ([done(call("read", "{}"))], 2, "read{}"),
        ([done(THOUGHT)], 1, "so"),
        ([ended(None, output=[words("hello"), call("read", "{}")])], 3, "helloread{}"),  # only the end has it
        ([HELLO, done(words("hello")), ended(None, output=[words("hello")])], 1, "hello"),  # once
        ([delta(7), delta(None), added("x"), done(5), ended(None, output=[1])], 0, ""),
        ([{"type": 5}, {}], 0, ""),
    ],
)
def test_rule_2_every_kind_of_output_is_metered(events: list[Event], count: int, text: str) -> None:
    meter = fed(*events)
    assert (meter.events, meter.uncounted()) == (count, text)
    assert meter.bound == max(count, len(text.encode()))


@pytest.mark.parametrize(
    ("events", "calls"),
    [
        ([HELLO, done(words("hello"))], []),
        ([done(call("read", '{"a":1}')), done(call("write", "{}"), 1)], [("read", '{"a":1}'), ("write", "{}")]),
        ([done(call("open", "{}", namespace="mcp__github__"))], [("mcp__github__open", "{}")]),
        ([done({"type": "custom_tool_call", "name": "sh", "input": "ls"})], [("sh", "ls")]),
        ([done({"type": "local_shell_call", "action": {"command": ["ls"]}})], [("local_shell", '{"command": ["ls"]}')]),
        ([done({"type": "mcp_call", "server_label": "d", "name": "q", "arguments": "{}"})], []),  # the provider's own
        ([added(call("read", ""))], []),  # it broke off
        ([ended(report(), output=[call("read", "{}")])], [("read", "{}")]),
    ],
)
def test_tool_calls_of_a_stream(events: list[Event], calls: list[tuple[str, str]]) -> None:
    assert list(fed(*events).tool_calls()) == calls


@pytest.mark.parametrize(
    ("events", "finished"),
    [
        ([], False),
        ([HELLO, done(words("hello"))], False),
        ([HELLO, ended(report())], True),
        ([HELLO, ended(None, "incomplete")], True),
        ([HELLO, ended(None, "failed")], False),
        ([{"type": "error"}], False),
    ],
)
def test_a_stream_is_finished_by_its_last_event(events: list[Event], *, finished: bool) -> None:
    assert fed(*events).finished is finished


def test_the_service_tier_is_that_of_the_end() -> None:
    assert fed(HELLO, ended(report(), service_tier="flex")).served_tier == "flex"


def test_a_whole_reply() -> None:
    refusal = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    reply = {"output": [THOUGHT, words("hi"), refusal, call("read", "{}"), None], "usage": report()}
    assert reply_usage(reply) == (PLAIN, False)
    assert reply_text(reply) == "sohinoread{}"
    assert reply_calls(reply) == [("read", "{}")]
    assert reply_usage({}) == (None, False)
    assert reply_usage({"usage": {"input_tokens": -1}}) == (None, True)
    assert reply_text({"output": 7}) == reply_text({}) == ""
    assert (reply_tier({"service_tier": "flex"}), reply_tier({"service_tier": 5})) == ("flex", None)


def cut(*seen: Event, code: str = "budget_exhausted", usage: Usage | None = None) -> Event:
    end = ResponsesEnd()
    for event in seen:
        assert end.watching
        end.saw(event)
    if usage is not None:
        assert end.usage(usage) == b""
    raw = end.error("Stopped: é", code, {"call": "call_1"})
    assert raw.startswith(b"event: response.failed\ndata: ")
    assert raw.endswith(b"\n\n")
    found: Event = json.loads(raw.split(b"data: ", 1)[1])
    assert found["type"] == "response.failed"
    return found


CREATED = {
    "type": "response.created",
    "sequence_number": 0,
    "response": {"id": "resp_1", "object": "response", "model": "m", "status": "in_progress", "tools": [{"a": 1}]},
}


def test_rule_32_our_own_end_has_the_next_number_and_the_whole_response() -> None:
    found = cut(CREATED, {**HELLO, "sequence_number": 7}, usage=PLAIN)
    assert found["sequence_number"] == 8
    response = found["response"]
    assert (response["id"], response["model"], response["status"]) == ("resp_1", "m", "failed")
    assert (response["tools"], response["incomplete_details"]) == ([{"a": 1}], None)
    assert response["error"] == {
        "code": "invalid_prompt",
        "message": "Stopped: é",
        "comptroller": {"call": "call_1", "code": "budget_exhausted"},
    }
    assert reply_usage(response) == (PLAIN, False)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("session_budget_exhausted", "invalid_prompt"),
        ("session_stopped", "invalid_prompt"),
        ("upstream_failed", "server_error"),  # as if it had failed before the client itself
        ("upstream_timeout", "server_error"),
    ],
)
def test_rule_32_agents_ask_again_only_where_that_may_help(code: str, told: str) -> None:
    assert cut(CREATED, code=code)["response"]["error"]["code"] == told


def test_rule_32_our_own_end_of_a_stream_that_never_began_is_a_response_too() -> None:
    found = cut()
    assert found["sequence_number"] == 0
    response = found["response"]
    assert (response["id"], response["object"], response["output"]) == ("resp_call_1", "response", [])
    assert response["usage"] is None


def test_an_end_that_the_provider_told_is_not_told_twice() -> None:
    end = ResponsesEnd()
    end.saw(CREATED)
    end.saw(ended(None, "failed"))
    assert end.error("broke off", "upstream_failed", {"call": "call_1"}) == b""


def test_rule_32_events_without_numbers_are_counted() -> None:
    assert cut(HELLO, HELLO, HELLO)["sequence_number"] == 3
