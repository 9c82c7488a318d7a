"""What the admin API answers about limits."""

from gateway.web.admin_answers import Answer, Counter


class ReservedPart(Answer):
    """What its owner has of a limit, used of that, and what is kept for it now."""

    limit: float | int
    spent: float | int
    kept: float | int


class LiveCounter(Counter):
    """`would_deny` = the limit only observes, and has no room left; `reserved` by subject."""

    action: str
    mode: str
    would_deny: bool
    reserved: dict[str, ReservedPart]


class Counters(Answer):
    limits: list[LiveCounter]


class LimitRule(Answer):
    """A limit as it is configured. `each` None = one counter for all; `where` = only calls with all of these values."""

    name: str
    unit: str
    limit: float | int
    window: str
    each: str | None
    where: dict[str, str]
    action: str
    mode: str
    overrides: dict[str, float | int]
    route_to: str | None
    reserved: dict[str, float]
    alert_at: list[int]
    key: str | None


class Limit(Answer):
    rule: LimitRule
    limits: list[LiveCounter]
