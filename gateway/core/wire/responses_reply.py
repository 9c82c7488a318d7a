"""OpenAI Responses on the way back: what a response or an event of a stream tells of usage, output and tool calls.

The last event, `response.completed`, `.incomplete` or `.failed`, holds the whole response with its usage, so nothing is
added to a stream to learn it. The text of an item comes in deltas and whole again in `response.output_item.done`; from
a server that sends no deltas, that is where it is metered.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.denial import UPSTREAM_FAULTS
from gateway.core.media import Media
from gateway.core.usage import Usage, UsageInvalid, from_responses
from gateway.core.wire.metering import TextMeter
from gateway.core.wire.responses_items import call_of, output_texts
from gateway.core.wire.searches import of_responses_items

_FAILED = "response.failed"
_ANSWERED = frozenset({"response.completed", "response.incomplete"})
_ENDS = _ANSWERED | {_FAILED}
_TEXT_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
    }
)
_STOPS = "invalid_prompt"
"""Codex, opencode and Copilot show the text of this code and stop; most others they ask again for."""
_MAY_BE_CURED = "server_error"


class ResponsesMeter(TextMeter):
    """Feed it the data of every event, in order."""

    __slots__ = ("_ended", "_items", "_metered")

    def __init__(self) -> None:
        super().__init__()
        self._ended = False
        self._items: dict[int, Mapping[str, Any]] = {}
        self._metered: set[int] = set()

    @property
    def finished(self) -> bool:
        return self._ended

    @property
    def used(self) -> Media:
        return of_responses_items(self._items.values())

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        kind = chunk.get("type")
        if kind in _TEXT_DELTAS:
            self._delta(chunk)
        elif kind == "response.output_item.added":
            self._added(chunk)
        elif kind == "response.output_item.done":
            self._done(_place(chunk), chunk.get("item"))
        elif kind in _ENDS:
            self._ended = kind in _ANSWERED
            self._end(chunk.get("response"))
        return False

    def tool_calls(self) -> Iterator[tuple[str, str]]:
        """Those whose arguments came to their end."""
        for item in self._items.values():
            if (call := call_of(item)) is not None:
                yield call

    def _delta(self, chunk: Mapping[str, Any]) -> None:
        text = chunk.get("delta")
        if isinstance(text, str) and text:
            self._metered.add(_place(chunk))
            self.events += 1
            self._text(text)

    def _added(self, chunk: Mapping[str, Any]) -> None:
        """A call begins: its name is output too."""
        item = chunk.get("item")
        if isinstance(item, Mapping) and isinstance(name := item.get("name"), str) and name:
            self.events += 1
            self._text(name)

    def _done(self, place: int, item: Any) -> None:
        if not isinstance(item, Mapping) or place in self._items:
            return
        self._items[place] = item
        if place in self._metered:
            return
        for text in filter(None, output_texts(item)):
            self.events += 1
            self._text(text)

    def _end(self, response: Any) -> None:
        if not isinstance(response, Mapping):
            return
        output = response.get("output")
        for place, item in enumerate(output if isinstance(output, list) else ()):
            self._done(place, item)
        self.served_tier = reply_tier(response) or self.served_tier
        if self._last_report(from_responses, response.get("usage")) is not None:
            self._reported_events = self.events


def reply_usage(reply: Mapping[str, Any]) -> tuple[Usage | None, bool]:
    """(usage, bad) of a whole response; `bad` = there is a report and it cannot be true."""
    try:
        return from_responses(reply.get("usage")), False
    except UsageInvalid:
        return None, True


def reply_text(reply: Mapping[str, Any]) -> str:
    """All output text of a whole response, for counting where its usage is missing."""
    return "".join(text for item in _items(reply) for text in output_texts(item))


def reply_calls(reply: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, arguments) of the tool calls of a response that the client is to run."""
    return [call for item in _items(reply) if (call := call_of(item)) is not None]


def reply_used(reply: Mapping[str, Any]) -> Media:
    return of_responses_items(_items(reply))


def reply_tier(reply: Mapping[str, Any]) -> str | None:
    tier = reply.get("service_tier")
    return tier if isinstance(tier, str) else None


class ResponsesEnd:
    """Ends a stream with `response.failed`. It has a `sequence_number` above all others, without which opencode
    would ask again for ever, and the whole response object, usage included. Where the provider ended it so already,
    nothing is said twice."""

    __slots__ = ("_failed", "_response", "_sequence", "_usage")
    watching = True

    def __init__(self) -> None:
        self._failed = False
        self._sequence = -1
        self._response: Mapping[str, Any] = {}
        self._usage: Usage | None = None

    def saw(self, chunk: Mapping[str, Any]) -> None:
        number = chunk.get("sequence_number")
        self._sequence = number if isinstance(number, int) else self._sequence + 1
        self._failed = self._failed or chunk.get("type") == _FAILED
        if not self._response and isinstance(response := chunk.get("response"), Mapping):
            self._response = response

    def usage(self, usage: Usage) -> bytes:
        """No event of its own: it goes into the last one."""
        self._usage = usage
        return b""

    def error(self, message: str, code: str, machine: Mapping[str, Any]) -> bytes:
        if self._failed:
            return b""
        stops = _MAY_BE_CURED if code.startswith(UPSTREAM_FAULTS) else _STOPS
        response = {
            **BLANK,
            "id": f"resp_{machine.get('call')}",
            **self._response,
            "status": "failed",
            "error": {"code": stops, "message": message, "comptroller": {**machine, "code": code}},
            "usage": None if self._usage is None else usage_object(self._usage),
        }
        event = {"type": _FAILED, "sequence_number": self._sequence + 1, "response": response}
        written = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        return b"event: response.failed\ndata: " + written + b"\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """The `usage` member of a response."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


BLANK: Mapping[str, Any] = {
    "object": "response",
    "created_at": 0,
    "model": "",
    "output": [],
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
"""What SDKs expect in a response, for a stream that ends before its first event told it."""


def _items(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    output = reply.get("output")
    for item in output if isinstance(output, list) else ():
        if isinstance(item, Mapping):
            yield item


def _place(chunk: Mapping[str, Any]) -> int:
    place = chunk.get("output_index")
    return place if isinstance(place, int) else 0
