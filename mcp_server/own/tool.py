"""What one of our own tools is: how it is described to clients, and who answers it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp_server.governance import Caller, Governance

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of an own tool. Header names are lower case; `arguments` were checked against the input schema."""

    governance: Governance
    caller: Caller
    headers: Mapping[str, str]
    arguments: Mapping[str, Any]


Answer = Callable[[Asked], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class OwnTool:
    """`definition` is the tool as `tools/list` shows it."""

    name: str
    definition: Mapping[str, Any]
    answer: Answer


def own_tool(
    name: str, title: str, description: str, asked: Schema, answered: Schema, answer: Answer, *, changes: bool = False
) -> OwnTool:
    """`changes`: it does something, so that a client may ask its user first."""
    hints: dict[str, Any] = {"title": title, "readOnlyHint": not changes, "openWorldHint": False}
    if changes:
        hints |= {"destructiveHint": False, "idempotentHint": False}
    definition = {
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": {**asked, "additionalProperties": False},
        "outputSchema": answered,
        "annotations": hints,
    }
    return OwnTool(name, definition, answer)


def an_object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def a_text(description: str) -> Schema:
    return {"type": "string", "description": description}


def list_of(items: Schema, description: str) -> Schema:
    return {"type": "array", "items": items, "description": description}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


COUNT: Final = {"type": "integer", "minimum": 0}
AMOUNT: Final = {"type": "number", "description": "In the unit of the limit; usd in dollars."}
MAYBE_TEXT: Final = {"type": ["string", "null"]}
SUMMARY: Final = a_text("All of it in one sentence.")
SESSION: Final = a_text("One session of this key; without it, all open ones.")
LIMIT: Final = an_object(
    {
        "name": {"type": "string"},
        "scope": {"type": "string"},
        "unit": {"type": "string"},
        "limit": AMOUNT,
        "granted": {**AMOUNT, "description": "The part of `limit` that was granted for now."},
        "spent": AMOUNT,
        "held": AMOUNT,
        "remaining": AMOUNT,
        "window": MAYBE_TEXT,
        "action": {"type": "string"},
        "resets_at": MAYBE_TEXT,
    },
    ("name", "scope", "unit", "limit", "remaining"),
)
