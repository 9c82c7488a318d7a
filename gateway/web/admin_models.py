"""What the admin API takes: these fields of a body or a query and no others, checked before anything is done."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_LENGTH_MAX = 128
LIST_LENGTH_MAX = 200
ROWS_MAX = 10_000
MOMENT = "day or instant, ISO 8601; UTC where it names no offset"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """Values come as text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyCreate(Body):
    """A new virtual key. Lists narrow what the policy allows; they never widen it."""

    name: str | None = Field(
        default=None, max_length=NAME_LENGTH_MAX, description="unique; made from whom the key is for if left out"
    )
    user: str | None = Field(default=None, max_length=NAME_LENGTH_MAX)
    team: str | None = Field(default=None, max_length=NAME_LENGTH_MAX)
    app: str | None = Field(default=None, max_length=NAME_LENGTH_MAX)
    service: str | None = Field(default=None, max_length=NAME_LENGTH_MAX)
    agent: str | None = Field(default=None, max_length=NAME_LENGTH_MAX)
    models: list[str] | None = Field(
        default=None, min_length=1, max_length=LIST_LENGTH_MAX, description="a trailing * is a prefix"
    )
    tools: list[str] | None = Field(
        default=None, min_length=1, max_length=LIST_LENGTH_MAX, description="a trailing * is a prefix"
    )
    limits: list[str] = Field(default_factory=list, max_length=LIST_LENGTH_MAX, description="such as usd=5/day")
    expires_at: str | None = Field(default=None, description=MOMENT)
    may_assert_user: bool = False


class KeyChange(Body):
    """Revoking is final."""

    action: Literal["rotate", "disable", "enable", "revoke"]


class SessionChange(Body):
    """Each acts on all sessions below, too. Resuming lets those go on that were held by this one only."""

    action: Literal["pause", "resume", "stop", "close"]
    reason: str = Field(default="by an administrator", max_length=500, description="told to whoever calls")


class ChildOpen(Body):
    """The part of its parent's budget that a child may use at most; more than the parent has left is cut to that."""

    tokens: int | None = Field(default=None, ge=1)
    usd: float | None = Field(default=None, gt=0)
    requests: int | None = Field(default=None, ge=1)
    tool_calls: int | None = Field(default=None, ge=1)
    share: int | None = Field(
        default=None, ge=1, le=100, description="percent of what the parent has left, of every unit that is limited"
    )
    agent: str | None = Field(
        default=None, max_length=NAME_LENGTH_MAX, description="keys of this agent may use the child, too"
    )
    expires_in_s: int | None = Field(default=None, ge=1, description="ends with its parent's run at the latest")


class OwnSession(Body):
    session: str | None = Field(
        default=None, max_length=NAME_LENGTH_MAX, description="id or the client's own; else that of the request"
    )


class OwnChildOpen(ChildOpen):
    session: str | None = Field(
        default=None,
        max_length=NAME_LENGTH_MAX,
        description="the parent; else the session of the request",
    )


class HistoryQuery(Query):
    by: Literal["hour", "day"] = "day"
    last: int = Field(default=7, ge=1, le=400, description="hours or days, the current one included")


class StopChange(Body):
    """Acts on every session of that agent, key, user or team, new ones too."""

    kind: Literal["agent", "key", "user", "team"]
    name: str = Field(max_length=NAME_LENGTH_MAX, description="of a key its name or id")
    action: Literal["pause", "resume", "stop"]
    reason: str = Field(default="by an administrator", max_length=500, description="told to whoever calls")


class ExplainQuestion(Body):
    """Who asks for what. `key` stands for all subjects of that key."""

    subjects: list[str] = Field(
        default_factory=list, max_length=LIST_LENGTH_MAX, description="typed: user:alice, team:platform, agent:reviewer"
    )
    key: str | None = Field(default=None, description="name or id of a virtual key")
    model: str = Field(default="-", description="alias; - is none")
    tool: str = Field(default="-", description="as server__tool; - is none")
    action: Literal["model:invoke", "tool:list", "tool:call"] = "model:invoke"
    arguments: dict[str, object] | None = Field(default=None, description="of the tool call")


class UsageQuery(Query):
    by: str = Field(default="user", description="dimensions, separated by commas")
    since: str | None = Field(default=None, description=f"{MOMENT}; from the beginning if left out")
    until: str | None = Field(default=None, description=f"{MOMENT}, not included")


class SessionsQuery(Query):
    key: str | None = Field(default=None, description="name or id of a virtual key")
    state: Literal["open", "paused", "stopped", "closed"] | None = None
    limit: int = Field(default=100, ge=1, le=ROWS_MAX)


class LimitsQuery(Query):
    name: str | None = Field(default=None, description="only the counters of this limit")


class AlertChange(Body):
    """What was given up, or waits for its next attempt, is tried anew."""

    action: Literal["retry"]


class AlertsQuery(Query):
    state: Literal["waiting", "sent", "dead"] | None = Field(
        default=None, description="only those with a delivery in this state; dead ones were given up"
    )
    limit: int = Field(default=100, ge=1, le=ROWS_MAX)


class AuditQuery(Query):
    since: str | None = Field(default=None, description=MOMENT)
    until: str | None = Field(default=None, description=f"{MOMENT}, not included")
    kind: str | None = Field(
        default=None, description="held, raised, settled, voided, denied, session, key, request ..."
    )
    call: str | None = Field(default=None, description="id of a call")
    session: str | None = Field(default=None, description="id of a session")
    text: str | None = Field(default=None, description="text in the row; a name finds the rows about it")
    would_deny: bool = Field(default=False, description="only calls that something which only observes would refuse")
    limit: int = Field(default=100, ge=1, le=ROWS_MAX)


class NoQuery(Query):
    pass
