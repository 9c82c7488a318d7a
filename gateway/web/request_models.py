"""Requests for more, as the API takes and tells them. Amounts in the limit's unit; usd in dollars."""

from typing import Literal

from pydantic import Field

from gateway.core.quota_request import REASON_LENGTH_MAX
from gateway.web.admin_answers import Answer
from gateway.web.admin_models import MOMENT, NAME_LENGTH_MAX, ROWS_MAX, Body, Query

SCOPE_LENGTH_MAX = 512


class QuotaAsk(Body):
    """More of one limit for a time. Name the limit, or the call that it refused."""

    limit: str | None = Field(default=None, max_length=NAME_LENGTH_MAX)
    call: str | None = Field(default=None, max_length=NAME_LENGTH_MAX, description="id of a call that a limit refused")
    scope: str | None = Field(
        default=None, max_length=SCOPE_LENGTH_MAX, description="where the limit counts the asker under several"
    )
    amount: int | float = Field(gt=0, description="in the limit's unit; usd in dollars")
    reason: str = Field(min_length=1, max_length=REASON_LENGTH_MAX, description="for the person who decides")
    until: str | None = Field(
        default=None, max_length=64, description=f"a span such as 2h, or {MOMENT}; 1d if left out"
    )
    session: str | None = Field(default=None, max_length=NAME_LENGTH_MAX, description="for limits of one session")


class QuotaAskFor(QuotaAsk):
    key: str = Field(description="name or id of the virtual key on whose behalf it is asked")


class QuotaWithdraw(Body):
    action: Literal["withdraw"]


class QuotaDecision(Body):
    """Approving grants what was asked for, or less; withdrawing also ends a grant that is in force."""

    action: Literal["approve", "reject", "withdraw"]
    amount: int | float | None = Field(default=None, gt=0, description="less than was asked for")
    until: str | None = Field(default=None, max_length=64, description="sooner than was asked for")
    note: str = Field(default="", max_length=REASON_LENGTH_MAX, description="told to whoever asked")


class QuotaGrant(Body):
    """More without having been asked."""

    scope: str = Field(max_length=SCOPE_LENGTH_MAX, description="the counter, such as user:alice or session:ses_...")
    amount: int | float = Field(gt=0, description="in the limit's unit; usd in dollars")
    reason: str = Field(min_length=1, max_length=REASON_LENGTH_MAX)
    until: str | None = Field(
        default=None, max_length=64, description=f"a span such as 2h, or {MOMENT}; 1d if left out"
    )


class QuotaRequestsQuery(Query):
    state: Literal["pending", "approved", "denied", "withdrawn", "lapsed", "expired", "revoked"] | None = None
    limit: int = Field(default=100, ge=1, le=ROWS_MAX)


class OwnQuotaRequest(Answer):
    """More was asked for, and what became of it. Amounts in the limit's unit; usd in dollars."""

    request: str
    state: Literal["pending", "approved", "denied", "withdrawn", "lapsed", "expired", "revoked"]
    limit: str
    scope: str
    unit: str
    amount: float | int
    until: str
    reason: str
    asked_at: str
    decided_at: str | None
    note: str
    granted: float | int
    granted_from: str | None
    granted_until: str | None


class OwnQuotaRequests(Answer):
    requests: list[OwnQuotaRequest]


class QuotaRequest(OwnQuotaRequest):
    """`asked_by` are all subjects of the asker; `key` None = given unasked; `used_at` = first drawn on."""

    key: str | None
    session: str | None
    asked_by: list[str]
    decided_by: str | None
    used_at: str | None


class QuotaRequests(Answer):
    requests: list[QuotaRequest]
