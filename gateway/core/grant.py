"""Raises of limits for a time: which there are, and what they add to a limit at a moment.

Rules: a grant raises the amount of one limit for one scope, from `from_us` on and at `until_us` no longer; several of
them add up; nothing has to happen for one to end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.counter import NEVER_US

CounterName = tuple[str, str]
"""(limit, scope)"""


@dataclass(frozen=True, slots=True)
class Grant:
    """`amount` is added, in the limit's unit. `id` is that of the request that brought it."""

    id: str
    limit: str
    scope: str
    amount: int
    from_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Raises:
    """What grants add to each limit and scope, the same at every moment of [since_us, until_us)."""

    amounts: Mapping[CounterName, int] = field(default_factory=dict)
    since_us: int = 0
    until_us: int = NEVER_US

    def hold_at(self, now_us: int) -> bool:
        return self.since_us <= now_us < self.until_us


@dataclass(frozen=True, slots=True)
class Grants:
    """All grants that are in force or will be."""

    grants: tuple[Grant, ...] = ()

    def at(self, now_us: int) -> Raises:
        amounts: dict[CounterName, int] = {}
        since_us, until_us = 0, NEVER_US
        for grant in self.grants:
            for edge_us in (grant.from_us, grant.until_us):
                if edge_us <= now_us:
                    since_us = max(since_us, edge_us)
                else:
                    until_us = min(until_us, edge_us)
            if grant.from_us <= now_us < grant.until_us:
                at = (grant.limit, grant.scope)
                amounts[at] = amounts.get(at, 0) + grant.amount
        return Raises(amounts, since_us, until_us)
