"""What a condition may look at while one call is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

AttributeValue = str | int | float | bool | tuple[str, ...]


def _nothing() -> Mapping[str, AttributeValue]:
    return MappingProxyType({})


def no_limits(_name: str) -> float | None:
    return None


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """Attributes of one call, by their dotted names in the schema. What is absent is unknown.

    `principal` holds `user. team. app. service. agent. key.` and can be built once a key; `call` holds
    `session. model. tool. call.`. `local_time` is in the policy's time zone. `args` are the arguments of a tool call,
    None where there are none yet. `limit_used_ratio` takes the name of a limit and is asked only where a condition
    reads it; it returns None for a limit that does not bind this call.
    """

    principal: Mapping[str, AttributeValue] = field(default_factory=_nothing)
    call: Mapping[str, AttributeValue] = field(default_factory=_nothing)
    local_time: datetime | None = None
    args: Mapping[str, object] | None = None
    limit_used_ratio: Callable[[str], float | None] = no_limits


EMPTY_CONTEXT = PolicyContext()
