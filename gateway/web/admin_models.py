"""The bodies that the admin API takes: exactly these fields, nothing else, checked before anything is done."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class KeyCreate(Body):
    """A new virtual key. Lists narrow what the policy allows; they never widen it."""

    name: str | None = Field(default=None, description="unique; made from user, app, service and agent if left out")
    user: str | None = None
    team: str | None = None
    app: str | None = None
    service: str | None = None
    agent: str | None = None
    models: list[str] | None = Field(default=None, min_length=1)
    tools: list[str] | None = Field(default=None, min_length=1)
    limits: list[str] = Field(default_factory=list, description="such as usd=5/day")
    expires_at: str | None = Field(default=None, description="day or instant, ISO 8601")
    may_assert_user: bool = False


class KeyChange(Body):
    action: Literal["rotate", "disable", "enable", "revoke"]


class SessionChange(Body):
    action: Literal["pause", "resume", "stop"]
    reason: str = Field(default="by an administrator", max_length=500)


class ExplainQuestion(Body):
    """Subjects are typed: user:alice, team:platform, agent:reviewer ..."""

    subjects: list[str] = Field(min_length=1)
    model: str = "-"
    tool: str = "-"
    action: str = "model:invoke"
    arguments: dict[str, object] | None = None
