"""The items of a Responses request as loop detection reads them: what the model asked for, what came back, what was
said. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from gateway.core.wire.exchange import Exchange, ToolUse
from gateway.core.wire.responses_items import call_of, kind_of, provider_call_of, shown

_OUTPUT = "_output"


def exchanges(items: Sequence[Any], known: int) -> list[Exchange]:
    """Those that begin after the first `known` items; where none are known, the last one only (rule 24). An answer of
    the model is a row of items that nothing from outside parts."""
    starts = [at for at in range(known, len(items)) if _begins(items, at, known)]
    if not known:
        starts = starts[-1:]
    return [_exchange(items[at:end]) for at, end in pairwise([*starts, len(items)])]


def beginning(items: Sequence[Any]) -> str:
    """How a conversation began: its first words of a person or program, "" where there are none."""
    return next((shown(item.get("content")) for item in items if _said_by(item) == "user"), "")


def answered(items: Sequence[Any]) -> bool:
    """Whether the model has said something in it."""
    return any(_is_the_models(item) for item in items)


def _begins(items: Sequence[Any], at: int, known: int) -> bool:
    return _is_the_models(items[at]) and (at == known or not _is_the_models(items[at - 1]))


def _exchange(items: Sequence[Any]) -> Exchange:
    results: dict[str, str] = {}
    said: list[str] = []
    words: list[str] = []
    for item in items:
        role = _said_by(item)
        if role == "user":
            said.append(shown(item.get("content")))
        elif role == "assistant":
            words.append(shown(item.get("content")))
        elif kind_of(item).endswith(_OUTPUT):
            results[str(item.get("call_id"))] = shown(item.get("output"))
    uses = tuple(_uses(items, results))
    return Exchange("" if uses else "\n".join(words), uses, tuple(said))


def _uses(items: Sequence[Any], results: Mapping[str, str]) -> Iterator[ToolUse]:
    for item in items:
        if not isinstance(item, Mapping):
            continue
        if (call := call_of(item)) is not None:
            yield ToolUse(*call, results.get(str(item.get("call_id"))))
        elif (call := provider_call_of(item)) is not None:
            error = item.get("error")
            yield ToolUse(*call, shown(item.get("output") if error is None else error), says_failed=error is not None)


def _is_the_models(item: Any) -> bool:
    kind = kind_of(item)
    return _said_by(item) == "assistant" or kind == "reasoning" or kind.endswith("_call")


def _said_by(item: Any) -> Any:
    return item.get("role") if kind_of(item) == "message" else None
