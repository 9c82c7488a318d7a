"""OpenAI chat completions on the way back: what a reply or a chunk of a stream tells of usage, output and tool calls.

The meter is an upper bound of billed output (rule 2): every content event is at least one token, and no text has more
tokens than bytes; what is counted exactly replaces its bytes. Usage figures follow `gateway.core.usage`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.denial import UPSTREAM_FAULTS
from gateway.core.usage import Usage, UsageInvalid, from_openai
from gateway.core.wire.metering import TextMeter
from gateway.core.wire.openai_chat import called_functions, message_calls

DONE = b"[DONE]"
_TEXT_FIELDS = ("content", "refusal", "reasoning_content")
_IDENTITY = ("id", "object", "created", "model")
_REASONING_AGAIN = "reasoning"
"""Some servers send the same reasoning under both names; it was billed once."""


class UsageMeter(TextMeter):
    """The part of a meter that reads usage as chat and completions report it."""

    __slots__ = ()

    def report_in(self, chunk: Mapping[str, Any]) -> bool:
        """Takes in what a chunk tells beside its choices. True = nothing else is in it."""
        report = chunk.get("usage")
        if report is not None:
            self._report(report)
        tier = chunk.get("service_tier")
        if isinstance(tier, str):
            self.served_tier = tier
        return report is not None and not chunk.get("choices")

    def _report(self, report: Any) -> None:
        if self._last_report(from_openai, report) is not None:
            self._reported_events = self.events


class ChatMeter(UsageMeter):
    """Feed it every parsed chunk of a stream, in order."""

    __slots__ = ("_calls", "_ended", "_seen")

    def __init__(self) -> None:
        super().__init__()
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
        return self.report_in(chunk)

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


def reply_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, bool]:
    """(usage, bad) of a whole reply; `bad` = there is a report and it cannot be true."""
    try:
        return from_openai(reply.get("usage"), output="choices" in reply), False
    except UsageInvalid:
        return None, True


def reply_text(reply: Mapping[str, Any]) -> str:
    """All output text of a whole reply, for counting where its usage is missing."""
    parts: list[str] = []
    for message in reply_messages(reply):
        parts += _texts(message)
        parts += [text for call in message_calls(message) for text in call]
    return "".join(parts)


def all_calls(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Those of a whole reply."""
    return [call for message in reply_messages(reply) for call in message_calls(message)]


def reply_tier(reply: Mapping[str, Any]) -> str | None:
    tier = reply.get("service_tier")
    return tier if isinstance(tier, str) else None


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


class ChatEnd:
    """Stock SDKs raise the error of the last event with its text. Agents stop at `invalid_request_error` and ask again
    after `server_error`, as they would had the provider failed before them. No `[DONE]` follows."""

    __slots__ = ("_template",)

    def __init__(self) -> None:
        self._template: dict[str, Any] = {}

    @property
    def watching(self) -> bool:
        return not self._template

    def saw(self, chunk: Mapping[str, Any]) -> None:
        self._template = {name: chunk[name] for name in _IDENTITY if name in chunk}

    def usage(self, usage: Usage) -> bytes:
        """Made from the identity fields of a chunk that was seen."""
        report = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        }
        return _event({**self._template, "choices": [], "usage": report})

    def error(self, message: str, code: str, machine: Mapping[str, Any]) -> bytes:
        kind = "server_error" if code.startswith(UPSTREAM_FAULTS) else "invalid_request_error"
        return _event(error_body(message, kind, code, machine, None))


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
