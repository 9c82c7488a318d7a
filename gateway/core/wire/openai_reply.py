"""OpenAI chat completions on the way back: what a reply or a chunk of a stream tells about usage, output and tool calls.

The meter is an upper bound of billed output (rule 2): every content event is at least one token, and no text has more
tokens than bytes; what is counted exactly replaces its bytes. Usage figures follow `gateway.core.usage`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import Usage, UsageInvalid, from_openai

DONE = b"[DONE]"
_TEXT_FIELDS = ("content", "refusal", "reasoning_content", "reasoning")


class ChatMeter:
    """Feed it every parsed chunk of a stream, in order."""

    __slots__ = (
        "_calls",
        "_counted",
        "_fresh",
        "_fresh_bytes",
        "events",
        "finished",
        "served_tier",
        "usage",
        "usage_bad",
    )

    def __init__(self) -> None:
        self.events = 0
        self.finished = False
        self.usage: Usage | None = None
        self.usage_bad = False
        self.served_tier: str | None = None
        self._counted = 0
        self._fresh: list[str] = []
        self._fresh_bytes = 0
        self._calls: dict[tuple[int, int], list[str]] = {}

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        """Takes a chunk in. True = it carries nothing but usage (the chunk that `include_usage` adds)."""
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, Mapping):
                    self._choice(choice)
        report = chunk.get("usage")
        if report is not None:
            self._report(report)
        tier = chunk.get("service_tier")
        if isinstance(tier, str):
            self.served_tier = tier
        return report is not None and choices == []

    @property
    def bound(self) -> int:
        """At least as many tokens as the provider can bill for what was seen."""
        return max(self.events, self._counted + self._fresh_bytes)

    def take_uncounted(self) -> str:
        """The text that stands in the bound with its bytes; `counted` must follow."""
        text = "".join(self._fresh)
        self._fresh.clear()
        return text

    def counted(self, text: str, tokens: int) -> None:
        """`text` has this many tokens: no more than its bytes, which it replaces."""
        size = len(text.encode("utf-8", "surrogatepass"))
        self._fresh_bytes -= size
        self._counted += min(tokens, size)

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        """(name, arguments) of the tool calls that the reply made, as far as they came."""
        for name, *arguments in self._calls.values():
            yield name, "".join(arguments)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        if choice.get("finish_reason") is not None:
            self.finished = True
        if not isinstance(delta, Mapping):
            return
        content = False
        for field in _TEXT_FIELDS:
            text = delta.get(field)
            if isinstance(text, str) and text:
                self._text(text)
                content = True
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for call in calls:
                if isinstance(call, Mapping):
                    self._tool_delta(choice.get("index"), call)
                    content = True
        if content:
            self.events += 1

    def _tool_delta(self, choice_index: Any, call: Mapping[str, Any]) -> None:
        function = call.get("function")
        if not isinstance(function, Mapping):
            return
        at = (
            choice_index if isinstance(choice_index, int) else 0,
            index if isinstance(index := call.get("index"), int) else 0,
        )
        parts = self._calls.setdefault(at, [""])
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name:
            parts[0] += name
            self._text(name)
        if isinstance(arguments, str) and arguments:
            parts.append(arguments)
            self._text(arguments)

    def _text(self, text: str) -> None:
        self._fresh.append(text)
        self._fresh_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def _report(self, report: Any) -> None:
        try:
            self.usage = from_openai(report)
            self.usage_bad = False
        except UsageInvalid:
            self.usage_bad = True


def reply_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, bool]:
    """(usage, bad) of a whole reply; `bad` = there is a report and it cannot be true."""
    try:
        return from_openai(reply.get("usage")), False
    except UsageInvalid:
        return None, True


def reply_text(reply: Mapping[str, Any]) -> str:
    """All output text of a whole reply, for counting where its usage is missing."""
    parts: list[str] = []
    for choice in reply.get("choices") or ():
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping):
            continue
        parts += [text for field in _TEXT_FIELDS if isinstance(text := message.get(field), str)]
        parts += [text for call in reply_calls(message) for text in call]
    return "".join(parts)


def reply_calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, arguments) of the tool calls of one message."""
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield str(function.get("name")), str(function.get("arguments"))


def error_body(
    message: str, kind: str, code: str, machine: Mapping[str, Any] | None, param: str | None
) -> dict[str, Any]:
    """The OpenAI error object, with our machine-readable part where there is one."""
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    if machine is not None:
        error["comptroller"] = machine
    return {"error": error}


def stream_error(message: str, code: str, machine: Mapping[str, Any] | None) -> bytes:
    """The event that ends a stream of ours early: stock SDKs raise it with its text and do not retry
    (`invalid_request_error`; `server_error` would be retried). No `[DONE]` follows (rule 32)."""
    body = error_body(message, "invalid_request_error", code, machine, None)
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def usage_event(template: Mapping[str, Any], usage: Usage) -> bytes:
    """The usage chunk for a stream that we cut, made from the identity fields of a chunk that was seen."""
    kept = {name: template[name] for name in ("id", "object", "created", "model") if name in template}
    report = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    body = {**kept, "choices": [], "usage": report}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
