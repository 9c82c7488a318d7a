"""A conversation as loop detection reads it: what the model asked for, what came back, what was said. Every wire format
gives the same."""

from typing import NamedTuple


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
