"""The attributes that a policy condition may name, and their types.

Rule: the list is closed. What is not here is an error when the policy is loaded, never a surprise when it is used.
"""

import difflib
from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """The type of an attribute or a literal. The value is how an error message names it."""

    STRING = "a string"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    STRINGS = "a list of strings"
    DATE = "a date as '2026-01-31'"
    WEEKDAY = "a weekday as 'monday'"
    ANY = "any value"


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

ATTRIBUTES: Mapping[str, Kind] = {
    "user.name": Kind.STRING,
    "user.groups": Kind.STRINGS,
    "team.name": Kind.STRING,
    "team.cost_center": Kind.STRING,
    "app.name": Kind.STRING,
    "app.environment": Kind.STRING,
    "app.cost_center": Kind.STRING,
    "service.name": Kind.STRING,
    "service.environment": Kind.STRING,
    "service.cost_center": Kind.STRING,
    "agent.name": Kind.STRING,
    "agent.environment": Kind.STRING,
    "key.name": Kind.STRING,
    "session.depth": Kind.NUMBER,
    "session.kind": Kind.STRING,
    "session.age_s": Kind.NUMBER,
    "session.parent": Kind.STRING,
    "session.parent_kind": Kind.STRING,
    "session.parent_key": Kind.STRING,
    "session.parent_user": Kind.STRING,
    "session.parent_team": Kind.STRING,
    "session.parent_agent": Kind.STRING,
    "time.hour": Kind.NUMBER,
    "time.minute": Kind.NUMBER,
    "time.weekday": Kind.WEEKDAY,
    "time.date": Kind.DATE,
    "model.name": Kind.STRING,
    "model.tier": Kind.STRING,
    "model.provider": Kind.STRING,
    "tool.name": Kind.STRING,
    "tool.server": Kind.STRING,
    "call.stream": Kind.BOOLEAN,
    "call.input_bytes": Kind.NUMBER,
    "call.tool_count": Kind.NUMBER,
}

# Below these, any one name is a string attribute: `user.labels.seniority`, `call.tags["ticket id"]`.
OPEN_ATTRIBUTES = (
    ("user", "labels"),
    ("app", "labels"),
    ("service", "labels"),
    ("agent", "labels"),
    ("call", "tags"),
)


def kind_of(path: tuple[str, ...]) -> Kind | None:
    """None for a path that is not in the schema. `args.<path>` is any value; a limit has a used ratio only."""
    if path[0] == "args" and len(path) > 1:
        return Kind.ANY
    if path[0] == "limit" and len(path) == 3 and path[2] == "used_ratio":
        return Kind.NUMBER
    if len(path) == 3 and path[:2] in OPEN_ATTRIBUTES:
        return Kind.STRING
    return ATTRIBUTES.get(".".join(path)) if len(path) == 2 else None


def fix_for(path: tuple[str, ...]) -> str:
    """What to write instead of a path that the schema does not know."""
    if path[0] == "limit":
        return 'a limit is read as limit["session-tokens"].used_ratio'
    if path[0] == "args":
        return "name the argument: args.path"
    if path[:2] in OPEN_ATTRIBUTES:
        return f"name one of them: {'.'.join(path[:2])}.<name>"
    known = [*ATTRIBUTES, *(f"{first}.{second}.<name>" for first, second in OPEN_ATTRIBUTES)]
    near = difflib.get_close_matches(".".join(path), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    of_same_root = [name for name in known if name.startswith(path[0] + ".")]
    return f"known: {', '.join(of_same_root or known)}"
