"""What a condition may look at while one call is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

# These follow from what is judged, so that a call with many tools is judged in one context.
OF_PAIR = ("model.name", "tool.name", "tool.server")

# What belongs to a key and stays as long as neither it nor the configuration changes.
OF_PRINCIPAL = frozenset({"user", "team", "app", "service", "agent", "key"})

AttributeValue = str | int | float | bool | tuple[str, ...]


def _nothing() -> Mapping[str, AttributeValue]:
    return MappingProxyType({})


def no_limits(_name: str) -> float | None:
    return None


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """Attributes of one call, by their dotted names in the schema. What is absent is unknown.

    `principal` holds `user. team. app. service. agent. key.` and can be built once a key; `call` holds
    `session. model. call.`. `local_time` is in the policy's time zone. `args` are the arguments of a tool call,
    None where there are none yet. `limit_used_ratio` takes the name of a limit and is asked only where a condition
    reads it; it returns None for a limit that does not bind this call. `model_name` and `tool_name` are set by the
    policy for each pair that it judges.
    """

    principal: Mapping[str, AttributeValue] = field(default_factory=_nothing)
    call: Mapping[str, AttributeValue] = field(default_factory=_nothing)
    local_time: datetime | None = None
    args: Mapping[str, object] | None = None
    limit_used_ratio: Callable[[str], float | None] = no_limits
    model_name: str | None = None
    tool_name: str | None = None

    def of_pair(self, model: str, tool: str) -> "PolicyContext":
        """`-` is no name."""
        return replace(self, model_name=None if model == "-" else model, tool_name=None if tool == "-" else tool)


EMPTY_CONTEXT = PolicyContext()
