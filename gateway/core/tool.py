"""A tool call as the pipeline sees it: what is asked for, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ToolAsk:
    """One call of a proxied tool.

    `name` is the canonical `server__tool`, whatever shorter name the client used. `headers` are those of the client's
    request, names in lower case, without credentials: session and attribution marks, never sent to the tool server.
    """

    server: str
    tool: str
    name: str
    arguments: Mapping[str, Any]
    price_usd_micros: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToolDone(Generic[T]):
    """A call that was made and settled. `remaining` tells what binds first, in the shape that users read."""

    result: T
    call_id: str
    session_id: str
    remaining: Mapping[str, Any] | None
