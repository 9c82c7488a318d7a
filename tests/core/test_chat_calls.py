"""Calls of tools as chat providers stream them, and as chat clients have to get them."""

import json
from typing import Any

from gateway.core.wire import neutral
from gateway.core.wire.anthropic_reply import MessagesEnd
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import Stop
from gateway.core.wire.openai_neutral_reply import ChatReader, ChatWriter, read_reply
from gateway.pipeline.translate import StreamTranslation


def calls(*found: tuple[int, str | None, str]) -> dict[str, Any]:
    listed = []
    for index, name, arguments in found:
        begun = {} if name is None else {"id": f"call_{index}", "type": "function"}
        function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
        listed.append({"index": index, **begun, "function": function})
    return {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": listed}}]}


def end(reason: str) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def test_calls_that_come_at_once_are_told_one_after_the_other() -> None:
    reader = ChatReader()
    chunks = [calls((0, "a", "{"), (1, "b", "[")), calls((0, None, "}"), (1, None, "]")), end("tool_calls")]
    found = [delta for chunk in chunks for delta in reader.feed(chunk)][1:]
    assert found == [
        neutral.ToolStarted("call_0", "a"),
        *(neutral.ToolArguments("{"), neutral.ToolArguments("}")),
        neutral.ToolStarted("call_1", "b"),
        neutral.ToolArguments("[]"),
        neutral.Ended(Stop.TOOL_USE),
    ]


def test_calls_of_a_stream_that_ends_without_a_reason_are_told_too() -> None:
    kind = FORMATS["openai_chat"]
    translation = StreamTranslation(FORMATS["anthropic_messages"], kind, MessagesEnd(), include_usage=False)
    told = translation.feed(calls((0, "a", "{}"), (1, "b", "{}"))) + translation.finish()
    assert told.count(b'"type":"tool_use"') == 2
    assert b'"name":"b"' in told


def test_a_call_that_was_asked_for_by_name_ends_in_a_call_though_openai_says_stop() -> None:
    reader = ChatReader()
    assert [*reader.feed(calls((0, "a", "{}"))), *reader.feed(end("stop"))][-1] == neutral.Ended(Stop.TOOL_USE)
    message = {"tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "a", "arguments": "{}"}}]}
    assert read_reply({"choices": [{"message": message, "finish_reason": "stop"}]}).stop is Stop.TOOL_USE
    assert read_reply({"choices": [{"message": message, "finish_reason": "length"}]}).stop is Stop.LENGTH


def test_a_call_without_arguments_gets_an_empty_object() -> None:
    writer = ChatWriter(include_usage=False)
    told: list[neutral.Delta] = [
        neutral.ToolStarted("1", "a"),
        neutral.ToolStarted("2", "b"),
        neutral.Ended(Stop.TOOL_USE),
    ]
    arguments: dict[int, str] = {}
    for delta in told:
        for chunk in writer.write(delta):
            for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
                arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
    assert [json.loads(text) for text in arguments.values()] == [{}, {}]


def test_reasoning_is_read_under_both_names_and_once() -> None:
    delta = {"reasoning": "Hm.", "reasoning_content": "Hm."}
    assert ChatReader().feed({"id": "c", "choices": [{"delta": delta}]})[1:] == [neutral.ThinkingDelta("Hm.")]
    reply = read_reply({"choices": [{"message": {"reasoning": "Hm.", "content": "4"}, "finish_reason": "stop"}]})
    assert reply.parts == (neutral.Thinking("Hm."), neutral.Text("4"))
