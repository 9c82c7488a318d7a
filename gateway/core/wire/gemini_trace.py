"""Gemini contents as loop detection reads them: what the model asked for, what came back, what was said. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.wire.exchange import Exchange, ToolUse, answers
from gateway.core.wire.gemini_prompt import member, parts_of, section, written

_MODEL = "model"
_PART_SHOWN = 64


def exchanges(messages: Sequence[Any], known: int) -> list[Exchange]:
    """Those that begin after the first `known` contents; where none are known, the last one only (rule 24)."""
    return [_exchange(message, after) for message, after in answers(messages, known, _of_model)]


def beginning(messages: Sequence[Any]) -> str:
    """How a conversation began: its first words of a person or program, "" where there are none."""
    return next((_text(parts_of(message)) for message in messages if not _of_model(message)), "")


def answered(messages: Sequence[Any]) -> bool:
    """Whether the model has said something in it."""
    return any(_of_model(message) for message in messages)


def _exchange(message: Mapping[str, Any], after: Sequence[Any]) -> Exchange:
    results: dict[str, list[Mapping[str, Any]]] = {}
    said: list[str] = []
    for follower in after:
        words = []
        for part in parts_of(follower):
            if answer := section(part, "functionResponse"):
                results.setdefault(_place(answer), []).append(answer)
            else:
                words.append(part)
        if words:
            said.append(_text(words))
    parts = parts_of(message)
    uses = tuple(_uses(parts, results))
    return Exchange("" if uses else _text(parts), uses, tuple(said))


def _uses(parts: Sequence[Any], results: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[ToolUse]:
    for part in parts:
        call = section(part, "functionCall")
        name = call.get("name")
        if not isinstance(name, str):
            continue
        # Without ids, answers to one function come in the order of its calls.
        answers = results.get(_place(call))
        answer = answers.pop(0) if answers else None
        response = section(answer, "response") if answer is not None else {}
        failed = response.get("error") is not None
        yield ToolUse(name, written(call.get("args") or {}), None if answer is None else _result(answer), failed)


def _result(answer: Mapping[str, Any]) -> str:
    response = section(answer, "response")
    text = response.get("output", response.get("result", response.get("error")))
    said = text if isinstance(text, str) else written(response)
    return "\n".join([said, *map(_part, parts_of(answer))])


def _place(call: Mapping[str, Any]) -> str:
    return str(call.get("id") or call.get("name") or "")


def _of_model(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == _MODEL


def _text(parts: Sequence[Any]) -> str:
    return "\n".join(_part(part) for part in parts if member(part, "thought") is not True)


def _part(part: Mapping[str, Any]) -> str:
    """Of what is no text, its size and ends: enough to tell two apart."""
    if isinstance(text := part.get("text"), str):
        return text
    whole = str(part)
    return f"{len(whole)} {whole[:_PART_SHOWN]} {whole[-_PART_SHOWN:]}"
