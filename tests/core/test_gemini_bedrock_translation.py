"""Gemini and Bedrock from and to the neutral form: what goes in comes out, and what cannot be said is named."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sse import SseDecoder
from gateway.core.usage import Usage
from gateway.core.wire import bedrock_neutral, gemini_neutral, neutral
from gateway.core.wire.bedrock_request import read_converse
from gateway.core.wire.eventstream import FrameDecoder
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.gemini_request import read_generate
from gateway.core.wire.neutral import Choice, Half, Message, NeutralReply, NeutralRequest, Role, Stop

Body = dict[str, Any]
GEMINI, CONVERSE, INVOKE = gemini_neutral.HALF, bedrock_neutral.CONVERSE, bedrock_neutral.INVOKE
BOTH = pytest.mark.parametrize("half", [GEMINI, CONVERSE], ids=["gemini", "converse"])

words = st.text(min_size=1, max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=8)
texts = st.builds(neutral.Text, words)
images = st.just(neutral.Image("image/png", "AAAA"))
arguments = st.dictionaries(names, st.integers() | words, max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)
tools = st.builds(neutral.Tool, names, words, st.just({"type": "object", "properties": {"q": {"type": "string"}}}))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """A person, then rounds of a model that says something and calls tools, and their results."""
    found = [Message(Role.USER, tuple(draw(st.lists(texts | images, min_size=1, max_size=3))))]
    for turn in range(draw(st.integers(0, 3))):
        calls = [
            neutral.ToolUse(f"t{turn}_{number}", draw(names), draw(arguments))
            for number in range(draw(st.integers(0, 2)))
        ]
        found.append(Message(Role.ASSISTANT, (draw(texts), *calls)))
        results = [neutral.ToolResult(call.id, (draw(texts),), draw(st.booleans())) for call in calls]
        found.append(Message(Role.USER, (*results, draw(texts))))
    return tuple(found)


requests = st.builds(
    NeutralRequest,
    messages=conversations(),
    system=st.lists(words, max_size=2).map(tuple),
    tools=st.lists(tools, min_size=1, max_size=2, unique_by=lambda tool: tool.name).map(tuple),
    tool_choice=st.sampled_from([None, Choice.AUTO, Choice.ANY]),
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0, 1),
    stop=st.lists(words, max_size=2).map(tuple),
)


def sent(half: Half, request: NeutralRequest) -> Body:
    body: Body = json.loads(json.dumps(half.write_request(request, "gemini-2.5-pro", 64, "")))
    return body


@BOTH
@given(requests)
def test_a_request_is_read_as_it_was_written(half: Half, request: NeutralRequest) -> None:
    assert half.read_request(sent(half, request)) == request


@given(requests)
def test_what_is_written_is_what_the_format_accepts(request: NeutralRequest) -> None:
    declared = tuple(tool.name for tool in request.tools)
    generate = read_generate({**sent(GEMINI, request), "model": "m", "stream": False})
    converse = read_converse({**sent(CONVERSE, request), "model": "m", "stream": False})
    assert generate.tools == converse.tools == declared
    assert generate.client_max_tokens == converse.client_max_tokens == 64


calls = st.builds(neutral.ToolUse, names, names, arguments)
replies = st.builds(
    NeutralReply,
    id=names,
    model=names,
    parts=st.tuples(texts, *[calls] * 2) | st.tuples(texts),
    stop=st.sampled_from([Stop.END, Stop.LENGTH, Stop.FILTER]),
    usage=st.builds(Usage, st.integers(20, 99), st.integers(0, 20), st.just(0), st.integers(0, 99), st.just(0)),
)


def expected(half: Half, reply: NeutralReply) -> NeutralReply:
    """Converse has no place for id and model; where a tool is called, Gemini's STOP says so."""
    called = any(isinstance(part, neutral.ToolUse) for part in reply.parts)
    if half is GEMINI:
        return NeutralReply(
            reply.id,
            reply.model,
            reply.parts,
            Stop.TOOL_USE if called and reply.stop is Stop.END else reply.stop,
            reply.usage,
        )
    return NeutralReply("", "", reply.parts, reply.stop, reply.usage)


def normal(parts: tuple[neutral.Part, ...]) -> list[Any]:
    return [json.loads(part.arguments) if isinstance(part, neutral.ToolUse) else part for part in parts]


@BOTH
@given(replies)
def test_a_reply_is_read_as_it_was_written(half: Half, reply: NeutralReply) -> None:
    found, wanted = half.read_reply(json.loads(json.dumps(half.write_reply(reply)))), expected(half, reply)
    assert (found.id, found.model, found.stop, found.usage) == (wanted.id, wanted.model, wanted.stop, wanted.usage)
    assert normal(found.parts) == normal(wanted.parts)


def deltas_of(reply: NeutralReply) -> list[neutral.Delta]:
    found: list[neutral.Delta] = [neutral.Started(reply.id, reply.model)]
    for part in reply.parts:
        match part:
            case neutral.Text(text=text):
                found += [neutral.TextDelta(letter) for letter in text]
            case neutral.ToolUse():
                found.append(neutral.ToolStarted(part.id, part.name))
                found += [neutral.ToolArguments(letter) for letter in part.arguments]
    assert reply.usage is not None
    return [*found, neutral.Ended(reply.stop), neutral.Reported(reply.usage), neutral.Finished()]


def told(deltas: list[neutral.Delta]) -> tuple[Any, ...]:
    """Text, calls, end and usage that these deltas make up."""
    text, stop, usage = "", None, None
    called: list[list[str]] = []
    for delta in deltas:
        match delta:
            case neutral.TextDelta():
                text += delta.text
            case neutral.ToolStarted():
                called.append([delta.id, delta.name, ""])
            case neutral.ToolArguments():
                called[-1][2] += delta.text
            case neutral.Ended():
                stop = delta.stop
            case neutral.Reported():
                usage = delta.usage
    return text, [(at, name, json.loads(given)) for at, name, given in called], stop, usage


def events(half: Half, stream: bytes) -> list[Body]:
    """The payloads of a stream as a client's decoder gives them."""
    frames = SseDecoder().feed(stream) if half is GEMINI else FrameDecoder().feed(stream)
    payloads = [json.loads(frame.data) for frame in frames]
    return [json.loads(base64.b64decode(each["bytes"])) for each in payloads] if half is INVOKE else payloads


@pytest.mark.parametrize("half", [GEMINI, CONVERSE, INVOKE], ids=["gemini", "converse", "invoke"])
@given(replies)
def test_a_stream_says_what_the_whole_reply_says(half: Half, reply: NeutralReply) -> None:
    reader, writer = half.reader(), half.writer(False)
    stream = b"".join(writer.encoded(chunk) for delta in deltas_of(reply) for chunk in writer.write(delta))
    read = [delta for event in events(half, stream + writer.last()) for delta in reader.feed(event)]
    wanted = NeutralReply(
        "", "", reply.parts, expected(GEMINI if half is GEMINI else CONVERSE, reply).stop, reply.usage
    )
    assert told(read) == told(deltas_of(wanted))


def asked(*parts: neutral.Part, **fields: Any) -> NeutralRequest:
    return NeutralRequest((Message(Role.USER, parts or (neutral.Text("hi"),)),), **fields)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked(neutral.Image(url="https://example.com/a.png")), "messages"),
        (asked(parallel=False), "parallel"),
    ],
)
@BOTH
def test_what_the_provider_has_no_word_for_is_refused(half: Half, request_: NeutralRequest, field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        half.write_request(request_, "m", 9, "")
    assert refused.value.field == field


def generate(part: Body | None = None, **fields: Any) -> Body:
    return {"model": "m", "contents": [{"role": "user", "parts": [part or {"text": "hi"}]}], **fields}


def converse(block: Body | None = None, **fields: Any) -> Body:
    return {"model": "m", "messages": [{"role": "user", "content": [block or {"text": "hi"}]}], **fields}


@pytest.mark.parametrize(
    ("half", "body", "field"),
    [
        (GEMINI, generate(cachedContent="x"), "cachedContent"),
        (GEMINI, generate(generationConfig={"responseMimeType": "text/x.enum"}), "responseMimeType"),
        (GEMINI, generate(generationConfig={"responseSchema": {"type": "STRING"}}), "responseMimeType"),
        (GEMINI, generate(generationConfig={"candidateCount": 2}), "candidateCount"),
        (GEMINI, generate(tools=[{"codeExecution": {}}]), "tools"),
        (GEMINI, generate({"fileData": {"fileUri": "x"}}), "contents"),
        (GEMINI, generate({"functionResponse": {"name": "never_called", "response": {}}}), "contents"),
        (GEMINI, generate(unknown=1), "unknown"),
        (CONVERSE, converse(unknown=1), "unknown"),
        (CONVERSE, converse(inferenceConfig={"unknown": 1}), "unknown"),
        (CONVERSE, converse({"video": {"format": "mp4"}}), "messages"),
        (CONVERSE, converse({"image": {"format": "png", "source": {"s3Location": {}}}}), "messages"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(half: Half, body: Body, field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        half.read_request(body)
    assert refused.value.field == field


def test_what_is_left_out_is_told() -> None:
    config = {"thinking_config": {"thinking_budget": 1}, "topK": 3, "candidateCount": 1}
    found = GEMINI.read_request(generate(safetySettings=[], generationConfig=config))
    assert found.left_out == ("safetySettings", "thinkingConfig", "topK")
    more: Body = {"additionalModelRequestFields": {"thinking": {}}, "requestMetadata": {"a": "b"}}
    assert set(CONVERSE.read_request(converse(**more)).left_out) == set(more)


def test_calls_without_ids_are_numbered_and_their_answers_found_by_name() -> None:
    call = {"functionCall": {"name": "look", "args": {"q": 1}}}
    answer = {"functionResponse": {"name": "look", "response": {"error": "no"}}}
    body = {"contents": [{"role": "model", "parts": [call, call]}, {"role": "user", "parts": [answer, answer]}]}
    model, user = GEMINI.read_request(body).messages
    assert [part.id for part in model.parts if isinstance(part, neutral.ToolUse)] == ["call_1", "call_2"]
    assert [part.id for part in user.parts if isinstance(part, neutral.ToolResult)] == ["call_1", "call_2"]
    assert all(part.failed for part in user.parts if isinstance(part, neutral.ToolResult))


def test_googles_schema_becomes_json_schema() -> None:
    parameters = {"type": "OBJECT", "properties": {"q": {"type": "STRING", "nullable": True, "enum": ["A", "B"]}}}
    declared = [{"functionDeclarations": [{"name": "look", "parameters": parameters}]}]
    (tool,) = GEMINI.read_request(generate(tools=declared)).tools
    assert tool.schema == {"type": "object", "properties": {"q": {"type": ["string", "null"], "enum": ["A", "B"]}}}


@pytest.mark.parametrize(("model", "signed"), [("gemini-2.5-pro", False), ("gemini-3.8-flash", True)])
def test_a_call_of_another_familys_model_says_that_it_has_no_signature(model: str, *, signed: bool) -> None:
    called = Message(Role.ASSISTANT, (neutral.ToolUse("t", "look", "{}"),))
    body = GEMINI.write_request(NeutralRequest((called,)), model, 9, "")
    assert ("thoughtSignature" in body["contents"][0]["parts"][0]) is signed


def test_thoughts_are_told_apart_and_not_sent_back() -> None:
    thought = {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "yes"}]}}]}
    assert GEMINI.read_reply(thought).parts == (neutral.Thinking("hm"), neutral.Text("yes"))
    blocks = [{"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"text": "yes"}]
    reply = {"output": {"message": {"content": blocks}}, "stopReason": "end_turn"}
    assert CONVERSE.read_reply(reply).parts == (neutral.Thinking("hm"), neutral.Text("yes"))
    for half in (GEMINI, CONVERSE):
        said = Message(Role.ASSISTANT, (neutral.Thinking("hm"), neutral.Text("yes")))
        assert "hm" not in json.dumps(half.write_request(NeutralRequest((said,)), "m", 9, ""))


def test_invoke_is_anthropics_in_an_envelope() -> None:
    body = {"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["x"], "max_tokens": 9}
    request = INVOKE.read_request(
        {**body, "model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    )
    assert request.messages == (Message(Role.USER, (neutral.Text("hi"),)),)
    written = INVOKE.write_request(request, "m", 9, "")
    assert written["anthropic_version"] == "bedrock-2023-05-31"
    assert not {"model", "stream"} & written.keys()


@pytest.mark.parametrize(
    ("half", "body"), [(GEMINI, {"error": {"message": "too long"}}), (CONVERSE, {"message": "too long"})]
)
def test_a_providers_refusal_keeps_its_words(half: Half, body: Body) -> None:
    assert (
        half.error_text(body) == half.error_text(json.loads(json.dumps(half.error_body(400, "too long")))) == "too long"
    )
    assert half.error_text({}) == half.error_text({"error": [1], "message": 5}) == ""


@pytest.mark.parametrize("reason", ["SAFETY", "MALFORMED_FUNCTION_CALL", "OTHER", "LANGUAGE"])
def test_an_answer_that_google_held_back_is_not_complete(reason: str) -> None:
    assert GEMINI.read_reply({"candidates": [{"finishReason": reason}]}).stop is Stop.FILTER
