"""The rows of a policy after reading: what the compiler, Casbin and the explanations work on."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.condition import Condition

GROUP_PREFIX = "group:"
# Every call acts as this role beside its own; only `p` rows may name it.
EVERYONE = "role:everyone"
# What stands for "no model" and "no tool".
NONE = "-"
ANYTHING = "*"
PORTAL_PREFIX = "portal:"
PORTAL_ANYTHING = "portal:*"
MODEL_INVOKE = "model:invoke"
TOOL_LIST = "tool:list"
TOOL_CALL = "tool:call"
# Links from a principal to its farthest role, or from a model to its outermost group.
CHAIN_LINKS_MAX = 10


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class LinkType(StrEnum):
    """`g` gives a principal a role or team, `g2` puts a model and `g3` a tool into a group."""

    ROLE = "g"
    MODEL_GROUP = "g2"
    TOOL_GROUP = "g3"


@dataclass(frozen=True, slots=True)
class Place:
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A `p` row. `condition_text` is empty where the row always holds."""

    subject: str
    model: str
    tool: str
    action: str
    condition_text: str
    effect: Effect
    place: Place
    condition: Condition | None

    @property
    def fields(self) -> tuple[str, str, str, str, str, str]:
        return self.subject, self.model, self.tool, self.action, self.condition_text, self.effect.value


@dataclass(frozen=True, slots=True)
class Link:
    """A `g`, `g2` or `g3` row."""

    type: LinkType
    member: str
    group: str
    place: Place


@dataclass(frozen=True, slots=True)
class Rows:
    """A whole policy, in the order of files and lines. `version` names its content. `observed` are deny rows that
    decide nothing: what they would deny is recorded."""

    rules: tuple[Rule, ...]
    links: tuple[Link, ...]
    version: str
    observed: tuple[Rule, ...] = ()

    def observing(self) -> "Rows":
        """A policy of the rows that only observe, with the same roles and groups."""
        return Rows(self.observed, self.links, self.version)

    def links_of(self, link_type: LinkType) -> tuple[Link, ...]:
        return tuple(link for link in self.links if link.type is link_type)


def name_matches(name: str, pattern: str) -> bool:
    """For a pattern that is no group: exact, or by a trailing `*`. `-` is matched by `-` and `*` only."""
    if pattern == ANYTHING:
        return True
    if pattern.endswith(ANYTHING):
        return name != NONE and name.startswith(pattern[:-1])
    return name == pattern
