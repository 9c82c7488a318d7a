"""What people and agents write when they ask for more or give it: amounts, until when, for whom."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.core.attribution import OPENER
from gateway.core.denial import amount_shown, time_shown
from gateway.core.limit import Limit, Unit
from gateway.core.money import MoneyInvalid, usd_to_micros
from gateway.core.quota_request import QuotaRequest
from gateway.management.key_limits import AMOUNT_MAX
from gateway.management.refused import ManagementRefused

DAY_US = 86_400_000_000
RAISE_MAX_US = 31 * DAY_US
USUAL_US = DAY_US
_SPAN = re.compile(r"([1-9][0-9]{0,5})([mhdw])", re.ASCII)
_MINUTES: Final[Mapping[str, int]] = {"m": 1, "h": 60, "d": 1_440, "w": 10_080}


def amount_of(unit: str, amount: float) -> int:
    """In the unit's integer; usd is given in dollars. Raises ManagementRefused."""
    try:
        whole = usd_to_micros(amount) if unit == Unit.USD else int(amount)
    except (MoneyInvalid, ValueError, OverflowError) as error:
        raise ManagementRefused(f"amount: {error}") from error
    if unit != Unit.USD and whole != amount:
        raise ManagementRefused(f"{unit} come in whole numbers")
    if not 0 < whole <= AMOUNT_MAX:
        raise ManagementRefused(f"an amount is more than 0 and at most {AMOUNT_MAX:,}")
    return whole


def until_of(text: str | None, now_us: int) -> int:
    """An instant (ISO 8601, UTC where it says nothing) or a span from now such as `2h`; a day if left out. Raises
    ManagementRefused."""
    at_us = now_us + USUAL_US
    if text is not None:
        span = _SPAN.fullmatch(text)
        at_us = _instant_us(text) if span is None else now_us + int(span[1]) * _MINUTES[span[2]] * 60_000_000
    if not now_us < at_us <= now_us + RAISE_MAX_US:
        raise ManagementRefused(f"until: from now to {RAISE_MAX_US // DAY_US} days ahead")
    return at_us


def check_scope(limit: Limit, scope: str) -> None:
    """Whether a limit can have a counter of that name. Raises ManagementRefused."""
    if limit.each is None:
        fixed = ",".join(f"{kind}:{value}" for kind, value in limit.where) or "org"
        if scope != fixed:
            raise ManagementRefused(f"limit '{limit.name}' has one scope: {fixed}")
        return
    kinds = ("agent", "key") if limit.each == OPENER else (limit.each,)
    if not any(scope.startswith(f"{kind}:") and len(scope) > len(kind) + 1 for kind in kinds):
        raise ManagementRefused(f"limit '{limit.name}' counts by {' or '.join(kinds)}: name one as {kinds[0]}:<name>")


def request_object(request: QuotaRequest) -> dict[str, object]:
    """A request as those see it who decide; usd in dollars."""
    return {
        **asker_object(request),
        "key": request.key_id or None,
        "session": request.session_id or None,
        "asked_by": list(request.subjects),
        "decided_by": request.decided_by or None,
        "used_at": time_shown(request.used_us or None),
    }


def asker_object(request: QuotaRequest) -> dict[str, object]:
    """A request as the asker sees it: not who decided."""
    unit = request.unit
    return {
        "request": request.id,
        "state": request.state.value,
        "limit": request.limit,
        "scope": request.scope,
        "unit": unit,
        "amount": amount_shown(unit, request.amount),
        "until": time_shown(request.until_us),
        "reason": request.reason,
        "asked_at": time_shown(request.asked_us),
        "decided_at": time_shown(request.decided_us or None),
        "note": request.note,
        "granted": amount_shown(unit, request.granted),
        "granted_from": time_shown(request.from_us or None),
        "granted_until": time_shown(request.ends_us or None),
    }


def _instant_us(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return round(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise ManagementRefused(f"'{text[:40]}' is neither a span such as 2h nor an instant in ISO 8601") from None
