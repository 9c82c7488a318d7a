"""Anthropic messages as loop detection reads them: what the model asked for, what came back, what was said. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.wire.exchange import Exchange, ToolUse, answers

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
    results: dict[str, tuple[str, bool]] = {}
    said: list[str] = []
    for follower in after:
        if _role(follower) != "user":
            continue
        words = []
        for block in _blocks(follower.get("content")):
            if block.get("type") == "tool_result":
                results[str(block.get("tool_use_id"))] = (_text(block.get("content")), block.get("is_error") is True)
            else:
                words.append(_part(block))
        if words:
            said.append("\n".join(words))
    uses = tuple(_uses(message, results))
    return Exchange("" if uses else _text(message.get("content")), uses, tuple(said))


def _uses(message: Mapping[str, Any], results: Mapping[str, tuple[str, bool]]) -> Iterator[ToolUse]:
    for block in _blocks(message.get("content")):
        name = block.get("name")
        if block.get("type") == "tool_use" and isinstance(name, str):
            result, failed = results.get(str(block.get("id")), (None, False))
            yield ToolUse(name, json.dumps(block.get("input") or {}), result, says_failed=failed)


def _of_model(message: Any) -> bool:
    return bool(_role(message) == "assistant")


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _blocks(content: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (block for block in content if isinstance(block, Mapping))


def _text(content: Any) -> str:
    return "\n".join(_part(block) for block in _blocks(content))


def _part(block: Mapping[str, Any]) -> str:
    """Of what is no text, its kind, size and end: enough to tell two apart."""
    if isinstance(text := block.get("text"), str):
        return text
    written = str(block)
    return f"{len(written)} {written[:_PART_SHOWN]} {written[-_PART_SHOWN:]}"
