"""Answers as the real SDKs read them: each gives the text, the calls (name, arguments) and (input, output) tokens."""

import json
from typing import Any, NamedTuple

import anthropic
import botocore.session
import httpx2
import openai
from botocore.eventstream import EventStream
from botocore.parsers import EventStreamJSONParser, create_parser
from google.genai import types


class Heard(NamedTuple):
    text: str
    calls: tuple[tuple[str, Any], ...]
    tokens: tuple[int, int]
    stop: str


def heard(front: str, answered: bytes, *, streamed: bool) -> Heard:
    return _HEARD[front](answered, streamed)


def _transport(answered: bytes, streamed: bool) -> httpx2.Client:
    kind = "text/event-stream" if streamed else "application/json"
    answer = httpx2.Response(200, content=answered, headers={"content-type": kind})
    return httpx2.Client(transport=httpx2.MockTransport(lambda _request: answer))


def _openai(answered: bytes, streamed: bool) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="k", base_url="http://localhost/v1", http_client=_transport(answered, streamed), max_retries=0
    )


def _chat(answered: bytes, streamed: bool) -> Heard:
    client = _openai(answered, streamed)
    asked: Any = [{"role": "user", "content": "x"}]
    if streamed:
        with client.chat.completions.stream(model="m", messages=asked) as stream:
            try:
                found: Any = stream.get_final_completion()
            except openai.LengthFinishReasonError as cut:
                found = cut.completion
    else:
        found = client.chat.completions.create(model="m", messages=asked)
    message, stop = found.choices[0].message, found.choices[0].finish_reason
    calls = tuple((call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ())
    return Heard(message.content or "", calls, (found.usage.prompt_tokens, found.usage.completion_tokens), stop)


def _responses(answered: bytes, streamed: bool) -> Heard:
    client = _openai(answered, streamed)
    if streamed:
        with client.responses.stream(model="m", input="x") as stream:
            last = [event for event in stream if event.type in ("response.completed", "response.incomplete")]
        found: Any = last[0].response
    else:
        found = client.responses.create(model="m", input="x")
    calls = tuple((item.name, json.loads(item.arguments)) for item in found.output if item.type == "function_call")
    return Heard(found.output_text, calls, (found.usage.input_tokens, found.usage.output_tokens), found.status)


def _messages(answered: bytes, streamed: bool) -> Heard:
    client = anthropic.Anthropic(
        api_key="k", base_url="http://localhost", http_client=_transport(answered, streamed), max_retries=0
    )
    asked: Any = [{"role": "user", "content": "x"}]
    if streamed:
        with client.messages.stream(model="m", max_tokens=9, messages=asked) as stream:
            found: Any = stream.get_final_message()
    else:
        found = client.messages.create(model="m", max_tokens=9, messages=asked)
    text = "".join(block.text for block in found.content if block.type == "text")
    calls = tuple((block.name, block.input) for block in found.content if block.type == "tool_use")
    usage = found.usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return Heard(text, calls, (read, usage.output_tokens), found.stop_reason)


def _gemini(answered: bytes, streamed: bool) -> Heard:
    lines = [line[6:] for line in answered.decode().split("\r\n\r\n") if line] if streamed else [answered.decode()]
    chunks = [types.GenerateContentResponse.model_validate_json(line) for line in lines]
    parts = [part for chunk in chunks for part in (chunk.candidates or [])[0].content.parts or ()]  # type: ignore[union-attr]
    text = "".join(part.text for part in parts if part.text and not part.thought)
    calls = tuple((part.function_call.name, part.function_call.args) for part in parts if part.function_call)
    usage, candidates = chunks[-1].usage_metadata, chunks[-1].candidates
    assert usage is not None
    assert candidates is not None
    assert candidates[0].finish_reason is not None
    output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return Heard(text, calls, (usage.prompt_token_count or 0, output), candidates[0].finish_reason.value)  # type: ignore[arg-type]


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> Any:
        return iter([self._data])


_SERVICE = botocore.session.get_session().get_service_model("bedrock-runtime")


def _converse(answered: bytes, streamed: bool) -> Heard:
    if not streamed:
        shape = _SERVICE.operation_model("Converse").output_shape
        reply = {"status_code": 200, "headers": {}, "body": answered}
        found: Any = create_parser("rest-json").parse(reply, shape)
        blocks, usage, stop = found["output"]["message"]["content"], found["usage"], found["stopReason"]
        text = "".join(block.get("text", "") for block in blocks)
        calls = tuple((b["toolUse"]["name"], b["toolUse"]["input"]) for b in blocks if "toolUse" in b)
        return Heard(text, calls, _converse_tokens(usage), stop)
    shape = _SERVICE.operation_model("ConverseStream").output_shape.members["stream"]
    text, stop, tokens = "", "", (0, 0)
    uses: dict[int, list[str]] = {}
    for event in EventStream(_Raw(answered), shape, EventStreamJSONParser(), "ConverseStream"):
        match event:
            case {"contentBlockStart": {"contentBlockIndex": at, "start": {"toolUse": {"name": name}}}}:
                uses[at] = [name, ""]
            case {"contentBlockDelta": {"delta": {"text": said}}}:
                text += said
            case {"contentBlockDelta": {"contentBlockIndex": at, "delta": {"toolUse": {"input": said}}}}:
                uses[at][1] += said
            case {"messageStop": {"stopReason": stop}}:
                pass
            case {"metadata": {"usage": usage}}:
                tokens = _converse_tokens(usage)
    return Heard(text, tuple((name, json.loads(said or "{}")) for name, said in uses.values()), tokens, stop)


def _converse_tokens(usage: Any) -> tuple[int, int]:
    return usage["inputTokens"] + usage["cacheReadInputTokens"] + usage["cacheWriteInputTokens"], usage["outputTokens"]


_HEARD = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic_messages": _messages,
    "gemini": _gemini,
    "bedrock_converse": _converse,
}
