"""Responses from and to the neutral form: what goes in comes out, and what cannot be said is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Usage
from gateway.core.wire import neutral
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.neutral import Choice, Message, NeutralReply, NeutralRequest, Role, Stop
from gateway.core.wire.responses_neutral import HALF

Body = dict[str, Any]
USER, MODEL = Role.USER, Role.ASSISTANT
PIXEL = "data:image/png;base64,AAAA"
LOOKUP = {"type": "function", "name": "lookup", "parameters": {"type": "object"}}


def body(**fields: object) -> Body:
    return {"model": "m", "input": "hi", **fields}


def read(**fields: object) -> NeutralRequest:
    return HALF.read_request(body(**fields))


def said(*parts: neutral.Part, by: Role = USER) -> Message:
    return Message(by, parts)


HI = said(neutral.Text("hi"))


@pytest.mark.parametrize(
    ("fields", "system", "messages"),
    [
        ({}, (), (HI,)),
        ({"instructions": "be good"}, ("be good",), (HI,)),
        (
            {"instructions": "a", "input": [{"role": "developer", "content": "b"}, {"role": "user", "content": "hi"}]},
            ("a", "b"),
            (HI,),
        ),
        (
            {"input": [{"role": "user", "content": "hi"}, {"role": "developer", "content": "b"}]},
            (),
            (said(neutral.Text("hi"), neutral.Text("b")),),
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]}]},
            (),
            (said(neutral.Image("image/png", "AAAA")),),
        ),
        (
            {
                "input": [
                    {"role": "user", "content": "hi"},
                    {
                        "type": "reasoning",
                        "summary": [{"type": "summary_text", "text": "so"}],
                        "encrypted_content": "x",
                    },
                    {
                        "type": "function_call",
                        "call_id": "1",
                        "name": "open",
                        "namespace": "mcp__g__",
                        "arguments": "{}",
                    },
                    {"type": "custom_tool_call", "call_id": "2", "name": "patch", "input": "*** Begin"},
                    {"type": "function_call_output", "call_id": "1", "output": "ok"},
                    {
                        "type": "custom_tool_call_output",
                        "call_id": "2",
                        "output": [{"type": "input_text", "text": "ok"}],
                    },
                ]
            },
            (),
            (
                HI,
                said(
                    neutral.Thinking("so"),
                    neutral.ToolUse("1", "mcp__g__open", "{}"),
                    neutral.ToolUse("2", "patch", '{"input": "*** Begin"}'),
                    by=MODEL,
                ),
                said(
                    neutral.ToolResult("1", (neutral.Text("ok"),)),
                    neutral.ToolResult("2", (neutral.Text("ok"),)),
                ),
            ),
        ),
    ],
)
def test_what_was_said(fields: Body, system: tuple[str, ...], messages: tuple[Message, ...]) -> None:
    request = read(**fields)
    assert (request.system, request.messages) == (system, messages)


def test_tools_of_every_kind_become_functions() -> None:
    custom = {"type": "custom", "name": "patch", "description": "edits", "format": {"definition": "start: x"}}
    space = {"type": "namespace", "name": "mcp__g__", "tools": [LOOKUP]}
    lookup, patch, spaced = read(tools=[LOOKUP, custom, space]).tools
    assert (lookup.name, spaced.name, patch.name) == ("lookup", "mcp__g__lookup", "patch")
    assert patch.schema["required"] == ["input"]
    assert "start: x" in patch.description


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, (None, "")),
        ("auto", (Choice.AUTO, "")),
        ("none", (Choice.NONE, "")),
        ("required", (Choice.ANY, "")),
        ({"type": "function", "name": "lookup"}, (Choice.ONE, "lookup")),
    ],
)
def test_whether_a_tool_must_be_called(choice: Any, found: tuple[Choice | None, str]) -> None:
    request = read(tools=[LOOKUP], tool_choice=choice)
    assert (request.tool_choice, request.chosen_tool) == found
    assert HALF.write_request(request, "m", 9, "x").get("tool_choice") == choice


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"previous_response_id": "r"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"text": {"format": {"type": "json_schema"}}}, "text"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"tools": [{"type": "mcp"}]}, "tools"),
        ({"tools": [{"type": "local_shell"}]}, "tools"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"type": "local_shell_call", "call_id": "1"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,x"}]}]}, "input"),
    ],
)
def test_what_cannot_be_translated_is_named(fields: Body, field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        read(**fields)
    assert refused.value.field == field


def test_hints_are_left_out_and_told() -> None:
    hints = {"store": False, "include": ["x"], "reasoning": {"effort": "low"}, "prompt_cache_key": "k"}
    told = ("prompt_cache_key", "include", "reasoning", "text.verbosity")
    assert read(**hints, text={"verbosity": "low"}).left_out == told
    assert read(store=True).left_out == ("store",)


def test_this_format_has_no_stop_sequences() -> None:
    with pytest.raises(FieldRefused, match="stop"):
        HALF.write_request(NeutralRequest((HI,), stop=("x",)), "m", 9, "max_tokens")


_WORDS = st.text(min_size=1, max_size=8)
_IDS = st.text("abc123_", min_size=1, max_size=8)
_ARGUMENTS = st.dictionaries(_WORDS, st.integers() | _WORDS, max_size=2).map(json.dumps)
_TEXT = st.builds(neutral.Text, _WORDS)
_USE = st.builds(neutral.ToolUse, _IDS, _IDS, _ARGUMENTS)
USAGE = Usage(10, 4, 1, 7, 3)


@st.composite
def replies(draw: st.DrawFn) -> NeutralReply:
    thoughts = draw(st.lists(st.builds(neutral.Thinking, _WORDS), max_size=1))
    parts: tuple[neutral.Part, ...] = (*thoughts, *draw(st.lists(_TEXT, max_size=1)), *draw(st.lists(_USE, max_size=2)))
    cut = draw(st.sampled_from([None, Stop.LENGTH, Stop.FILTER]))
    usual = Stop.TOOL_USE if any(isinstance(part, neutral.ToolUse) for part in parts) else Stop.END
    return NeutralReply("r", "m", parts, cut or usual, draw(st.none() | st.just(USAGE)))


@given(replies())
def test_a_reply_comes_out_as_it_went_in(reply: NeutralReply) -> None:
    assert HALF.read_reply(json.loads(json.dumps(HALF.write_reply(reply)))) == reply


def deltas_of(reply: NeutralReply, cuts: int) -> list[neutral.Delta]:
    found: list[neutral.Delta] = [neutral.Started("r", "m")]
    for part in reply.parts:
        text = part.arguments if isinstance(part, neutral.ToolUse) else getattr(part, "text", "")
        pieces = [text[at : at + cuts] for at in range(0, len(text), cuts)]
        if isinstance(part, neutral.ToolUse):
            found += [neutral.ToolStarted(part.id, part.name), *map(neutral.ToolArguments, pieces)]
        else:
            found += map(neutral.TextDelta if isinstance(part, neutral.Text) else neutral.ThinkingDelta, pieces)
    reported = [] if reply.usage is None else [neutral.Reported(reply.usage)]
    return [*found, neutral.Ended(reply.stop), *reported, neutral.Finished()]


@given(replies(), st.integers(1, 9))
def test_a_stream_comes_out_as_it_went_in(reply: NeutralReply, cuts: int) -> None:
    deltas = deltas_of(reply, cuts)
    writer, reader = HALF.writer(True), HALF.reader()
    chunks = [chunk for delta in deltas for chunk in writer.write(delta)]
    assert [delta for chunk in chunks for delta in reader.feed(json.loads(json.dumps(chunk)))] == deltas
    assert [chunk["sequence_number"] for chunk in chunks] == list(range(len(chunks)))
    assert HALF.read_reply(chunks[-1]["response"]) == reply
    assert writer.last() == b""
    assert writer.encoded(chunks[0]).startswith(b"event: response.created\ndata: {")


def test_every_item_of_a_stream_begins_and_ends() -> None:
    parts = (neutral.Thinking("so"), neutral.Text("yes"), neutral.ToolUse("1", "read", "{}"))
    writer = HALF.writer(True)
    reply = NeutralReply("r", "m", parts, Stop.TOOL_USE, None)
    kinds = [chunk["type"].removeprefix("response.") for d in deltas_of(reply, 9) for chunk in writer.write(d)]
    assert kinds == [
        "created",
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]


CUSTOM = {"type": "custom", "name": "patch", "description": "edits"}
SPACE = {"type": "namespace", "name": "mcp__g__", "tools": [LOOKUP]}
CALLS = (neutral.ToolUse("1", "patch", '{"input": "*** Begin"}'), neutral.ToolUse("2", "mcp__g__lookup", "{}"))
SPELLED = [
    {"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": "*** Begin"},
    {"type": "function_call", "call_id": "2", "name": "lookup", "namespace": "mcp__g__", "arguments": "{}"},
]


def shown(items: list[Body]) -> list[Body]:
    return [{name: value for name, value in item.items() if name not in ("id", "status")} for item in items]


def test_calls_are_spelled_as_the_client_declared_their_tools() -> None:
    tools = read(tools=[CUSTOM, SPACE]).tools
    reply = NeutralReply("r", "m", CALLS, Stop.TOOL_USE, None, tools)
    assert shown(HALF.write_reply(reply)["output"]) == SPELLED
    writer = HALF.writer(True)
    deltas: list[neutral.Delta] = [neutral.Declared(tools), *deltas_of(reply, 5)]
    chunks = [chunk for delta in deltas for chunk in writer.write(delta)]
    assert shown(chunks[-1]["response"]["output"]) == SPELLED
    assert [chunk["sequence_number"] for chunk in chunks] == list(range(len(chunks)))
    typed = [chunk.get("delta") for chunk in chunks if chunk["type"] == "response.custom_tool_call_input.delta"]
    assert typed == ["*** Begin"]
    # ... and read again as they were said
    again = read(tools=[CUSTOM, SPACE], input=[{"role": "user", "content": "hi"}, *SPELLED])
    assert again.messages[1].parts == CALLS


def test_a_model_that_gives_a_custom_tool_something_else_is_passed_on_as_it_is() -> None:
    tools = read(tools=[CUSTOM]).tools
    reply = NeutralReply("r", "m", (neutral.ToolUse("1", "patch", "not json"),), Stop.TOOL_USE, None, tools)
    assert HALF.write_reply(reply)["output"][0]["input"] == "not json"


def test_a_provider_that_sends_arguments_only_at_the_end_is_read_too() -> None:
    call = {"type": "function_call", "call_id": "1", "name": "read", "arguments": '{"a":1}'}
    reader = HALF.reader()
    assert reader.feed({"type": "response.output_item.added", "item": {**call, "arguments": ""}}) == [
        neutral.ToolStarted("1", "read")
    ]
    assert reader.feed({"type": "response.output_item.done", "item": call}) == [neutral.ToolArguments('{"a":1}')]
    assert reader.feed({"type": "response.in_progress"}) == []
