"""Anthropic messages on the way back: usage, output and tool calls of a message or of the events of a stream; errors.

A stream tells the input side of its usage in `message_start` and the whole, cumulative, in `message_delta`; of each
figure the largest counts. Thinking is billed whole and shown as a summary at most: such calls hold their whole maximum.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.denial import UPSTREAM_FAULTS
from gateway.core.media import Media
from gateway.core.usage import Usage, UsageInvalid, from_anthropic, largest_report, report_count
from gateway.core.wire.metering import TextMeter
from gateway.core.wire.searches import is_messages_search, of_messages_report

_TEXTS = ("text", "thinking", "partial_json")
STANDARD = "standard"


class MessagesMeter(TextMeter):
    """Feed it the data of every event, in order."""

    __slots__ = ("_calls", "_searches_seen", "_searches_told", "_stopped")

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, list[str]] = {}
        self._stopped = False
        self._searches_seen = 0
        self._searches_told: int | None = None

    @property
    def finished(self) -> bool:
        return self._stopped

    @property
    def used(self) -> Media:
        """As told at the end; what was begun where the end never came. A search that failed is not billed."""
        told = self._searches_told
        return Media(web_searches=self._searches_seen if told is None else told)

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        match chunk.get("type"):
            case "content_block_delta":
                self._delta(chunk)
            case "content_block_start":
                self._start(chunk)
            case "message_start":
                message = chunk.get("message")
                if isinstance(message, Mapping):
                    self._report(message.get("usage"), final=False)
            case "message_delta":
                self._report(chunk.get("usage"), final=True)
            case "message_stop":
                self._stopped = True
        return False

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        for name, *arguments in self._calls.values():
            yield name, "".join(arguments) or "{}"

    def _start(self, chunk: Mapping[str, Any]) -> None:
        block = chunk.get("content_block")
        if not isinstance(block, Mapping):
            return
        if isinstance(text := block.get("text"), str) and text:
            self.events += 1
            self._text(text)
        self._searches_seen += is_messages_search(block)
        name, at = block.get("name"), chunk.get("index")
        if block.get("type") == "tool_use" and isinstance(name, str) and isinstance(at, int):
            self._calls[at] = [name]
            self.events += 1
            self._text(name)

    def _delta(self, chunk: Mapping[str, Any]) -> None:
        delta = chunk.get("delta")
        if not isinstance(delta, Mapping):
            return
        for field in _TEXTS:
            text = delta.get(field)
            if isinstance(text, str) and text:
                self.events += 1
                self._text(text)
                at = chunk.get("index")
                if field == "partial_json" and isinstance(at, int) and at in self._calls:
                    self._calls[at].append(text)

    def _report(self, report: Any, *, final: bool) -> None:
        try:
            found = from_anthropic(report, self.usage, start=not final)
            searches = of_messages_report(report)
        except UsageInvalid:
            self.usage_bad = True
            return
        if found is None:
            self._told_output(report)
            return
        self.usage = largest_report(self.usage, found)
        if isinstance(tier := report.get("service_tier"), str):
            self.served_tier = tier
        if final:
            self._searches_told = max(self._searches_told or 0, searches)
            # An absurd figure before it is made good by a later report; the largest of each figure stays.
            self.usage_bad = False
            self._reported_events = self.events

    def _told_output(self, report: Any) -> None:
        """The output of a stream that never told its input: no report, but no estimate goes below it either."""
        if report is not None:
            self.output_told = max(self.output_told, report_count(report, "output_tokens") or 0)


def reply_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, bool]:
    """(usage, bad) of a whole message; `bad` = there is a report and it cannot be true."""
    try:
        return from_anthropic(reply.get("usage")), False
    except UsageInvalid:
        return None, True


def reply_text(reply: Mapping[str, Any]) -> str:
    """All output text of a whole message, for counting where its usage is missing."""
    parts: list[str] = []
    for block in _blocks(reply):
        parts += [text for field in ("text", "thinking") if isinstance(text := block.get(field), str)]
    return "".join([*parts, *(text for call in reply_calls(reply) for text in call)])


def reply_calls(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, arguments) of the tool calls of a message."""
    return [
        (name, json.dumps(block.get("input") or {}, ensure_ascii=False))
        for block in _blocks(reply)
        if block.get("type") == "tool_use" and isinstance(name := block.get("name"), str)
    ]


def reply_tier(reply: Mapping[str, Any]) -> str | None:
    usage = reply.get("usage")
    tier = usage.get("service_tier") if isinstance(usage, Mapping) else None
    return tier if isinstance(tier, str) else None


def reply_used(reply: Mapping[str, Any]) -> Media:
    """The searches that the report tells; without a report, those that were begun."""
    if isinstance(usage := reply.get("usage"), Mapping):
        try:
            return Media(web_searches=of_messages_report(usage))
        except UsageInvalid:
            pass
    return Media(web_searches=sum(map(is_messages_search, _blocks(reply))))


def _blocks(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = reply.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            yield block


def error_body(message: str, kind: str, machine: Mapping[str, Any] | None, request_id: str | None) -> dict[str, Any]:
    """The Anthropic error object, with our machine-readable part where there is one."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if machine is not None:
        error |= {"code": machine.get("code"), "comptroller": machine}
    return {"type": "error", "error": error, "request_id": request_id}


class MessagesEnd:
    """SDKs raise it with its text. Agents stop at `invalid_request_error` and ask again after `api_error`, as they
    would had the provider failed before them."""

    watching = False

    def saw(self, chunk: Mapping[str, Any]) -> None:
        """It needs nothing of what came before."""

    def usage(self, usage: Usage) -> bytes:
        """Nobody can ask for an event of usage in this format."""
        return b""

    def error(self, message: str, code: str, machine: Mapping[str, Any]) -> bytes:
        call_id = machine.get("call")
        kind = "api_error" if code.startswith(UPSTREAM_FAULTS) else "invalid_request_error"
        body = error_body(message, kind, {**machine, "code": code}, str(call_id) if call_id else None)
        return b"event: error\ndata: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
