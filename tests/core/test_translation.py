"""Translation between wire formats: what goes in comes out, whichever half it passes through."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.usage import Usage
from gateway.core.wire import anthropic_neutral_request, neutral, openai_neutral_request, responses_neutral_request
from gateway.core.wire.answer_shape import Shape, openai_shape
from gateway.core.wire.anthropic_request import read_messages
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.neutral import Choice, Half, Message, NeutralReply, NeutralRequest, Role, Stop
from gateway.core.wire.openai_chat import read_chat
from gateway.pipeline.translate import left_out
from tests.tidy.tree import ROOT

RESPONSES = "openai_responses"
"""It has no stop sequences, and no word for why an answer ended but what stands in it."""
FULL = ("openai_chat", "anthropic_messages", RESPONSES)
"""Formats that can say all that is tried here; the others have tests of their own for what they cannot say."""
HALVES = {name: half for name in FULL if (half := FORMATS[name].half) is not None}
PAIRS = [(front, upstream) for front in HALVES for upstream in HALVES]

words = st.text(min_size=1, max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=8)
arguments = st.dictionaries(names, st.integers() | words, max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False)
)
texts = st.builds(neutral.Text, words)
images = st.just(neutral.Image("image/png", "AAAA")) | st.just(neutral.Image(url="https://example.com/a.png"))
uses = st.builds(neutral.ToolUse, names, names, arguments)
results = st.builds(neutral.ToolResult, names, st.lists(texts, min_size=1, max_size=1).map(tuple))
tools = st.builds(
    neutral.Tool, names, words, st.just({"type": "object", "properties": {}}), st.just({}), strict=st.booleans()
)


def of_user(parts: list[Any]) -> Message:
    # Where a format has results, they come first.
    return Message(Role.USER, tuple(sorted(parts, key=lambda part: not isinstance(part, neutral.ToolResult))))


def of_model(parts: list[Any]) -> Message:
    return Message(Role.ASSISTANT, tuple(sorted(parts, key=lambda part: isinstance(part, neutral.ToolUse))))


def one_text(parts: list[Any]) -> bool:
    """Formats that write the text of a message as one string join several."""
    return sum(isinstance(part, neutral.Text) for part in parts) <= 1


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    turns = draw(st.integers(1, 3))
    found: list[Message] = []
    for _ in range(turns):
        found.append(of_user(draw(st.lists(texts | images | results, min_size=1, max_size=3).filter(one_text))))
        found.append(of_model(draw(st.lists(texts | uses, min_size=1, max_size=3).filter(one_text))))
    return (*found, Message(Role.USER, (draw(texts),)))


requests = st.builds(
    NeutralRequest,
    messages=conversations(),
    system=st.lists(words, max_size=1).map(tuple),
    tools=st.lists(tools, min_size=1, max_size=2, unique_by=lambda tool: tool.name).map(tuple),
    tool_choice=st.sampled_from([None, Choice.AUTO, Choice.ANY, Choice.NONE]),
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0, 1),
    stop=st.lists(words, max_size=2).map(tuple),
    stream=st.booleans(),
    end_user=st.just("") | names,
)


def there(half: Half, request: NeutralRequest) -> NeutralRequest:
    return half.read_request(json.loads(json.dumps(half.write_request(request, "m", 64, "max_tokens"))))


@pytest.mark.parametrize("name", HALVES)
@given(requests)
def test_a_request_is_read_as_it_was_written(name: str, request: NeutralRequest) -> None:
    request = replace(request, stop=()) if name == RESPONSES else request
    assert there(HALVES[name], request) == request


@pytest.mark.parametrize(("front", "upstream"), PAIRS)
@given(requests)
def test_a_request_keeps_its_meaning_from_front_to_upstream(front: str, upstream: str, request: NeutralRequest) -> None:
    request = replace(request, stop=()) if RESPONSES in (front, upstream) else request
    assert there(HALVES[upstream], there(HALVES[front], request)) == request


@given(requests)
def test_what_is_written_is_what_each_front_accepts(request: NeutralRequest) -> None:
    chat = HALVES["openai_chat"].write_request(request, "m", 64, "max_tokens")
    messages = HALVES["anthropic_messages"].write_request(request, "m", 64, "max_tokens")
    assert read_chat(chat).tools == read_messages(messages).tools == tuple(tool.name for tool in request.tools)


ALL = tuple(name for name, wire in FORMATS.items() if wire.half is not None and wire.task is None)
leaves = st.sampled_from([{"type": "string"}, {"type": "integer", "minimum": 1}, {"enum": ["a", 1, None]}])
schemas = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(names, inner, min_size=1, max_size=3).map(lambda found: {"type": "object", "properties": found})
        | inner.map(lambda found: {"type": "array", "items": found})
    ),
    max_leaves=6,
)
shapes = st.builds(Shape, schemas.map(lambda found: {"type": "object", "properties": {"it": found}}))


@pytest.mark.parametrize("front", ALL)
@pytest.mark.parametrize("upstream", ALL)
@given(shapes, words, words, st.booleans())
def test_the_shape_of_an_answer_comes_out_as_it_went_in(
    front: str, upstream: str, shape: Shape, name: str, described: str, strict: bool
) -> None:
    shape = replace(shape, name=name, description=described, strict=strict)
    request = NeutralRequest((Message(Role.USER, (neutral.Text("hi"),)),), shape=shape)
    one, other = FORMATS[front].half, FORMATS[upstream].half
    assert one is not None
    assert other is not None
    found = there(other, there(one, request)).shape
    assert found is not None
    assert shape.schema is not None
    assert {**(found.schema or {}), "description": described} == {**shape.schema, "description": described}
    says_names = {"openai_chat", RESPONSES, "bedrock_converse"}
    if {front, upstream} <= says_names:
        assert (found.name, found.description) == (name, described)
    if {front, upstream} <= {"openai_chat", RESPONSES}:
        assert found.strict is strict


@pytest.mark.parametrize("front", ["openai_chat", RESPONSES])
@pytest.mark.parametrize("upstream", ["openai_chat", RESPONSES])
@given(st.sampled_from(["low", "high", "original"]))
def test_how_closely_an_image_is_looked_at_goes_from_one_of_openais_formats_to_the_other(
    front: str, upstream: str, detail: str
) -> None:
    image = neutral.Image(url="https://example.com/a.png", detail=detail)
    request = NeutralRequest((Message(Role.USER, (image,)),))
    assert there(HALVES[upstream], there(HALVES[front], request)) == request
    assert left_out(FORMATS[upstream], request) == ()
    assert left_out(FORMATS["gemini"], request) == ("detail",)


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}, "$defs": {"b": CLOSED}}, True),
        ({**CLOSED, "required": []}, None),
        ({**CLOSED, "additionalProperties": True}, None),
        ({**CLOSED, "properties": {"a": {"type": ["object", "null"]}}}, None),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"type": "object"}}}}, None),
        ({**CLOSED, "$defs": {"b": {"type": "object", "properties": {"c": {}}}}}, None),
        ({**CLOSED, "properties": {"a": True}}, None),
        ({**CLOSED, "properties": {"a": {"oneOf": [{"type": "string"}]}}}, None),
        ({**CLOSED, "allOf": []}, None),
        ({"properties": {"a": {"type": "string"}}}, None),
        ({**CLOSED, "required": 5}, None),
        ({**CLOSED, "required": [[]]}, None),
        ({**CLOSED, "properties": ["a"]}, None),
        ({"anyOf": 5}, None),
        ({"$defs": "x"}, None),
    ],
)
def test_an_answer_is_held_to_its_shape_where_openai_can(schema: dict[str, Any], strict: bool | None) -> None:
    """Anthropic, Google and Bedrock hold their models to every schema that they take."""
    assert openai_shape(Shape(schema)).get("strict") is strict
    assert openai_shape(Shape(schema, strict=False))["strict"] is False


replies = st.builds(
    NeutralReply,
    id=names,
    model=names,
    parts=st.lists(uses, max_size=2).map(tuple)
    | st.builds(lambda text, use: (text, *use), texts, st.lists(uses, max_size=2)),
    stop=st.sampled_from([Stop.END, Stop.LENGTH, Stop.TOOL_USE, Stop.FILTER]),
    usage=st.builds(Usage, st.integers(50, 99), st.integers(0, 20), st.integers(0, 20), st.integers(0, 99), st.just(0)),
)


def ends_as_told(name: str, reply: NeutralReply) -> bool:
    """Not where the formats of OpenAI tell the end by whether a tool was called."""
    calls = any(isinstance(part, neutral.ToolUse) for part in reply.parts)
    if name == "openai_chat" and reply.stop is Stop.END:
        return not calls
    return name != RESPONSES or reply.stop not in (Stop.END, Stop.TOOL_USE) or (reply.stop is Stop.TOOL_USE) is calls


def normal(parts: tuple[neutral.Part, ...]) -> list[Any]:
    return [json.loads(part.arguments) if isinstance(part, neutral.ToolUse) else part for part in parts]


@pytest.mark.parametrize("name", HALVES)
@given(replies)
def test_a_reply_is_read_as_it_was_written(name: str, reply: NeutralReply) -> None:
    assume(ends_as_told(name, reply))
    half = HALVES[name]
    found = half.read_reply(json.loads(json.dumps(half.write_reply(reply))))
    assert (found.id, found.model, found.stop, found.usage) == (reply.id, reply.model, reply.stop, reply.usage)
    assert normal(found.parts) == normal(reply.parts)


def deltas_of(reply: NeutralReply) -> list[neutral.Delta]:
    found: list[neutral.Delta] = [neutral.Started(reply.id, reply.model)]
    for part in reply.parts:
        if isinstance(part, neutral.Text):
            found += [neutral.TextDelta(letter) for letter in part.text]
        elif isinstance(part, neutral.ToolUse):
            found.append(neutral.ToolStarted(part.id, part.name))
            found += [neutral.ToolArguments(letter) for letter in part.arguments]
    found += [neutral.Ended(reply.stop)]
    return found if reply.usage is None else [*found, neutral.Reported(reply.usage)]


def told(deltas: list[neutral.Delta]) -> NeutralReply:
    """The reply that these deltas make up."""
    at, model, stop, usage, text = "", "", Stop.END, None, ""
    calls: list[list[str]] = []
    for delta in deltas:
        match delta:
            case neutral.Started():
                at, model = delta.id, delta.model
            case neutral.TextDelta():
                text += delta.text
            case neutral.ToolStarted():
                calls.append([delta.id, delta.name, ""])
            case neutral.ToolArguments():
                calls[-1][2] += delta.text
            case neutral.Ended():
                stop = delta.stop
            case neutral.Reported():
                usage = delta.usage
    parts: list[neutral.Part] = [neutral.Text(text)] if text else []
    return NeutralReply(at, model, (*parts, *(neutral.ToolUse(*call) for call in calls)), stop, usage)


@pytest.mark.parametrize("name", HALVES)
@given(replies)
def test_a_stream_says_what_the_whole_reply_says(name: str, reply: NeutralReply) -> None:
    assume(ends_as_told(name, reply))
    half = HALVES[name]
    reader, writer = half.reader(), half.writer(True)
    read = [
        delta
        for said in (*deltas_of(reply), neutral.Finished())
        for chunk in writer.write(said)
        for delta in reader.feed(json.loads(json.dumps(chunk)))
    ]
    assert told(read) == told(deltas_of(reply))


def user(content: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("openai_chat", {**user("hi"), "n": 2}, "n"),
        ("openai_chat", {**user("hi"), "response_format": {"type": "json_schema"}}, "response_format"),
        ("openai_chat", {**user("hi"), "presence_penalty": 0.5}, "presence_penalty"),
        ("openai_chat", {**user("hi"), "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ("openai_chat", {**user("hi"), "tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        ("openai_chat", {**user("hi"), "documents": []}, "documents"),
        ("openai_chat", user([{"type": "input_audio", "input_audio": {}}]), "messages"),
        ("openai_chat", user([{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]), "messages"),
        ("anthropic_messages", {**user("hi"), "new_field": 1}, "new_field"),
        ("anthropic_messages", {**user("hi"), "output_config": {"format": {"type": "json_schema"}}}, "output_config"),
        ("openai_chat", {**user("hi"), "response_format": {"type": "grammar"}}, "response_format"),
        ("openai_chat", {**user("hi"), "tools": [{"type": "function", "function": {"name": "x", "y": 1}}]}, "tools"),
        ("anthropic_messages", {**user("hi"), "tools": [{"name": "x", "y": 1}]}, "tools"),
        ("anthropic_messages", {**user("hi"), "tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools"),
        ("anthropic_messages", {**user("hi"), "tool_choice": {"type": "other"}}, "tool_choice"),
        ("anthropic_messages", user([{"type": "document", "source": {"type": "url", "url": "x"}}]), "messages"),
        ("anthropic_messages", user([{"type": "image", "source": {"type": "file", "file_id": "x"}}]), "messages"),
        ("anthropic_messages", user([{"type": "server_tool_use", "id": "x"}]), "messages"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(name: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        HALVES[name].read_request(body)
    assert refused.value.field == field
    assert f"`{field}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("openai_chat", {"seed": 7, "metadata": {"a": "b"}, "reasoning_effort": "low", "logprobs": False}),
        ("anthropic_messages", {"thinking": {"type": "adaptive"}, "top_k": 3, "context_management": {}}),
        ("openai_chat", {"prompt_cache_key": "k"}),
    ],
)
def test_what_is_left_out_is_told(name: str, fields: dict[str, Any]) -> None:
    found = HALVES[name].read_request({**user("hi"), **fields})
    assert set(found.left_out) == set(fields) - {"logprobs"}


def test_a_failed_result_says_so_in_a_format_without_a_word_for_it() -> None:
    failed = Message(Role.USER, (neutral.ToolResult("t", (neutral.Text("no"),), failed=True),))
    body = HALVES["openai_chat"].write_request(NeutralRequest((failed,)), "m", 9, "max_tokens")
    assert body["messages"] == [{"role": "tool", "tool_call_id": "t", "content": "Error: no"}]


def test_arguments_that_are_no_object_are_handed_on_in_one() -> None:
    for written, expected in (("[1]", {"arguments": [1]}), ("{broken", {"arguments": "{broken"})):
        said = NeutralRequest((Message(Role.ASSISTANT, (neutral.ToolUse("t", "n", written),)),))
        body = HALVES["anthropic_messages"].write_request(said, "m", 9, "")
        assert body["messages"][0]["content"][0]["input"] == expected


@pytest.mark.parametrize("name", HALVES)
def test_the_page_names_what_is_left_out(name: str) -> None:
    page = (ROOT / "docs/translation.md").read_text(encoding="utf-8")
    module = {
        "openai_chat": openai_neutral_request,
        "anthropic_messages": anthropic_neutral_request,
        RESPONSES: responses_neutral_request,
    }[name]
    assert [field for field in module.LEFT_OUT if f"`{field}`" not in page] == []
