"""Bedrock on the way back: usage, output and tool calls of a Converse reply or of the frames of a stream; errors.

Which event a frame holds is told by its header and by the members of its payload; the payload suffices. The last frame
is `metadata` and has the usage. Errors have their type in a header (`x-amzn-errortype`).
"""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.usage import Usage, UsageInvalid
from gateway.core.usage_bedrock import from_bedrock
from gateway.core.wire.eventstream import exception_frame
from gateway.core.wire.metering import TextMeter

ERROR_TYPES: Mapping[int, str] = MappingProxyType(
    {
        400: "ValidationException",
        402: "ServiceQuotaExceededException",
        403: "AccessDeniedException",
        404: "ResourceNotFoundException",
        409: "ConflictException",
        413: "ValidationException",
        422: "ValidationException",
        429: "ThrottlingException",
        500: "InternalServerException",
        502: "InternalServerException",
        503: "ServiceUnavailableException",
        504: "ModelTimeoutException",
    }
)
"""Amazon's word for each HTTP status that we answer with."""


class ConverseMeter(TextMeter):
    """Feed it the payload of every frame, in order."""

    __slots__ = ("_calls", "_stopped")

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, list[str]] = {}
        self._stopped = False

    @property
    def finished(self) -> bool:
        return self._stopped

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        at = index if isinstance(index := chunk.get("contentBlockIndex"), int) else 0
        if isinstance(delta := chunk.get("delta"), Mapping):
            self._delta(at, delta)
        elif isinstance(start := chunk.get("start"), Mapping):
            use = start.get("toolUse")
            if isinstance(use, Mapping) and isinstance(name := use.get("name"), str):
                self._calls[at] = [name]
                self._seen(name)
        if chunk.get("stopReason") is not None:
            self._stopped = True
        self._report(chunk.get("usage"))
        return False

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        for name, *arguments in self._calls.values():
            yield name, "".join(arguments) or "{}"

    def _delta(self, at: int, delta: Mapping[str, Any]) -> None:
        if isinstance(text := delta.get("text"), str):
            self._seen(text)
        thought = delta.get("reasoningContent")
        if isinstance(thought, Mapping) and isinstance(text := thought.get("text"), str):
            self._seen(text)
        use = delta.get("toolUse")
        if isinstance(use, Mapping) and isinstance(part := use.get("input"), str):
            self._seen(part)
            if at in self._calls:
                self._calls[at].append(part)

    def _seen(self, text: str) -> None:
        if text:
            self.events += 1
            self._text(text)

    def _report(self, report: Any) -> None:
        if self._last_report(from_bedrock, report) is not None:
            self._reported_events = self.events


def reply_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, bool]:
    """(usage, bad) of a whole reply; `bad` = there is a report and it cannot be true."""
    try:
        return from_bedrock(reply.get("usage")), False
    except UsageInvalid:
        return None, True


def reply_text(reply: Mapping[str, Any]) -> str:
    """All output text of a whole reply, for counting where its usage is missing."""
    found: list[str] = []
    for block in _blocks(reply):
        reasoning = block.get("reasoningContent")
        thought = reasoning.get("reasoningText") if isinstance(reasoning, Mapping) else None
        holders = (block, thought if isinstance(thought, Mapping) else {})
        found += [text for holder in holders if isinstance(text := holder.get("text"), str)]
    return "".join([*found, *(text for call in reply_calls(reply) for text in call)])


def reply_calls(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, arguments) of the tool calls of a reply."""
    uses = [use for block in _blocks(reply) if isinstance(use := block.get("toolUse"), Mapping)]
    return [
        (name, json.dumps(use.get("input") or {}, ensure_ascii=False))
        for use in uses
        if isinstance(name := use.get("name"), str)
    ]


def reply_tier(reply: Mapping[str, Any]) -> str | None:
    """None: tiers other than the default one are refused, so a reply cannot have been served by another."""
    return None


def error_body(message: str, code: str, machine: Mapping[str, Any] | None) -> dict[str, Any]:
    """The body of an error; its type goes into a header. Beside what SDKs read, our machine-readable part."""
    error: dict[str, Any] = {"code": code}
    if machine is not None:
        error["comptroller"] = machine
    return {"message": message, "error": error}


class ExceptionEnd:
    """Ends a stream of frames with an exception that SDKs raise with its text and do not try again."""

    watching = False

    def saw(self, chunk: Mapping[str, Any]) -> None:
        """It needs nothing of what came before."""

    def usage(self, usage: Usage) -> bytes:
        """Nobody can ask for an event of usage in this format."""
        return b""

    def error(self, message: str, code: str, machine: Mapping[str, Any]) -> bytes:
        body = error_body(message, code, {**machine, "code": code})
        return exception_frame("validationException", json.dumps(body, separators=(",", ":")).encode())


def _blocks(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    output = reply.get("output")
    message = output.get("message") if isinstance(output, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            yield block
