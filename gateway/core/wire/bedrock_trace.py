"""Bedrock Converse messages as loop detection reads them: what the model asked for, what came back, what was said."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.wire.exchange import Exchange, ToolUse, answers

_MODEL = "assistant"
_PART_SHOWN = 64


def exchanges(messages: Sequence[Any], known: int) -> list[Exchange]:
    """Those that begin after the first `known` messages; where none are known, the last one only (rule 24)."""
    return [_exchange(message, after) for message, after in answers(messages, known, _of_model)]


def beginning(messages: Sequence[Any]) -> str:
    """How a conversation began: its first words of a person or program, "" where there are none."""
    return next((_text(_blocks(message)) for message in messages if not _of_model(message)), "")


def answered(messages: Sequence[Any]) -> bool:
    """Whether the model has said something in it."""
    return any(_of_model(message) for message in messages)


def _exchange(message: Mapping[str, Any], after: Sequence[Any]) -> Exchange:
    results: dict[str, tuple[str, bool]] = {}
    said: list[str] = []
    for follower in after:
        words = []
        for block in _blocks(follower):
            if isinstance(result := block.get("toolResult"), Mapping):
                text = _text(_objects(result.get("content")))
                results[str(result.get("toolUseId"))] = (text, result.get("status") == "error")
            elif "cachePoint" not in block:
                words.append(block)
        if words:
            said.append(_text(words))
    blocks = _blocks(message)
    uses = tuple(_uses(blocks, results))
    return Exchange("" if uses else _text(blocks), uses, tuple(said))


def _uses(blocks: Sequence[Mapping[str, Any]], results: Mapping[str, tuple[str, bool]]) -> Iterator[ToolUse]:
    for block in blocks:
        use = block.get("toolUse")
        if isinstance(use, Mapping) and isinstance(name := use.get("name"), str):
            result, failed = results.get(str(use.get("toolUseId")), (None, False))
            yield ToolUse(name, json.dumps(use.get("input") or {}), result, says_failed=failed)


def _of_model(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == _MODEL


def _blocks(message: Any) -> list[Mapping[str, Any]]:
    return _objects(message.get("content")) if isinstance(message, Mapping) else []


def _objects(content: Any) -> list[Mapping[str, Any]]:
    return [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def _text(blocks: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(_part(block) for block in blocks if "reasoningContent" not in block)


def _part(block: Mapping[str, Any]) -> str:
    """Of what is no text, its size and ends: enough to tell two apart."""
    if isinstance(text := block.get("text"), str):
        return text
    written = str(block)
    return f"{len(written)} {written[:_PART_SHOWN]} {written[-_PART_SHOWN:]}"
