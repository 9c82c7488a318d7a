"""OpenAI chat completions on the way back: what a reply or a chunk of a stream tells of usage, output and tool calls.

The meter is an upper bound of billed output (rule 2): every content event is at least one token, and no text has more
tokens than bytes; what is counted exactly replaces its bytes. Usage figures follow `gateway.core.usage`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import Usage, UsageInvalid, from_openai, last_report
from gateway.core.wire.openai_chat import called_functions, message_calls

DONE = b"[DONE]"
_TEXT_FIELDS = ("content", "refusal", "reasoning_content")
_REASONING_AGAIN = "reasoning"
"""Some servers send the same reasoning under both names; it was billed once."""


class ChatMeter:
    """Feed it every parsed chunk of a stream, in order."""

    __slots__ = (
        "_calls",
        "_counted",
        "_ended",
        "_fresh",
        "_fresh_bytes",
        "_reported_events",
        "_seen",
        "events",
        "served_tier",
        "usage",
        "usage_bad",
    )

    def __init__(self) -> None:
        self.events = 0
        self.usage: Usage | None = None
        self.usage_bad = False
        self.served_tier: str | None = None
        self._counted = 0
        self._fresh: list[str] = []
        self._fresh_bytes = 0
        self._reported_events = 0
        self._calls: dict[tuple[int, int | str], list[str]] = {}
        self._seen: set[int] = set()
        self._ended: set[int] = set()

    @property
    def finished(self) -> bool:
        """Whether every choice that began has its finish reason."""
        return bool(self._ended) and self._seen <= self._ended

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        """Takes a chunk in. True = it carries nothing but usage (the chunk that `include_usage` adds)."""
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    self._choice(choice)
        report = chunk.get("usage")
        if report is not None:
            self._report(report)
        tier = chunk.get("service_tier")
        if isinstance(tier, str):
            self.served_tier = tier
        return report is not None and not choices

    @property
    def reported(self) -> Usage | None:
        """The provider's report, None if there is none that can be true and that is not older than what was seen."""
        return None if self.usage_bad or self.events > self._reported_events else self.usage

    @property
    def bound(self) -> int:
        """At least as many tokens as the provider can bill for what was seen."""
        return max(self.events, self.text_bound)

    @property
    def text_bound(self) -> int:
        """The same by the text alone, for servers that cut a token into several events."""
        return self._counted + self._fresh_bytes

    def uncounted(self) -> str:
        """The text that stands in the bound with its bytes, until `counted` says how many tokens it has."""
        if len(self._fresh) > 1:
            self._fresh = ["".join(self._fresh)]
        return self._fresh[0] if self._fresh else ""

    def counted(self, text: str, tokens: int) -> None:
        """`text`, as `uncounted` gave it, has this many tokens: no more than its bytes, which it replaces."""
        size = len(text.encode("utf-8", "surrogatepass"))
        del self._fresh[0]
        self._fresh_bytes -= size
        self._counted += min(tokens, size)

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        """(name, arguments) of the tool calls that the reply made, as far as they came."""
        for name, *arguments in self._calls.values():
            yield name, "".join(arguments)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta")
        number = index if isinstance(index := choice.get("index"), int) else 0
        self._seen.add(number)
        if choice.get("finish_reason") is not None:
            self._ended.add(number)
        if not isinstance(delta, dict):
            return
        content = False
        for text in _texts(delta):
            self._text(text)
            content = True
        if "tool_calls" in delta or "function_call" in delta:
            for place, function in called_functions(delta):
                self._tool_delta(number, place, function)
                content = True
        if content:
            self.events += 1

    def _tool_delta(self, choice: int, place: int | str, function: Mapping[str, Any]) -> None:
        parts = self._calls.setdefault((choice, place), [""])
        name, arguments = function.get("name"), function.get("arguments", function.get("input"))
        if isinstance(name, str) and name:
            if name != parts[0]:
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
            self.usage = last_report(self.usage, from_openai(report))
            self.usage_bad = False
            self._reported_events = self.events
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
    for message in reply_messages(reply):
        parts += _texts(message)
        parts += [text for call in message_calls(message) for text in call]
    return "".join(parts)


def reply_calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, arguments) of the tool calls of one message."""
    return message_calls(message)


def reply_messages(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The messages of a whole reply, whatever else stands among its choices."""
    choices = reply.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(message := choice.get("message"), dict):
            yield message


def _texts(holder: Mapping[str, Any]) -> list[str]:
    """The text of a message or a delta, with refusals and visible reasoning."""
    found = [text for field in _TEXT_FIELDS if isinstance(text := holder.get(field), str) and text]
    again = holder.get(_REASONING_AGAIN)
    if again and isinstance(again, str) and again != holder.get("reasoning_content"):
        found.append(again)
    return found


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
