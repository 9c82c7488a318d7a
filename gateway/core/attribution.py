"""Whom and what a call is booked on: every dimension that limits select by and that reports group by.

One `Attribution` per combination that occurs, shared by all its calls; the session is kept apart because it is the
only dimension with a new value all the time. `terms` are the `kind:value` words of CONTRACT.md section 3 (selectors).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.core.identity import ABSENT, Directory, VirtualKey

PERSONAL_KINDS = frozenset({"user", "end_user", "team", "app", "service", "agent", "key", "tag"})
"""Kinds whose names are kept only in the erasable names table; books hold their pseudonyms (rule 12)."""

SELECTORS = (
    *("org", "team", "user", "end_user", "app", "service", "agent", "key", "session", "model", "model_tier"),
    *("provider", "tool", "role", "environment", "cost_center"),
)
"""Selector kinds besides `label:<name>`."""

OPENER = "opener"
"""Who is counted for opening sessions: the agent, or the key where it names none (not a selector for operators)."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """The dimensions of a call other than its session. Names in clear; storage turns them into pseudonyms."""

    key_id: str
    key_name: str
    user: str = ABSENT
    end_user: str = ABSENT
    team: str = ABSENT
    app: str = ABSENT
    service: str = ABSENT
    agent: str = ABSENT
    model: str = ABSENT
    model_tier: str = ABSENT
    provider: str = ABSENT
    tool: str = ABSENT
    environment: str = ABSENT
    cost_center: str = ABSENT
    roles: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    values: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        # Attributions are keys of several look-ups a call; hashing all dimensions each time costs more than those.
        return self._hash

    def __post_init__(self) -> None:
        single = {
            "org": "org",
            "team": self.team,
            "user": self.user,
            "end_user": self.end_user,
            "app": self.app,
            "service": self.service,
            "agent": self.agent,
            "key": self.key_name,
            "model": self.model,
            "model_tier": self.model_tier,
            "provider": self.provider,
            "tool": self.tool,
            "environment": self.environment,
            "cost_center": self.cost_center,
            OPENER: f"agent:{self.agent}" if self.agent != ABSENT else f"key:{self.key_name}",
        }
        single.update((f"label:{name}", value) for name, value in self.labels)
        object.__setattr__(self, "values", single)
        told_apart = (*single.values(), self.key_id, self.roles, self.tags)
        object.__setattr__(self, "_hash", hash(told_apart))

    def matches(self, kind: str, value: str) -> bool:
        """Whether the selector `kind: value` selects this call."""
        if kind == "role":
            return value in self.roles or f"role:{value}" in self.roles
        return self.values.get(kind, ABSENT) == value

    def value(self, kind: str) -> str:
        """The value that `each: kind` counts by; `-` where the call has none (one shared counter, rule 27)."""
        if kind == "role":
            return ",".join(self.roles) or ABSENT
        return self.values.get(kind, ABSENT)

    def identifier(self, pseudonym_of: Callable[[str, str], str]) -> str:
        """A stable id for this combination, made without asking the store, from pseudonyms only."""
        words = [f"{kind}={value}" for kind, value in self.recorded(pseudonym_of)]
        return hashlib.blake2b("\x00".join(words).encode(), digest_size=12).hexdigest()

    def recorded(self, pseudonym_of: Callable[[str, str], str]) -> tuple[tuple[str, str], ...]:
        """The (kind, value) pairs as the books keep them: personal names as pseudonyms, absent values left out."""
        pairs = [("key", self.key_id)]
        for kind, value in self.values.items():
            if kind in ("org", "key", OPENER) or value == ABSENT:
                continue
            pairs.append((kind, pseudonym_of(kind, value) if kind in PERSONAL_KINDS else value))
        pairs += [("role", role) for role in self.roles]
        pairs += [("tag", pseudonym_of("tag", f"{name}={value}")) for name, value in self.tags]
        return tuple(pairs)


def attribute(
    key: VirtualKey,
    directory: Directory,
    *,
    model: str = ABSENT,
    model_tier: str = ABSENT,
    provider: str = ABSENT,
    tool: str = ABSENT,
    end_user: str = ABSENT,
    roles: tuple[str, ...] = (),
    tags: tuple[tuple[str, str], ...] = (),
) -> Attribution:
    """The attribution of a call by `key`: declared attributes come from the directory, never from the client.

    Environment and cost centre are those of the first of app, service, agent, (user,) team that declares one: the
    program a call runs in says more about it than the group that owns it.
    """
    order = (
        directory.get("app", key.app),
        directory.get("service", key.service),
        directory.get("agent", key.agent),
        directory.get("user", key.user),
        directory.get("team", key.team),
    )
    labels: dict[str, str] = {}
    for declared in reversed(order):
        labels.update(declared.labels)
    return Attribution(
        key_id=key.id,
        key_name=key.name,
        user=key.user,
        end_user=end_user,
        team=key.team,
        app=key.app,
        service=key.service,
        agent=key.agent,
        model=model,
        model_tier=model_tier,
        provider=provider,
        tool=tool,
        environment=next((d.environment for d in order if d.environment != ABSENT), ABSENT),
        cost_center=next((d.cost_center for d in order if d.cost_center != ABSENT), ABSENT),
        roles=roles,
        labels=tuple(sorted(labels.items())),
        tags=tags,
    )
