"""Replies and streams of Bedrock's Converse from and to the neutral form."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.usage import Usage, UsageInvalid
from gateway.core.usage_bedrock import from_bedrock
from gateway.core.wire import neutral
from gateway.core.wire.bedrock_neutral_request import read_content, write_block
from gateway.core.wire.bedrock_reply import ERROR_TYPES
from gateway.core.wire.eventstream import event_frame
from gateway.core.wire.neutral import NeutralReply, Stop

_STOPS: Mapping[str, Stop] = MappingProxyType(
    {
        "end_turn": Stop.END,
        "tool_use": Stop.TOOL_USE,
        "max_tokens": Stop.LENGTH,
        "model_context_window_exceeded": Stop.LENGTH,
        "stop_sequence": Stop.SEQUENCE,
        "guardrail_intervened": Stop.FILTER,
        "content_filtered": Stop.FILTER,
    }
)
_REASONS: Mapping[Stop, str] = MappingProxyType(
    {
        Stop.END: "end_turn",
        Stop.TOOL_USE: "tool_use",
        Stop.LENGTH: "max_tokens",
        Stop.SEQUENCE: "stop_sequence",
        Stop.FILTER: "content_filtered",
    }
)
_EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "role": "messageStart",
        "start": "contentBlockStart",
        "delta": "contentBlockDelta",
        "stopReason": "messageStop",
        "usage": "metadata",
    }
)
"""The kind of an event by the member that only it has; what has none of them ends a block."""


def read_reply(reply: Mapping[str, Any]) -> NeutralReply:
    """What of an answer has no neutral form, such as signatures and citations, is not part of what was said."""
    output = reply.get("output")
    message = output.get("message") if isinstance(output, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    blocks = [block for block in content if _is_said(block)] if isinstance(content, list) else []
    stop = _STOPS.get(str(reply.get("stopReason")), Stop.END)
    return NeutralReply("", "", tuple(read_content(blocks)), stop, _usage(reply))


def write_reply(reply: NeutralReply) -> dict[str, Any]:
    content = [
        {"reasoningContent": {"reasoningText": {"text": part.text}}}
        if isinstance(part, neutral.Thinking)
        else write_block(part)
        for part in reply.parts
    ]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _REASONS[reply.stop],
        "usage": usage_object(reply.usage or Usage(0, 0, 0, 0, 0)),
        "metrics": {"latencyMs": 0},
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Input without what caches have to do with it, as this format counts."""
    return {
        "inputTokens": usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokens": usage.cached_input_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }


class ConverseReader:
    """Reads a provider's stream, whose last event tells usage."""

    def rest(self) -> list[neutral.Delta]:
        return []

    def feed(self, chunk: Mapping[str, Any]) -> list[neutral.Delta]:
        match chunk:
            case {"role": _}:
                return [neutral.Started("", "")]
            case {"start": {"toolUse": {"toolUseId": str(at), "name": str(name)}}}:
                return [neutral.ToolStarted(at, name)]
            case {"delta": {"text": str(text)}} if text:
                return [neutral.TextDelta(text)]
            case {"delta": {"reasoningContent": {"text": str(text)}}} if text:
                return [neutral.ThinkingDelta(text)]
            case {"delta": {"toolUse": {"input": str(text)}}} if text:
                return [neutral.ToolArguments(text)]
            case {"stopReason": reason}:
                return [neutral.Ended(_STOPS.get(str(reason), Stop.END))]
            case {"message": str(text)} | {"Message": str(text)}:  # of an exception: no event has it
                return [neutral.Failed(text)]
        usage = _usage(chunk)
        return [] if usage is None else [neutral.Reported(usage)]


class ConverseWriter:
    """Writes a stream for a client: one block after the other, the usage in the last event."""

    def __init__(self, include_usage: bool) -> None:
        self._index = -1
        self._open = ""
        self._stop = Stop.END
        self._usage = Usage(0, 0, 0, 0, 0)

    def write(self, delta: neutral.Delta) -> list[Mapping[str, Any]]:
        match delta:
            case neutral.Started():
                return [{"role": "assistant"}]
            case neutral.TextDelta(text=text):
                return [*self._in("text"), self._delta({"text": text})]
            case neutral.ThinkingDelta(text=text):
                return [*self._in("thinking"), self._delta({"reasoningContent": {"text": text}})]
            case neutral.ToolStarted(id=at, name=name):
                start = {"toolUse": {"toolUseId": at, "name": name}}
                before = [*self._close(), *self._in("tool")]
                return [*before, {"start": start, "contentBlockIndex": self._index}]
            case neutral.ToolArguments(text=text):
                return [self._delta({"toolUse": {"input": text}})]
            case neutral.Ended(stop=stop):
                self._stop = stop
                return self._close()
            case neutral.Reported(usage=usage):
                self._usage = usage
            case neutral.Finished():
                end = {"stopReason": _REASONS[self._stop]}
                return [*self._close(), end, {"usage": usage_object(self._usage), "metrics": {"latencyMs": 0}}]
        return []

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        kind = next((event for member, event in _EVENTS.items() if member in chunk), "contentBlockStop")
        return event_frame(kind, json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode())

    def last(self) -> bytes:
        return b""

    def _in(self, kind: str) -> list[Mapping[str, Any]]:
        """Begins a block of this kind unless one is open; only those of tools have an event for it."""
        if self._open == kind:
            return []
        closed = self._close()
        self._open = kind
        self._index += 1
        return closed

    def _close(self) -> list[Mapping[str, Any]]:
        if not self._open:
            return []
        self._open = ""
        return [{"contentBlockIndex": self._index}]

    def _delta(self, delta: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"delta": delta, "contentBlockIndex": self._index}


def error_text(body: Mapping[str, Any]) -> str:
    message = body.get("message", body.get("Message"))
    return message if isinstance(message, str) else ""


def error_body(status: int, text: str) -> dict[str, Any]:
    return {"__type": ERROR_TYPES.get(status, "ValidationException"), "message": text}


def _is_said(block: Any) -> bool:
    match block:
        case {"text": str()} | {"toolUse": {"toolUseId": str(), "name": str()}}:
            return True
        case {"reasoningContent": {"reasoningText": {"text": str()}}}:
            return True
    return False


def _usage(holder: Mapping[str, Any]) -> Usage | None:
    try:
        return from_bedrock(holder.get("usage"))
    except UsageInvalid:
        return None
