"""The simulated provider, read with the types of the real SDK."""

import asyncio
import base64
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.upstream import (
    Phase,
    Timeouts,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamRequest,
    UpstreamTimeout,
)
from gateway.ports import Upstream
from gateway.upstream.simulated import SimulatedUpstream

LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}, "lang": {"enum": ["de", "en"]}},
            "required": ["query", "lang"],
        },
    },
}
SAVE = {"type": "function", "function": {"name": "files__save"}}


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def request(
    path: str, document: object = None, *, timeouts: Timeouts | None = None, reply_bytes_max: int = 10**7
) -> UpstreamRequest:
    body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
    method = "GET" if document is None else "POST"
    return UpstreamRequest(method, f"https://sim/v1{path}", (), body, timeouts or Timeouts(), reply_bytes_max)


async def post(document: object, path: str = "/chat/completions", upstream: Upstream | None = None) -> tuple[int, Any]:
    reply = await (upstream or SimulatedUpstream(clock=lambda: 1_700_000_000.0)).send(request(path, document))
    return reply.status, json.loads(await reply.read())


async def chat(text: str, **fields: object) -> ChatCompletion:
    document = {"model": "sim-small", "messages": user(text), **fields}
    status, reply = await post(document)
    assert status == 200, reply
    return ChatCompletion.model_validate(reply)


async def streamed(text: str, **fields: object) -> list[ChatCompletionChunk]:
    document = {"model": "sim-small", "messages": user(text), "stream": True, **fields}
    reply = await SimulatedUpstream().send(request("/chat/completions", document))
    assert reply.headers["content-type"] == "text/event-stream"
    events = (await reply.read()).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [ChatCompletionChunk.model_validate_json(event.removeprefix("data: ")) for event in events[:-2]]


async def test_the_same_request_gets_the_same_answer() -> None:
    assert await chat("hello") == await chat("hello")
    assert (await chat("hello")).choices[0].message.content != (await chat("hello!")).choices[0].message.content


async def test_usage_follows_the_documented_rule() -> None:
    reply = await chat("12345")
    assert reply.usage is not None
    content = reply.choices[0].message.content or ""
    assert reply.usage.prompt_tokens == 4 + 2
    assert reply.usage.completion_tokens == math.ceil(len(content) / 4)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_images_and_tools_are_counted() -> None:
    parts = [
        {"type": "text", "text": "1234"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    document = {"model": "m", "messages": [{"role": "user", "content": parts}], "tools": [SAVE]}
    _, reply = await post(document)
    assert reply["usage"]["prompt_tokens"] == 4 + 1 + 85 + math.ceil(len(json.dumps([SAVE], separators=(",", ":"))) / 4)


@pytest.mark.parametrize("words", [0, 1, 12, 200])
async def test_the_length_of_an_answer_can_be_asked_for(words: int) -> None:
    content = (await chat(f"write [words:{words}] please")).choices[0].message.content or ""
    assert len(content.split()) == words


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_cap_is_obeyed_and_said(field: str) -> None:
    reply = await chat("[words:200]", **{field: 7})
    assert reply.usage is not None
    assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (7, "length")
    assert (await chat("[words:2]", **{field: 700})).choices[0].finish_reason == "stop"


async def test_several_choices_differ_and_are_all_paid() -> None:
    reply = await chat("hello", n=3)
    assert reply.usage is not None
    contents = [choice.message.content or "" for choice in reply.choices]
    assert len(set(contents)) == 3
    assert reply.usage.completion_tokens == sum(math.ceil(len(content) / 4) for content in contents)


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"max_tokens": 9}, {"tools": [LOOKUP]}])
async def test_a_stream_says_the_same_as_the_plain_reply(fields: Mapping[str, Any]) -> None:
    text = "call lookup" if "tools" in fields else "hello [words:40]"
    plain = await chat(text, **fields)
    chunks = await streamed(text, stream_options={"include_usage": True}, **fields)
    usage = chunks.pop()
    assert (usage.choices, usage.usage) == ([], plain.usage)
    assert all(chunk.usage is None for chunk in chunks)
    for choice in plain.choices:
        parts = [part for chunk in chunks for part in chunk.choices if part.index == choice.index]
        assert "".join(part.delta.content or "" for part in parts) == (choice.message.content or "")
        assert [part.finish_reason for part in parts if part.finish_reason] == [choice.finish_reason]
        calls = [call for part in parts for call in part.delta.tool_calls or []]
        arguments = "".join(call.function.arguments or "" for call in calls if call.function)
        said = [call.function.arguments for call in choice.message.tool_calls or [] if call.type == "function"]
        assert arguments == "".join(said)


async def test_no_usage_is_streamed_unless_asked_for() -> None:
    assert all("usage" not in chunk.model_fields_set for chunk in await streamed("hello"))


TOOL_CASES: list[tuple[str, dict[str, Any], list[tuple[str, dict[str, Any]]]]] = [
    ("please call lookup", {}, [("lookup", {"query": "example", "lang": "de"})]),
    ('call lookup {"query": "x}", "lang": "en"} now', {}, [("lookup", {"query": "x}", "lang": "en"})]),
    ("call files__save.", {}, [("files__save", {})]),
    ("call lookup and call files__save", {}, [("lookup", {"query": "example", "lang": "de"}), ("files__save", {})]),
    (
        "call lookup and call files__save",
        {"parallel_tool_calls": False},
        [("lookup", {"query": "example", "lang": "de"})],
    ),
    ("call unknown", {}, []),
    ("lookup", {}, []),
    ("call lookup", {"tool_choice": "none"}, []),
    ("hello", {"tool_choice": "required"}, [("lookup", {"query": "example", "lang": "de"})]),
    ("hello", {"tool_choice": {"type": "function", "function": {"name": "files__save"}}}, [("files__save", {})]),
]


@pytest.mark.parametrize(("text", "fields", "expected"), TOOL_CASES)
async def test_a_named_tool_is_called(
    text: str, fields: dict[str, Any], expected: list[tuple[str, dict[str, Any]]]
) -> None:
    choice = (await chat(text, tools=[LOOKUP, SAVE], **fields)).choices[0]
    calls = [call.function for call in choice.message.tool_calls or [] if call.type == "function"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == expected
    assert choice.finish_reason == ("tool_calls" if expected else "stop")


@pytest.mark.parametrize(("text", "again"), [("call lookup", False), ("call lookup [loop]", True)])
async def test_a_tool_result_is_answered_unless_it_loops(text: str, again: bool) -> None:
    first = (await chat(text, tools=[LOOKUP])).choices[0].message.model_dump()
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "found"}
    document = {"model": "m", "messages": [*user(text), first, result], "tools": [LOOKUP]}
    _, reply = await post(document)
    assert (reply["choices"][0]["finish_reason"] == "tool_calls") is again


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_are_unit_vectors(encoding: str) -> None:
    document = {"model": "m", "input": ["a red car", "the red car", ""], "dimensions": 64, "encoding_format": encoding}
    status, reply = await post(document, "/embeddings")
    assert status == 200
    assert reply["usage"] == {"prompt_tokens": 3 + 3 + 0, "total_tokens": 6}
    raw = [row["embedding"] for row in reply["data"]]
    vectors = [struct.unpack("<64f", base64.b64decode(each)) if encoding == "base64" else each for each in raw]
    if encoding == "float":
        CreateEmbeddingResponse.model_validate(reply)
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=1e-6)
    assert sum(a * b for a, b in zip(vectors[0], vectors[1], strict=True)) > 0.3
    assert (await post(document, "/embeddings"))[1] == reply


@pytest.mark.parametrize(("given", "rows", "tokens"), [("abcd", 1, 1), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)])
async def test_embeddings_take_every_form_of_input(given: object, rows: int, tokens: int) -> None:
    _, reply = await post({"model": "m", "input": given}, "/embeddings")
    assert (len(reply["data"]), reply["usage"]["total_tokens"]) == (rows, tokens)


async def test_models_are_listed() -> None:
    reply = await SimulatedUpstream(models=("a", "b")).send(request("/models"))
    listed = json.loads(await reply.read())["data"]
    assert [Model.model_validate(row).id for row in listed] == ["a", "b"]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (b"{", "/chat/completions"),
        (b"[]", "/chat/completions"),
        ({"messages": user("x")}, "/chat/completions"),
        ({"model": "m"}, "/chat/completions"),
        ({"model": "m", "messages": []}, "/chat/completions"),
        ({"model": "m", "messages": ["x"]}, "/chat/completions"),
        ({"model": "m", "messages": user("x"), "n": 0}, "/chat/completions"),
        ({"model": "m", "messages": user("x"), "n": 129}, "/chat/completions"),
        ({"model": "m", "messages": user("x"), "max_tokens": True}, "/chat/completions"),
        ({"model": "m", "messages": user("x"), "tools": {}}, "/chat/completions"),
        ({"model": "m", "input": {}}, "/embeddings"),
        ({"model": "m", "input": [[]]}, "/embeddings"),
        ({"model": "m", "input": "x", "dimensions": 10**9}, "/embeddings"),
    ],
)
async def test_a_bad_request_is_told_so(document: object, path: str) -> None:
    status, reply = await post(document, path)
    assert status == 400
    assert reply["error"]["type"] == "invalid_request_error"


async def test_an_unknown_path_is_not_found() -> None:
    status, reply = await post({"model": "m"}, "/images/generations")
    assert (status, reply["error"]["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit_error"), (503, "server_error"), (400, "invalid_request_error")]
)
async def test_an_error_can_be_asked_for(status: int, kind: str) -> None:
    got, reply = await post({"model": "m", "messages": user(f"[status:{status}]"), "stream": True})
    assert (got, reply["error"]["type"]) == (status, kind)


async def test_latency_beyond_the_bound_is_a_timeout() -> None:
    document = {"model": "m", "messages": user("[latency:30]")}
    with pytest.raises(UpstreamTimeout) as caught:
        await SimulatedUpstream().send(request("/chat/completions", document, timeouts=Timeouts(first_byte_s=0.01)))
    assert (caught.value.phase, caught.value.sent) == (Phase.FIRST_BYTE, True)


@pytest.mark.parametrize(
    ("timeouts", "phase"), [(Timeouts(idle_s=0.01), Phase.IDLE), (Timeouts(total_s=0.01), Phase.TOTAL)]
)
async def test_pace_beyond_a_bound_is_a_timeout(timeouts: Timeouts, phase: Phase) -> None:
    document = {"model": "m", "messages": user("hello"), "stream": True}
    reply = await SimulatedUpstream(pace_s=30).send(request("/chat/completions", document, timeouts=timeouts))
    with pytest.raises(UpstreamTimeout) as caught:
        await reply.read()
    assert caught.value.phase is phase


async def test_a_reply_has_a_size_limit() -> None:
    document = {"model": "m", "messages": user("[words:1000]")}
    reply = await SimulatedUpstream().send(request("/chat/completions", document, reply_bytes_max=1000))
    with pytest.raises(UpstreamInvalid):
        await reply.read()


async def test_a_closed_stream_ends() -> None:
    document = {"model": "m", "messages": user("[words:1000]"), "stream": True}
    reply = await SimulatedUpstream().send(request("/chat/completions", document))
    chunks = reply.chunks()
    await anext(chunks)
    await reply.close()
    with pytest.raises(UpstreamFailed):
        await anext(chunks)


async def test_a_long_stream_lets_others_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    chunks = await streamed("[words:500]")
    task.cancel()
    assert turns > len(chunks) // 2
