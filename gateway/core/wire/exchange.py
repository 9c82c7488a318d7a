"""A conversation as loop detection reads it: what the model asked for, what came back, what was said. Every wire format
gives the same."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple


class ToolUse(NamedTuple):
    """One tool call and what it answered; `result` None = not there. `says_failed` = the format itself calls it an
    error (OpenAI's has no word for that)."""

    name: str
    arguments: str
    result: str | None
    says_failed: bool = False


class Exchange(NamedTuple):
    """One answer of the model with its tool calls, and what people or programs said after it."""

    text: str
    uses: tuple[ToolUse, ...]
    said: tuple[str, ...]


def answers(messages: Sequence[Any], known: int, of_model: Callable[[Any], bool]) -> list[tuple[Any, Sequence[Any]]]:
    """Each answer of the model that begins after the first `known` messages, with what follows it up to the next one;
    where none are known, the last answer only (rule 24)."""
    start = known or next((at for at in range(len(messages) - 1, -1, -1) if of_model(messages[at])), len(messages))
    starts = [at for at in range(start, len(messages)) if of_model(messages[at])]
    return [(messages[at], messages[at + 1 : end]) for at, end in pairwise([*starts, len(messages)])]
