"""Replies and streams of Anthropic messages from and to the neutral form."""

import json
from collections.abc import Mapping
from typing import Any

from gateway.core.usage import Usage, UsageInvalid, from_anthropic, largest_report
from gateway.core.wire import neutral
from gateway.core.wire.anthropic_neutral_request import arguments_of
from gateway.core.wire.anthropic_reply import error_body as anthropic_error_body
from gateway.core.wire.neutral import NeutralReply, Stop

_STOPS: Mapping[str, Stop] = {
    "end_turn": Stop.END,
    "pause_turn": Stop.END,
    "max_tokens": Stop.LENGTH,
    "model_context_window_exceeded": Stop.LENGTH,
    "tool_use": Stop.TOOL_USE,
    "stop_sequence": Stop.SEQUENCE,
    "refusal": Stop.FILTER,
}
_REASONS: Mapping[Stop, str] = {
    Stop.END: "end_turn",
    Stop.LENGTH: "max_tokens",
    Stop.TOOL_USE: "tool_use",
    Stop.SEQUENCE: "stop_sequence",
    Stop.FILTER: "refusal",
}
_ERROR_TYPES: Mapping[int, str] = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def read_reply(reply: Mapping[str, Any]) -> NeutralReply:
    content = reply.get("content")
    parts: list[neutral.Part] = []
    for block in content if isinstance(content, list) else ():
        match block:
            case {"type": "text", "text": str(text)}:
                parts.append(neutral.Text(text))
            case {"type": "thinking", "thinking": str(text)}:
                parts.append(neutral.Thinking(text))
            case {"type": "tool_use", "id": str(at), "name": str(name), **rest}:
                parts.append(neutral.ToolUse(at, name, json.dumps(rest.get("input") or {}, ensure_ascii=False)))
    stop = _STOPS.get(str(reply.get("stop_reason")), Stop.END)
    return NeutralReply(str(reply.get("id") or ""), str(reply.get("model") or ""), tuple(parts), stop, _usage(reply))


def write_reply(reply: NeutralReply) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for part in reply.parts:
        match part:
            case neutral.Text(text=text):
                content.append({"type": "text", "text": text})
            case neutral.ToolUse():
                content.append(
                    {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments_of(part.arguments)}
                )
            case neutral.Thinking(text=text):
                content.append({"type": "thinking", "thinking": text, "signature": ""})
    return {
        **_message(reply.id, reply.model, usage_object(reply.usage or Usage(0, 0, 0, 0, 0))),
        "content": content,
        "stop_reason": _REASONS[reply.stop],
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Input without what caches have to do with it, as this format counts."""
    return {
        "input_tokens": usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
    }


class MessagesReader:
    """Reads a provider's stream."""

    def __init__(self) -> None:
        self._usage: Usage | None = None

    def rest(self) -> list[neutral.Delta]:
        return []

    def feed(self, chunk: Mapping[str, Any]) -> list[neutral.Delta]:
        match chunk:
            case {"type": "message_start", "message": dict(message)}:
                self._add(message, start=True)
                return [neutral.Started(str(message.get("id") or ""), str(message.get("model") or ""))]
            case {
                "type": "content_block_start",
                "content_block": {"type": "tool_use", "id": str(at), "name": str(name)},
            }:
                return [neutral.ToolStarted(at, name)]
            case {"type": "content_block_start", "content_block": {"type": "text", "text": str(text)}} if text:
                return [neutral.TextDelta(text)]
            case {"type": "content_block_delta", "delta": {"text": str(text)}}:
                return [neutral.TextDelta(text)]
            case {"type": "content_block_delta", "delta": {"thinking": str(text)}}:
                return [neutral.ThinkingDelta(text)]
            case {"type": "content_block_delta", "delta": {"partial_json": str(text)}} if text:
                return [neutral.ToolArguments(text)]
            case {"type": "message_delta", "delta": {"stop_reason": str(reason)}}:
                self._add(chunk)
                ended = neutral.Ended(_STOPS.get(reason, Stop.END))
                return [ended] if self._usage is None else [ended, neutral.Reported(self._usage)]
            case {"type": "message_stop"}:
                return [neutral.Finished()]
            case {"type": "error"}:
                return [neutral.Failed(error_text(chunk))]
        return []

    def _add(self, holder: Mapping[str, Any], *, start: bool = False) -> None:
        self._usage = largest_report(self._usage, _usage(holder, self._usage, start=start))


class MessagesWriter:
    """Writes a stream for a client: one block after the other, the report of usage with the reason of the end."""

    def __init__(self, include_usage: bool) -> None:
        self._index = -1
        self._open = ""
        self._stop = Stop.END
        self._usage = Usage(0, 0, 0, 0, 0)

    def write(self, delta: neutral.Delta) -> list[Mapping[str, Any]]:
        match delta:
            case neutral.Started(id=at, model=model):
                message = {**_message(at, model, usage_object(self._usage)), "content": [], "stop_reason": None}
                return [{"type": "message_start", "message": message}]
            case neutral.TextDelta(text=text):
                return [
                    *self._in("text", {"type": "text", "text": ""}),
                    self._delta({"type": "text_delta", "text": text}),
                ]
            case neutral.ThinkingDelta(text=text):
                block = {"type": "thinking", "thinking": "", "signature": ""}
                return [*self._in("thinking", block), self._delta({"type": "thinking_delta", "thinking": text})]
            case neutral.ToolStarted(id=at, name=name):
                return [*self._close(), *self._in("tool", {"type": "tool_use", "id": at, "name": name, "input": {}})]
            case neutral.ToolArguments(text=text):
                return [self._delta({"type": "input_json_delta", "partial_json": text})]
            case neutral.Ended(stop=stop):
                self._stop = stop
                return self._close()
            case neutral.Reported(usage=usage):
                self._usage = usage
            case neutral.Finished():
                said = {"stop_reason": _REASONS[self._stop], "stop_sequence": None}
                end = {"type": "message_delta", "delta": said, "usage": usage_object(self._usage)}
                return [*self._close(), end, {"type": "message_stop"}]
        return []

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        data = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
        return b"event: " + str(chunk["type"]).encode() + b"\ndata: " + data + b"\n\n"

    def last(self) -> bytes:
        return b""

    def _in(self, kind: str, block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Opens a block of this kind unless one is open."""
        if self._open == kind:
            return []
        closed = self._close()
        self._open = kind
        self._index += 1
        return [*closed, {"type": "content_block_start", "index": self._index, "content_block": block}]

    def _close(self) -> list[Mapping[str, Any]]:
        if not self._open:
            return []
        self._open = ""
        return [{"type": "content_block_stop", "index": self._index}]

    def _delta(self, delta: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}


def error_text(body: Mapping[str, Any]) -> str:
    error = body.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return message if isinstance(message, str) else ""


def error_body(status: int, text: str) -> dict[str, Any]:
    return anthropic_error_body(text, _ERROR_TYPES.get(status, "invalid_request_error"), None, None)


def _message(at: str, model: str, usage: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": at, "type": "message", "role": "assistant", "model": model, "stop_sequence": None, "usage": usage}


def _usage(holder: Mapping[str, Any], earlier: Usage | None = None, *, start: bool = False) -> Usage | None:
    try:
        return from_anthropic(holder.get("usage"), earlier, start=start)
    except UsageInvalid:
        return None
