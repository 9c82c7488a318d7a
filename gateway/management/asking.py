"""What an asker means: which limit, for which of its own counters, how much, until when."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.call import Caller
from gateway.core.quota_request import REASON_LENGTH_MAX
from gateway.management import quota
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.plane import Plane
from gateway.ports import Reports

SCOPES_NAMED = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """As it was written. `limit`, or `call`: the id of a call that a limit refused. `scope` where a limit counts the
    asker under several; `amount` in the limit's unit, usd in dollars; `until` an instant or a span such as `2h`."""

    amount: float
    reason: str
    limit: str | None = None
    call: str | None = None
    scope: str | None = None
    until: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Meant:
    """The counter that is meant, and the session of the asker, "" if it has none."""

    limit: str
    scope: str
    unit: str
    session_id: str


async def meant_by(plane: Plane, reports: Reports, caller: Caller, headers: Mapping[str, str], wish: Wish) -> Meant:
    """Raises ManagementRefused, Refused (a session that is not the asker's), BooksUnavailable."""
    check_reason(wish.reason)
    if (wish.limit is None) is (wish.call is None):
        raise ManagementRefused("name either the limit, or the call that it refused")
    if wish.call is not None:
        return await _of_denial(plane, reports, caller, wish.call)
    sessions = await quota.chosen_sessions(plane, caller, headers, wish.session)
    session_id = sessions[0].id if sessions else quota.NO_SESSION
    found: dict[str, Meant] = {}
    for attribution in quota.attributions(plane, caller):
        for b in plane.limiter.bindings(attribution, session_id, sessions[0].lineage if sessions else ()):
            if b.limit.name == wish.limit and (session_id or not b.limit.in_session):
                found[b.scope] = Meant(b.limit.name, b.scope, b.limit.unit.value, session_id)
    if not found:
        raise Unknown(f"no limit '{str(wish.limit)[:128]}' binds this key now; quota_limits names those that do")
    if wish.scope is not None and wish.scope in found:
        return found[wish.scope]
    if wish.scope is not None or len(found) > 1:
        scopes = ", ".join(sorted(found)[:SCOPES_NAMED])
        raise ManagementRefused(f"limit '{wish.limit}' counts you as {scopes}: name one of these as scope")
    return next(iter(found.values()))


def check_reason(reason: str) -> None:
    """Raises ManagementRefused."""
    if not 0 < len(reason.strip()) <= REASON_LENGTH_MAX:
        raise ManagementRefused(f"reason: 1 to {REASON_LENGTH_MAX} characters for the person who decides")


async def _of_denial(plane: Plane, reports: Reports, caller: Caller, call_id: str) -> Meant:
    denial = (await quota.explain(plane, reports, caller, call_id)).get("comptroller") or {}
    limit = denial.get("limit")
    if not isinstance(limit, Mapping):
        raise Unknown(f"no call '{call_id[:64]}' of this key was refused by a limit")
    row = await reports.call(call_id)
    return Meant(limit["name"], limit["scope"], limit["unit"], "" if row is None else row.session_id)
