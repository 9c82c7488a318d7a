"""The `simulated` provider: the `Upstream` port with no network behind it, for trying the product and for the demo.

It speaks the OpenAI wire format as the real service does (chat plain and streamed, tools, embeddings, models, errors);
what it says and how it counts stands in simulated_model.py.
"""

import asyncio
import base64
import hashlib
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from gateway.core.upstream import Phase, UpstreamFailed, UpstreamRequest, UpstreamTimeout
from gateway.upstream.replies import oversized_reply
from gateway.upstream.simulated_model import (
    DIMENSIONS_DEFAULT,
    DIMENSIONS_MAX,
    Choice,
    choices_of,
    embedding_of,
    last_user_text,
    pieces_of,
    prompt_tokens_of,
    steering_of,
    tokens_of,
)

_CHOICES_MAX = 128


class SimulatedUpstream:
    """`latency_s` before the first byte, `pace_s` before each event of a stream; `clock`: seconds since the epoch."""

    def __init__(
        self,
        *,
        models: Sequence[str] = ("sim-small", "sim-large"),
        latency_s: float = 0.0,
        pace_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._models = tuple(models)
        self._latency_s = latency_s
        self._pace_s = pace_s
        self._clock = clock

    async def send(self, request: UpstreamRequest) -> "SimulatedReply":
        path = urlsplit(request.url).path
        pace_s, latency_s = self._pace_s, self._latency_s
        try:
            if request.method == "GET" and path.endswith("/models"):
                answer = _whole(200, self._model_list())
            elif request.method == "POST" and path.endswith("/chat/completions"):
                document = _document(request.body, "messages")
                steering = steering_of(last_user_text(document))
                latency_s = latency_s if steering.latency_s is None else steering.latency_s
                pace_s = pace_s if steering.pace_s is None else steering.pace_s
                answer = self._chat(document, request.body, steering.status)
            elif request.method == "POST" and path.endswith("/embeddings"):
                answer = _whole(200, _embeddings(_document(request.body, "input")))
            else:
                answer = _error(404, f"Unknown request URL: {request.method} {path}", "unknown_url")
        except _BadRequest as exc:
            answer = _error(400, str(exc), "invalid_value")
        bound_s = request.timeouts.first_byte_s
        await asyncio.sleep(min(latency_s, bound_s))
        if latency_s > bound_s:
            raise UpstreamTimeout(Phase.FIRST_BYTE, sent=True)
        return SimulatedReply(answer, request, pace_s)

    async def close(self) -> None:
        """Nothing is held."""

    def _chat(self, document: Mapping[str, Any], body: bytes, status: int | None) -> "_Answer":
        if status is not None:
            return _error(status, f"Simulated error {status}.", f"simulated_{status}")
        choices = choices_of(document)
        completion_tokens = sum(choice.tokens for choice in choices)
        prompt_tokens = prompt_tokens_of(document)
        frame = {
            "id": f"chatcmpl-sim-{hashlib.sha256(body).hexdigest()[:24]}",
            "object": "chat.completion",
            "created": int(self._clock()),
            "model": document["model"],
            "system_fingerprint": "fp_simulated",
        }
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        if document.get("stream"):
            options = document.get("stream_options") or {}
            asked = isinstance(options, Mapping) and options.get("include_usage") is True
            return _Answer(200, "text/event-stream", _stream(frame, choices, usage if asked else None))
        answers = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text or None, "refusal": None}
                | ({"tool_calls": _tool_calls(choice, index)} if choice.tool_calls else {}),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        return _whole(200, {**frame, "choices": answers, "usage": usage})

    def _model_list(self) -> dict[str, Any]:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "simulated"} for name in self._models]
        return {"object": "list", "data": listed}


class SimulatedReply:
    """A reply whose events are made while they are read."""

    def __init__(self, answer: "_Answer", request: UpstreamRequest, pace_s: float) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = {"content-type": answer.content_type, "x-request-id": "req_simulated"}
        self._events = answer.events
        self._timeouts = request.timeouts
        self._bytes_left = request.reply_bytes_max
        self._pace_s = pace_s if answer.content_type == "text/event-stream" else 0.0
        self._closed = False

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        deadline = now() + self._timeouts.total_s
        for event in self._events:
            await self._pause(deadline - now())
            if self._closed:
                raise UpstreamFailed("the reply was closed", sent=True)
            self._bytes_left -= len(event)
            if self._bytes_left < 0:
                raise oversized_reply()
            yield event

    async def _pause(self, left_s: float) -> None:
        idle_s = self._timeouts.idle_s
        await asyncio.sleep(min(self._pace_s, idle_s, left_s))
        if self._pace_s > min(idle_s, left_s):
            raise UpstreamTimeout(Phase.IDLE if idle_s < left_s else Phase.TOTAL, sent=True)

    async def close(self) -> None:
        self._closed = True


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    events: Iterator[bytes]


class _BadRequest(Exception):
    """A request that the real service would answer with 400; the text says why."""


def _document(body: bytes, needed: str) -> Mapping[str, Any]:
    """The request, checked as far as the answer depends on it."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _BadRequest("We could not parse the JSON body of your request.") from None
    if not isinstance(document, dict) or not isinstance(document.get("model"), str):
        raise _BadRequest("you must provide a model parameter")
    if not document.get(needed):
        raise _BadRequest(f"Missing required parameter: '{needed}'.")
    if needed == "messages":
        _check_chat(document)
    return document


def _check_chat(document: Mapping[str, Any]) -> None:
    messages = document["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise _BadRequest("Invalid type for 'messages': expected an array of objects.")
    for name, highest in (("n", _CHOICES_MAX), ("max_tokens", None), ("max_completion_tokens", None)):
        value = document.get(name)
        if value is not None and (type(value) is not int or value < 1 or (highest is not None and value > highest)):
            raise _BadRequest(f"Invalid '{name}': expected an integer within its bounds.")
    tools = document.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(_is_tool(tool) for tool in tools)):
        raise _BadRequest("Invalid type for 'tools': expected an array of objects.")


def _is_tool(tool: object) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("function", {}), dict)


def _whole(status: int, document: object) -> _Answer:
    return _Answer(status, "application/json", iter((orjson.dumps(document),)))


def _error(status: int, message: str, code: str) -> _Answer:
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return _whole(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def _tool_calls(choice: Choice, index: int) -> list[dict[str, Any]]:
    calls = []
    for at, (name, arguments) in enumerate(choice.tool_calls):
        digest = hashlib.sha256(f"{index}\n{at}\n{name}\n{arguments}".encode()).hexdigest()
        calls.append(
            {"id": f"call_{digest[:24]}", "type": "function", "function": {"name": name, "arguments": arguments}}
        )
    return calls


def _stream(frame: Mapping[str, Any], choices: Sequence[Choice], usage: Mapping[str, Any] | None) -> Iterator[bytes]:
    """The events of a streamed reply. As with the real service, `usage` stands in every chunk once it was asked for."""
    common = {**frame, "object": "chat.completion.chunk"} | ({} if usage is None else {"usage": None})

    def event(index: int, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _sse({**common, "choices": [choice]})

    for index, choice in enumerate(choices):
        yield event(index, {"role": "assistant", "content": None if choice.tool_calls else "", "refusal": None})
        for piece in pieces_of(choice.text):
            yield event(index, {"content": piece})
        for at, call in enumerate(_tool_calls(choice, index)):
            function = call["function"]
            yield event(index, {"tool_calls": [{"index": at, **call, "function": {**function, "arguments": ""}}]})
            fragment = {"index": at, "function": {"arguments": function["arguments"]}}
            yield event(index, {"tool_calls": [fragment]})
        yield event(index, {}, choice.finish_reason)
    if usage is not None:
        yield _sse({**common, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _sse(document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _embeddings(document: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = document.get("dimensions") or DIMENSIONS_DEFAULT
    if type(dimensions) is not int or not 1 <= dimensions <= DIMENSIONS_MAX:
        raise _BadRequest("Invalid 'dimensions': expected an integer within its bounds.")
    texts, tokens = _embedding_inputs(document["input"])
    vectors = [embedding_of(text, dimensions) for text in texts]
    packed = document.get("encoding_format") == "base64"
    embeddings = [_packed(vector) for vector in vectors] if packed else vectors
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(embeddings)],
        "model": document["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _packed(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats in base64: what the SDK asks for by default."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _embedding_inputs(given: object) -> tuple[list[str], int]:
    """The texts and their tokens. Input is a text, texts, the token numbers of one text, or of several."""
    items = given if isinstance(given, list) and not all(type(item) is int for item in given) else [given]
    texts, tokens = [], 0
    for item in items:
        if isinstance(item, str):
            texts.append(item)
            tokens += tokens_of(item)
        elif isinstance(item, list) and item and all(type(number) is int for number in item):
            texts.append(" ".join(map(str, item)))
            tokens += len(item)
        else:
            raise _BadRequest("'$.input' is invalid.")
    return texts, tokens
