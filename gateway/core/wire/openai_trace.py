"""OpenAI chat messages as loop detection reads them: what the model asked for, what came back, what was said. Pure.

Each wire format has a reader of its own that gives the same `Exchange`s.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.wire.exchange import Exchange, ToolUse, answers
from gateway.core.wire.openai_chat import called_functions

_PART_SHOWN = 64


def exchanges(messages: Sequence[Any], known: int) -> list[Exchange]:
    """Those that begin after the first `known` messages; where none are known, the last one only (rule 24)."""
    return [_exchange(message, after) for message, after in answers(messages, known, _of_model)]


def beginning(messages: Sequence[Any]) -> str:
    """How a conversation began: its first words of a person or program, "" where there are none."""
    return next((_text(message.get("content")) for message in messages if _role(message) == "user"), "")


def answered(messages: Sequence[Any]) -> bool:
    """Whether the model has said something in it."""
    return any(map(_of_model, messages))


def _exchange(message: Mapping[str, Any], after: Sequence[Any]) -> Exchange:
    results: dict[str, str] = {}
    said: list[str] = []
    for follower in after:
        match _role(follower):
            case "tool" | "function":
                at = follower.get("tool_call_id") or follower.get("name") or ""
                results[str(at)] = _text(follower.get("content"))
            case "user":
                said.append(_text(follower.get("content")))
            case _:
                continue
    uses = tuple(_uses(message, results))
    return Exchange("" if uses else _text(message.get("content")), uses, tuple(said))


def _uses(message: Mapping[str, Any], results: Mapping[str, str]) -> Iterator[ToolUse]:
    calls = message.get("tool_calls")
    ids = [call.get("id") for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
    for place, (_, function) in enumerate(called_functions(message)):
        name, arguments = function.get("name"), function.get("arguments", function.get("input"))
        if isinstance(name, str):
            at = str(ids[place]) if place < len(ids) else name
            text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
            yield ToolUse(name, text, results.get(at))


def _of_model(message: Any) -> bool:
    return bool(_role(message) == "assistant")


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _text(content: Any) -> str:
    """The text of a message. Of parts that are no text, their kind, size and end: enough to tell them apart."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return "" if content is None else json.dumps(content)


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and isinstance(text := part.get("text"), str):
        return text
    written = str(part)
    return f"{len(written)} {written[:_PART_SHOWN]} {written[-_PART_SHOWN:]}"
