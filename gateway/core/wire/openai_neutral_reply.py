"""Replies and streams of OpenAI chat completions from and to the neutral form."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import Usage, UsageInvalid, from_openai
from gateway.core.wire import neutral
from gateway.core.wire.neutral import NeutralReply, Stop
from gateway.core.wire.openai_neutral_request import read_calls, written_call
from gateway.core.wire.openai_reply import error_body as openai_error_body

_STOPS: Mapping[str, Stop] = {
    "stop": Stop.END,
    "length": Stop.LENGTH,
    "tool_calls": Stop.TOOL_USE,
    "function_call": Stop.TOOL_USE,
    "content_filter": Stop.FILTER,
}
_REASONS: Mapping[Stop, str] = {
    Stop.END: "stop",
    Stop.LENGTH: "length",
    Stop.TOOL_USE: "tool_calls",
    Stop.SEQUENCE: "stop",
    Stop.FILTER: "content_filter",
}
_ERROR_TYPES: Mapping[int, str] = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_CHUNK = "chat.completion.chunk"


def read_reply(reply: Mapping[str, Any]) -> NeutralReply:
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    found = choice.get("message")
    message: Mapping[str, Any] = found if isinstance(found, dict) else {}
    parts: list[neutral.Part] = []
    if thought := _thought(message):
        parts.append(neutral.Thinking(thought))
    parts += [
        neutral.Text(text) for field in ("content", "refusal") if isinstance(text := message.get(field), str) and text
    ]
    calls = list(read_calls(message))
    stop = _stop(choice, called=bool(calls))
    at, model = str(reply.get("id") or ""), str(reply.get("model") or "")
    return NeutralReply(at, model, (*parts, *calls), stop, _usage(reply))


def write_reply(reply: NeutralReply) -> dict[str, Any]:
    text = "".join(part.text for part in reply.parts if isinstance(part, neutral.Text))
    thought = "".join(part.text for part in reply.parts if isinstance(part, neutral.Thinking))
    calls = [written_call(part) for part in reply.parts if isinstance(part, neutral.ToolUse)]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _REASONS[reply.stop]}
    body = {"id": reply.id, "object": "chat.completion", "created": 0, "model": reply.model, "choices": [choice]}
    return body if reply.usage is None else {**body, "usage": usage_object(reply.usage)}


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class ChatReader:
    """Reads a provider's stream. Tool calls come by index, some servers' at once; the neutral form has one after the
    other, so what comes of another than the first is kept until the answer ends."""

    def __init__(self) -> None:
        self._started = False
        self._first: int | None = None
        self._later: dict[int, tuple[neutral.ToolStarted, list[str]]] = {}

    def feed(self, chunk: Mapping[str, Any]) -> list[neutral.Delta]:
        if chunk.get("error"):
            return [neutral.Failed(error_text(chunk))]
        found: list[neutral.Delta] = []
        # Azure's first chunk tells of the prompt's filters alone and has neither id nor model.
        if not self._started and (chunk.get("id") or chunk.get("choices")):
            self._started = True
            found.append(neutral.Started(str(chunk.get("id") or ""), str(chunk.get("model") or "")))
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                found += self._choice(choice)
        if (usage := _usage(chunk)) is not None:
            found.append(neutral.Reported(usage))
        return found

    def rest(self) -> list[neutral.Delta]:
        return list(self._kept())

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[neutral.Delta]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            if thought := _thought(delta):
                yield neutral.ThinkingDelta(thought)
            for field in ("content", "refusal"):
                if isinstance(text := delta.get(field), str) and text:
                    yield neutral.TextDelta(text)
            calls = delta.get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                if isinstance(call, dict):
                    yield from self._call(call)
        if choice.get("finish_reason") is not None:
            yield from self._kept()
            yield neutral.Ended(_stop(choice, called=self._first is not None))

    def _call(self, call: Mapping[str, Any]) -> Iterator[neutral.Delta]:
        found, at = call.get("function"), call.get("index")
        function: Mapping[str, Any] = found if isinstance(found, dict) else {}
        index = at if isinstance(at, int) else 0
        started = neutral.ToolStarted(str(call.get("id") or f"call_{index}"), str(function.get("name") or ""))
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else ""
        if self._first is None:
            self._first = index
            yield started
        if index != self._first:
            self._later.setdefault(index, (started, []))[1].append(text)
        elif text:
            yield neutral.ToolArguments(text)

    def _kept(self) -> Iterator[neutral.Delta]:
        for started, parts in self._later.values():
            yield started
            if arguments := "".join(parts):
                yield neutral.ToolArguments(arguments)
        self._later.clear()


class ChatWriter:
    """Writes a stream for a client; the event of usage only if it asked for one."""

    def __init__(self, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._head: dict[str, Any] = {"id": "", "object": _CHUNK, "created": 0, "model": ""}
        self._tools = 0
        self._bare = False
        self._usage: Usage | None = None

    def write(self, delta: neutral.Delta) -> list[Mapping[str, Any]]:
        """A call of a tool that came without arguments has an empty object of them: clients parse what they get."""
        if isinstance(delta, neutral.ToolStarted | neutral.Ended | neutral.Finished) and self._bare:
            self._bare = False
            return [self._call({"function": {"arguments": "{}"}}), *self._said(delta)]
        return self._said(delta)

    def _said(self, delta: neutral.Delta) -> list[Mapping[str, Any]]:
        match delta:
            case neutral.Started(id=at, model=model):
                self._head |= {"id": at, "model": model}
                return [self._chunk({"role": "assistant", "content": ""})]
            case neutral.TextDelta(text=text):
                return [self._chunk({"content": text})]
            case neutral.ThinkingDelta(text=text):
                return [self._chunk({"reasoning_content": text})]
            case neutral.ToolStarted(id=at, name=name):
                self._tools += 1
                self._bare = True
                function = {"name": name, "arguments": ""}
                return [self._call({"id": at, "type": "function", "function": function})]
            case neutral.ToolArguments(text=text):
                self._bare = False
                return [self._call({"function": {"arguments": text}})]
            case neutral.Ended(stop=stop):
                return [self._chunk({}, _REASONS[stop])]
            case neutral.Reported(usage=usage):
                self._usage = usage
            case neutral.Finished():
                if self._include_usage and self._usage is not None:
                    return [{**self._head, "choices": [], "usage": usage_object(self._usage)}]
        return []

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"

    def last(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return self._chunk({"tool_calls": [{"index": self._tools - 1, **call}]})

    def _chunk(self, delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}


def error_text(body: Mapping[str, Any]) -> str:
    error = body.get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    return message if isinstance(message, str) else ""


def error_body(status: int, text: str) -> dict[str, Any]:
    return openai_error_body(text, _ERROR_TYPES.get(status, "invalid_request_error"), "upstream_refused", None, None)


def _stop(choice: Mapping[str, Any], *, called: bool) -> Stop:
    """OpenAI says `stop` of a call that `tool_choice` asked for by its name, and so do other servers of any call."""
    stop = _STOPS.get(str(choice.get("finish_reason")), Stop.END)
    return Stop.TOOL_USE if called and stop is Stop.END else stop


def _thought(holder: Mapping[str, Any]) -> str:
    """Visible reasoning, under the older name or the newer; servers that send both send the same."""
    found = holder.get("reasoning_content") or holder.get("reasoning")
    return found if isinstance(found, str) else ""


def _usage(holder: Mapping[str, Any]) -> Usage | None:
    try:
        return from_openai(holder.get("usage"))
    except UsageInvalid:
        return None
