"""A tool call as the pipeline sees it: what is asked for, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class ToolSaid(NamedTuple):
    """What a tool answered, as far as loop detection looks at it: its text, and whether it calls itself a failure."""

    text: str
    failed: bool


def _nothing(_: Any) -> ToolSaid | None:
    return None


@dataclass(frozen=True, slots=True)
class ToolAsk:
    """One call of a proxied tool.

    `name` is the canonical `server__tool`, whatever shorter name the client used. `headers` are those of the client's
    request, names in lower case, without credentials: session and attribution marks, never sent to the tool server.
    `resumes` = it brings what its server asked back for, so it is no new call to loop detection; `read` gives what a
    result says, None = nobody can tell. `connection` tells its client's connections apart, empty = unknown.
    """

    server: str
    tool: str
    name: str
    arguments: Mapping[str, Any]
    price_usd_micros: int
    headers: Mapping[str, str]
    resumes: bool = False
    connection: str = ""
    read: Callable[[Any], ToolSaid | None] = _nothing


@dataclass(frozen=True, slots=True)
class ToolDone(Generic[T]):
    """A call that was made and settled. `remaining` tells what binds first, in the shape that users read; `warnings`
    are what a model call would have in its header."""

    result: T
    call_id: str
    session_id: str
    remaining: Mapping[str, Any] | None
    warnings: tuple[str, ...] = ()
