"""Gemini generateContent on the way back: usage, output and tool calls of a reply or of the chunks of a stream; errors.

Every chunk repeats `usageMetadata`, cumulative: the last one counts. A stream has no event for its end: it is complete
when each candidate has its finish reason, or when the prompt was blocked.
"""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.media import Media
from gateway.core.usage import Usage, UsageInvalid
from gateway.core.usage_gemini import from_gemini
from gateway.core.wire.metering import TextMeter
from gateway.core.wire.searches import of_candidate

STATUS_NAMES: Mapping[int, str] = MappingProxyType(
    {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        402: "RESOURCE_EXHAUSTED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        409: "ABORTED",
        413: "INVALID_ARGUMENT",
        422: "FAILED_PRECONDITION",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        502: "UNAVAILABLE",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    }
)
"""Google's word for each HTTP status that we answer with."""
_TYPES = "type.googleapis.com/google.rpc."
_BINARY_TOKENS = 3_000
"""Above what one generated image is billed as; audio and images are not asked for, so this is a backstop."""


class GenerateMeter(TextMeter):
    """Feed it every chunk, in order."""

    __slots__ = ("_blocked", "_calls", "_ended", "_searches", "_seen")

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[str, str]] = []
        self._seen: set[int] = set()
        self._ended: set[int] = set()
        self._blocked = False
        self._searches: dict[int, int] = {}

    @property
    def finished(self) -> bool:
        return self._blocked or (bool(self._ended) and self._seen <= self._ended)

    @property
    def used(self) -> Media:
        return Media(web_searches=sum(self._searches.values()))

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        for candidate in _objects(chunk.get("candidates")):
            number = index if isinstance(index := candidate.get("index"), int) else 0
            self._seen.add(number)
            if candidate.get("finishReason") is not None:
                self._ended.add(number)
            texts = [text for part in _parts(candidate) for text in _output(part)]
            for text in texts:
                self._text(text)
            binary = sum(part.get("inlineData") is not None for part in _parts(candidate))
            self._counted += binary * _BINARY_TOKENS
            self.events += bool(texts or binary)
            self._calls += _calls(candidate)
            if "groundingMetadata" in candidate:
                self._searches[number] = max(self._searches.get(number, 0), of_candidate(candidate))
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, Mapping) and feedback.get("blockReason") is not None:
            self._blocked = True
        self._report(chunk.get("usageMetadata"))
        return False

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        yield from self._calls

    def _report(self, report: Any) -> None:
        found = self._last_report(from_gemini, report)
        # The first chunks of a stream tell the prompt alone: zeros are left out, so only the end makes it a zero.
        if found is not None and (found.output_tokens or self.finished):
            self._reported_events = self.events


def reply_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, bool]:
    """(usage, bad) of a whole reply; `bad` = there is a report and it cannot be true."""
    try:
        return from_gemini(reply.get("usageMetadata")), False
    except UsageInvalid:
        return None, True


def reply_text(reply: Mapping[str, Any]) -> str:
    """All output text of a whole reply, for counting where its usage is missing."""
    candidates = _objects(reply.get("candidates"))
    return "".join(text for candidate in candidates for part in _parts(candidate) for text in _output(part))


def reply_calls(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, arguments) of the tool calls of a reply."""
    return [call for candidate in _objects(reply.get("candidates")) for call in _calls(candidate)]


def reply_used(reply: Mapping[str, Any]) -> Media:
    return Media(web_searches=sum(map(of_candidate, _objects(reply.get("candidates")))))


def reply_tier(reply: Mapping[str, Any]) -> str | None:
    """None: tiers other than the standard one are refused, so a reply cannot have been served by another."""
    return None


def error_body(
    message: str, status: int, code: str, machine: Mapping[str, Any] | None, retry_after_s: float | None
) -> dict[str, Any]:
    """Google's error object (google.rpc.Status in JSON), with our machine-readable part where there is one."""
    reason = {"@type": f"{_TYPES}ErrorInfo", "reason": code.upper(), "domain": "comptroller"}
    details: list[dict[str, Any]] = [reason]
    if retry_after_s is not None:
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{max(1.0, retry_after_s):g}s"})
    error: dict[str, Any] = {
        "code": status,
        "message": message,
        "status": STATUS_NAMES.get(status, "UNKNOWN"),
        "details": details,
    }
    if machine is not None:
        error["comptroller"] = machine
    return {"error": error}


class GenerateEnd:
    """Ends a stream with a chunk of text and a finish reason: an error object within a stream is overlooked by Gemini's
    own agent, which then asks again. The usage that the client saw last is repeated, since the last one counts."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    @property
    def watching(self) -> bool:
        return True

    def saw(self, chunk: Mapping[str, Any]) -> None:
        for name in ("usageMetadata", "modelVersion", "responseId"):
            if name in chunk:
                self._kept[name] = chunk[name]

    def usage(self, usage: Usage) -> bytes:
        """Nobody can ask for an event of usage in this format."""
        return b""

    def error(self, message: str, code: str, machine: Mapping[str, Any]) -> bytes:
        candidate = {
            "content": {"role": "model", "parts": [{"text": message}]},
            "finishReason": "OTHER",
            "finishMessage": message,
            "index": 0,
        }
        body = {"candidates": [candidate], **self._kept, "comptroller": {**machine, "code": code}}
        return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\r\n\r\n"


def _output(part: Mapping[str, Any]) -> Iterator[str]:
    """The text that a part was billed for: words and thoughts, calls, code and what it printed."""
    if isinstance(text := part.get("text"), str) and text:
        yield text
    for call in _functions(part):
        yield from call
    for field, inner in (("executableCode", "code"), ("codeExecutionResult", "output")):
        holder = part.get(field)
        if isinstance(holder, Mapping) and isinstance(text := holder.get(inner), str) and text:
            yield text


def _calls(candidate: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [call for part in _parts(candidate) for call in _functions(part)]


def _functions(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    call = part.get("functionCall")
    if isinstance(call, Mapping) and isinstance(name := call.get("name"), str):
        yield name, json.dumps(call.get("args") or {}, ensure_ascii=False, separators=(",", ":"))


def _parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = candidate.get("content")
    return _objects(content.get("parts")) if isinstance(content, Mapping) else []


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
