"""Replies and streams of Gemini generateContent from and to the neutral form."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.usage import Usage, UsageInvalid
from gateway.core.usage_gemini import from_gemini
from gateway.core.wire import neutral
from gateway.core.wire.anthropic_neutral_request import arguments_of
from gateway.core.wire.gemini_reply import error_body as gemini_error_body
from gateway.core.wire.neutral import NeutralReply, Stop

_STOPS: Mapping[str, Stop] = MappingProxyType(
    {
        "STOP": Stop.END,
        "MAX_TOKENS": Stop.LENGTH,
        "FINISH_REASON_UNSPECIFIED": Stop.END,
    }
)
"""All others say that Google's side held the answer back: a filter, or a call that it could not read."""
_REASONS: Mapping[Stop, str] = MappingProxyType(
    {
        Stop.END: "STOP",
        Stop.LENGTH: "MAX_TOKENS",
        Stop.TOOL_USE: "STOP",
        Stop.SEQUENCE: "STOP",
        Stop.FILTER: "SAFETY",
    }
)


def read_reply(reply: Mapping[str, Any]) -> NeutralReply:
    at, model = str(reply.get("responseId") or ""), str(reply.get("modelVersion") or "")
    candidate = _candidate(reply)
    parts = tuple(_read_parts(candidate, at, 0))
    stop = _stop(candidate, reply, called=any(isinstance(part, neutral.ToolUse) for part in parts))
    return NeutralReply(at, model, parts, stop or Stop.END, _usage(reply))


def write_reply(reply: NeutralReply) -> dict[str, Any]:
    parts = [_written(part) for part in reply.parts if not isinstance(part, neutral.Image | neutral.ToolResult)]
    body = _chunk(reply.id, reply.model, parts, _REASONS[reply.stop])
    return body if reply.usage is None else {**body, "usageMetadata": usage_object(reply.usage)}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Candidates without thoughts, as this format counts."""
    return {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
    }


class GenerateReader:
    """Reads a provider's stream. It has no word for its end; calls come whole."""

    def __init__(self) -> None:
        self._at: str | None = None
        self._calls = 0

    def rest(self) -> list[neutral.Delta]:
        return []

    def feed(self, chunk: Mapping[str, Any]) -> list[neutral.Delta]:
        if chunk.get("error"):
            return [neutral.Failed(error_text(chunk))]
        found: list[neutral.Delta] = []
        if self._at is None:
            self._at = str(chunk.get("responseId") or "")
            found.append(neutral.Started(self._at, str(chunk.get("modelVersion") or "")))
        candidate = _candidate(chunk)
        for part in _read_parts(candidate, self._at, self._calls):
            match part:
                case neutral.ToolUse():
                    self._calls += 1
                    found += [neutral.ToolStarted(part.id, part.name), neutral.ToolArguments(part.arguments)]
                case neutral.Thinking(text=text):
                    found.append(neutral.ThinkingDelta(text))
                case neutral.Text(text=text):
                    found.append(neutral.TextDelta(text))
        stop = _stop(candidate, chunk, called=self._calls > 0)
        if stop is not None:
            found.append(neutral.Ended(stop))
        if (usage := _usage(chunk)) is not None:
            found.append(neutral.Reported(usage))
        return found


class GenerateWriter:
    """Writes a stream for a client: a call of a tool is said when all its arguments are there, the reason of the end
    together with the usage."""

    def __init__(self, include_usage: bool) -> None:
        self._at = self._model = ""
        self._call: list[str] = []
        self._stop = Stop.END
        self._usage: Usage | None = None

    def write(self, delta: neutral.Delta) -> list[Mapping[str, Any]]:
        match delta:
            case neutral.Started(id=at, model=model):
                self._at, self._model = at, model
            case neutral.TextDelta(text=text):
                return [*self._called(), self._said({"text": text})]
            case neutral.ThinkingDelta(text=text):
                return [*self._called(), self._said({"text": text, "thought": True})]
            case neutral.ToolStarted(id=at, name=name):
                called = self._called()
                self._call = [at, name]
                return called
            case neutral.ToolArguments(text=text):
                self._call.append(text)
            case neutral.Ended(stop=stop):
                self._stop = stop
                return self._called()
            case neutral.Reported(usage=usage):
                self._usage = usage
            case neutral.Finished():
                last = _chunk(self._at, self._model, [], _REASONS[self._stop])
                told = {} if self._usage is None else {"usageMetadata": usage_object(self._usage)}
                return [*self._called(), {**last, **told}]
        return []

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\r\n\r\n"

    def last(self) -> bytes:
        return b""

    def _called(self) -> list[Mapping[str, Any]]:
        if not self._call:
            return []
        at, name, *arguments = self._call
        self._call = []
        return [self._said(_written(neutral.ToolUse(at, name, "".join(arguments) or "{}")))]

    def _said(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        return _chunk(self._at, self._model, [part], None)


def error_text(body: Mapping[str, Any]) -> str:
    error = body.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return message if isinstance(message, str) else ""


def error_body(status: int, text: str) -> dict[str, Any]:
    return gemini_error_body(text, status, "upstream_refused", None, None)


def _written(part: neutral.Text | neutral.Thinking | neutral.ToolUse) -> dict[str, Any]:
    match part:
        case neutral.ToolUse():
            return {"functionCall": {"id": part.id, "name": part.name, "args": arguments_of(part.arguments)}}
        case neutral.Thinking(text=text):
            return {"text": text, "thought": True}
    return {"text": part.text}


def _chunk(at: str, model: str, parts: list[Any], reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": model, "responseId": at}


def _candidate(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    candidates = reply.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    return first if isinstance(first, Mapping) else {}


def _read_parts(
    candidate: Mapping[str, Any], at: str, calls_before: int
) -> Iterator[neutral.Text | neutral.Thinking | neutral.ToolUse]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    for part in parts if isinstance(parts, list) else ():
        match part:
            case {"text": str(text), "thought": True} if text:
                yield neutral.Thinking(text)
            case {"text": str(text)} if text:
                yield neutral.Text(text)
            case {"functionCall": {"name": str(name), **rest}}:
                calls_before += 1
                arguments = json.dumps(rest.get("args") or {}, ensure_ascii=False)
                yield neutral.ToolUse(str(rest.get("id") or f"call_{at}_{calls_before}"), name, arguments)


def _stop(candidate: Mapping[str, Any], reply: Mapping[str, Any], *, called: bool) -> Stop | None:
    reason = candidate.get("finishReason")
    if reason is None:
        feedback = reply.get("promptFeedback")
        blocked = isinstance(feedback, Mapping) and feedback.get("blockReason") is not None
        return Stop.FILTER if blocked else None
    stop = _STOPS.get(str(reason), Stop.FILTER)
    return Stop.TOOL_USE if stop is Stop.END and called else stop


def _usage(holder: Mapping[str, Any]) -> Usage | None:
    try:
        return from_gemini(holder.get("usageMetadata"))
    except UsageInvalid:
        return None
