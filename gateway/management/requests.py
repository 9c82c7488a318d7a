"""Asking for more and deciding about it: durable before it takes effect, one change after the other.

Rules: one pending request for each limit and scope; asking again shows it; whoever asked never decides; a grant is in
force from the next call on and ends by the clock alone, what is written about its end comes after. Nothing here is in
a call's way.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from gateway.core.alerts_of import decided_alert, request_alert
from gateway.core.attribution import attribute
from gateway.core.call import Caller
from gateway.core.counter import NEVER_US
from gateway.core.denial import Code, Denial, Refused
from gateway.core.grant import CounterName, Grants
from gateway.core.ledger import QuotaRequestChanged
from gateway.core.limit import Limit
from gateway.core.quota_request import REASON_LENGTH_MAX, QuotaRequest, RequestSettled, RequestState
from gateway.core.rate_limit import FRESH_TAT_US, Rate, verdict
from gateway.core.session import Session, SessionState
from gateway.management.approver import USER, Approver, approver_of, refuse_own, refuse_unless_allowed, subjects_behind
from gateway.management.asking import Meant, Wish, check_reason, meant_by
from gateway.management.raises import DAY_US, amount_of, check_scope, until_of
from gateway.management.refused import ManagementRefused, Unknown
from gateway.management.sessions import set_state
from gateway.pipeline.plane import Plane
from gateway.ports import BooksUnavailable, Reports

NEW_REQUESTS: Final = Rate(limit=10, period_us=3_600_000_000, burst=5)
"""New requests of one key."""
SAME_WITHIN_US = 3_600_000_000
PENDING_MAX = 1_000
SHOWN_MAX = 20
LISTED_MAX = 10_000
PAUSED_SOUGHT_MAX = 1_000
_OPEN = (RequestState.PENDING, RequestState.APPROVED)
BY_CLOCK = "clock"
T = TypeVar("T")
KeyLimits = Callable[[], Mapping[str, tuple[Limit, ...]]]


class RequestDesk:
    """Knows all requests that are open, and those of the last day."""

    def __init__(self, plane: Plane, reports: Reports, key_limits: KeyLimits) -> None:
        self._plane = plane
        self._reports = reports
        self._key_limits = key_limits
        self._known: dict[str, QuotaRequest] = {}
        self._asked_by_key: dict[str, int] = {}
        self._next_over_us = NEVER_US
        self._turn = asyncio.Lock()

    async def take_up(self) -> None:
        """What the books have, at start. Raises BooksUnavailable."""
        now_us = self._plane.clock.now_us()
        found = await self._reports.quota_requests(since_us=now_us - DAY_US, limit=LISTED_MAX)
        for state in _OPEN:
            found += await self._reports.quota_requests(state=state.value, limit=LISTED_MAX)
        self._known = {request.id: request for request in found}
        self._put_in_force(now_us)
        await self.sweep()

    async def ask(self, caller: Caller, headers: Mapping[str, str], wish: Wish, actor: str) -> QuotaRequest:
        """The new request, or the one that is there. `actor` is who asks on the caller's behalf, "caller" if nobody
        does. Raises ManagementRefused, Refused (asked too often), BooksUnavailable."""
        meant = await meant_by(self._plane, self._reports, caller, headers, wish)
        amount = amount_of(meant.unit, wish.amount)
        until_us = until_of(wish.until, self._plane.clock.now_us())
        subjects = caller.key.subjects() | {word for word in approver_of(actor).subjects if word.startswith(USER)}
        request = QuotaRequest(
            id=self._plane.ids.new("req"),
            limit=meant.limit,
            scope=meant.scope,
            unit=meant.unit,
            amount=amount,
            until_us=until_us,
            asked_us=self._plane.clock.now_us(),
            key_id=caller.key_id,
            session_id=meant.session_id,
            subjects=tuple(sorted(subjects, key=lambda word: (not word.startswith("agent:"), word))),
            reason=wish.reason,
        )
        return await self._in_turn(self._open(request, meant, actor))

    def own(self, caller: Caller) -> list[QuotaRequest]:
        """Those of this key, newest first: open ones, and those of the last day."""
        mine = [request for request in self._known.values() if request.key_id == caller.key_id]
        return sorted(mine, key=lambda request: request.asked_us, reverse=True)[:SHOWN_MAX]

    async def one_of(self, caller: Caller, request_id: str) -> QuotaRequest:
        """Raises Unknown also for another key's."""
        request = await self._find(request_id)
        if request.key_id != caller.key_id:
            raise Unknown(f"no request '{request_id[:64]}' of this key is known")
        return request

    async def listed(self, state: str | None, limit: int) -> list[QuotaRequest]:
        """Newest first."""
        await self.sweep()
        return await self._reports.quota_requests(state=state, limit=min(limit, LISTED_MAX))

    async def show(self, request_id: str) -> QuotaRequest:
        """Raises Unknown."""
        await self.sweep()
        return await self._find(request_id)

    async def approve(
        self, request_id: str, approver: Approver, amount: float | None, until: str | None, note: str
    ) -> QuotaRequest:
        """Grants it, or less of it; resumes what its limit paused. Raises ManagementRefused, BooksUnavailable."""
        return await self._in_turn(self._approve(request_id, approver, amount, until, note))

    async def reject(self, request_id: str, approver: Approver, note: str) -> QuotaRequest:
        return await self._in_turn(self._reject(request_id, approver, note))

    async def withdraw(self, request_id: str, by: Approver) -> QuotaRequest:
        """By who asked, or who may decide: a pending request is dropped, a grant ends now."""
        return await self._in_turn(self._withdraw(request_id, by))

    async def grant(
        self, approver: Approver, name: str, scope: str, add: float, until: str | None, reason: str
    ) -> QuotaRequest:
        """Gives more without having been asked. Raises ManagementRefused, BooksUnavailable."""
        return await self._in_turn(self._grant(approver, name, scope, add, until, reason))

    async def sweep(self) -> None:
        """Writes down what the clock ended and what was drawn on; cheap where there is nothing."""
        now_us = self._plane.clock.now_us()
        drawn = self._plane.limiter.drawn()
        if drawn or now_us >= self._next_over_us:
            with suppress(BooksUnavailable):  # the clock has ended it all the same; it is written with the next one
                await self._in_turn(self._catch_up(drawn, now_us))

    async def _open(self, request: QuotaRequest, meant: Meant, actor: str) -> QuotaRequest:
        now_us = await self._now()
        for known in self._known.values():
            if (known.limit, known.scope) != (meant.limit, meant.scope):
                continue
            again = (known.key_id, known.amount, known.reason) == (request.key_id, request.amount, request.reason)
            if known.state is RequestState.PENDING or (again and now_us - known.asked_us < SAME_WITHIN_US):
                return known
        if sum(known.state is RequestState.PENDING for known in self._known.values()) >= PENDING_MAX:
            raise ManagementRefused("too many requests wait for a decision; try again when some were decided")
        self._count(request.key_id, now_us)
        await self._write("opened", actor, request, now_us)
        self._plane.alerts.post(request_alert(request, now_us))
        return request

    async def _approve(
        self, request_id: str, approver: Approver, amount: float | None, until: str | None, note: str
    ) -> QuotaRequest:
        now_us = await self._now()
        request = await self._decidable(request_id, approver, note)
        granted = request.amount if amount is None else amount_of(request.unit, amount)
        ends_us = request.until_us if until is None else until_of(until, now_us)
        if ends_us > request.until_us:
            raise ManagementRefused("until: at most as long as was asked for")
        changed = self._settled(lambda: request.approved(granted, now_us, ends_us, approver.actor, now_us, note))
        await self._write("approved", approver.actor, changed, now_us)
        self._plane.alerts.post(decided_alert(changed, now_us))
        await self._resume(changed, approver.actor)
        return changed

    async def _reject(self, request_id: str, approver: Approver, note: str) -> QuotaRequest:
        now_us = await self._now()
        request = await self._decidable(request_id, approver, note)
        changed = self._settled(lambda: request.denied(approver.actor, now_us, note))
        await self._write("rejected", approver.actor, changed, now_us)
        self._plane.alerts.post(decided_alert(changed, now_us))
        return changed

    async def _withdraw(self, request_id: str, by: Approver) -> QuotaRequest:
        now_us = await self._now()
        request = await self._find(request_id)
        if not request.asked_by_any_of(by.subjects):
            refuse_unless_allowed(self._plane, by)
        changed = self._settled(lambda: request.withdrawn(by.actor, now_us))
        await self._write(changed.state.value, by.actor, changed, now_us)
        self._plane.alerts.post(decided_alert(changed, now_us))
        return changed

    async def _grant(
        self, approver: Approver, name: str, scope: str, add: float, until: str | None, reason: str
    ) -> QuotaRequest:
        now_us = await self._now()
        refuse_unless_allowed(self._plane, approver)
        check_reason(reason)
        limit = self._limit(name)
        if limit is None:
            raise Unknown(f"no limit '{name[:128]}' is configured")
        check_scope(limit, scope)
        if approver.person is not None and approver.subjects & set(await subjects_behind(self._plane, scope)):
            raise ManagementRefused(f"{approver.actor} cannot raise its own limit; another person must")
        amount, ends_us = amount_of(limit.unit.value, add), until_of(until, now_us)
        asked = QuotaRequest(
            self._plane.ids.new("req"), name, scope, limit.unit.value, amount, ends_us, now_us, reason=reason
        )
        given = asked.approved(amount, now_us, ends_us, approver.actor, now_us, "")
        await self._write("granted", approver.actor, given, now_us)
        self._plane.alerts.post(decided_alert(given, now_us))
        await self._resume(given, approver.actor)
        return given

    async def _decidable(self, request_id: str, approver: Approver, note: str) -> QuotaRequest:
        if len(note) > REASON_LENGTH_MAX:
            raise ManagementRefused(f"note: at most {REASON_LENGTH_MAX} characters")
        request = await self._find(request_id)
        refuse_unless_allowed(self._plane, approver)
        refuse_own(approver, request)
        return request

    @staticmethod
    def _settled(change: Callable[[], QuotaRequest]) -> QuotaRequest:
        try:
            return change()
        except (RequestSettled, ValueError) as error:
            raise ManagementRefused(str(error)) from error

    def _limit(self, name: str) -> Limit | None:
        own = (limit for limits in self._key_limits().values() for limit in limits)
        return next((limit for limit in (*self._plane.catalog.limits, *own) if limit.name == name), None)

    async def _find(self, request_id: str) -> QuotaRequest:
        known = self._known.get(request_id)
        if known is not None:
            return known
        found = await self._reports.quota_requests(request_id=request_id, limit=1)
        if not found:
            raise Unknown(f"no request '{request_id[:64]}' is known")
        return found[0]

    def _count(self, key_id: str, now_us: int) -> None:
        """Raises Refused for a key that asks for more and more."""
        asked = verdict(self._asked_by_key.get(key_id, FRESH_TAT_US), now_us, NEW_REQUESTS)
        if not asked.allowed:
            wait_s = (asked.retry_after_us or 0) / 1e6
            text = f"This key has asked for more too often; ask again in {wait_s:.0f} s."
            raise Refused(Denial(Code.RATE_LIMITED, text, retry_after_s=wait_s))
        self._asked_by_key = {key: tat for key, tat in self._asked_by_key.items() if tat > now_us}
        self._asked_by_key[key_id] = asked.tat_us

    async def _in_turn(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever stops waiting leaves no change half done, and no other change comes in between."""

        async def one_after_the_other() -> T:
            async with self._turn:
                return await work

        return await self._plane.background.shielded(one_after_the_other())

    async def _now(self) -> int:
        now_us = self._plane.clock.now_us()
        await self._catch_up(self._plane.limiter.drawn(), now_us)
        return now_us

    async def _catch_up(self, drawn: Mapping[CounterName, tuple[int, int]], now_us: int) -> None:
        for at, (since_us, beyond) in drawn.items():
            below = 0
            for request in sorted(self._known.values(), key=lambda request: (request.from_us, request.id)):
                if request.state is RequestState.APPROVED and (request.limit, request.scope) == at:
                    if beyond > below and not request.used_us:
                        await self._write("used", "caller", request.drawn_on(since_us), now_us)
                    below += request.granted
        for request in list(self._known.values()):
            ended = request.over(now_us)
            if ended is not None:
                await self._write(ended.state.value, BY_CLOCK, ended, now_us)
            elif request.state not in _OPEN and request.asked_us < now_us - DAY_US:
                del self._known[request.id]

    async def _write(self, action: str, actor: str, request: QuotaRequest, now_us: int) -> None:
        await self._plane.books.commit(QuotaRequestChanged(now_us, actor, action, request))
        self._known[request.id] = request
        self._put_in_force(now_us)

    def _put_in_force(self, now_us: int) -> None:
        grants = tuple(grant for request in self._known.values() if (grant := request.grant) is not None)
        self._plane.limiter.grant(Grants(grants), now_us)
        self._plane.refusals.judge_anew()
        ends = (request.until_us for request in self._known.values() if request.state is RequestState.PENDING)
        self._next_over_us = min((*(grant.until_us for grant in grants), *ends), default=NEVER_US)

    async def _resume(self, request: QuotaRequest, actor: str) -> None:
        """Sessions that this very limit paused go on; whatever hinders that, the grant stands."""
        try:
            paused = await self._reports.sessions(key_id=None, state=SessionState.PAUSED.value, limit=PAUSED_SOUGHT_MAX)
            for row in paused:
                if row.session.reason == f"limit {request.limit}" and self._is_on(row.session, request):
                    await set_state(self._plane, row.session.id, SessionState.OPEN, "", actor)
        except (BooksUnavailable, ManagementRefused):
            return

    def _is_on(self, session: Session, request: QuotaRequest) -> bool:
        if session.id == request.session_id or request.scope == f"session:{session.id}":
            return True
        key = self._plane.keys.get(session.key_id)
        caller = None if key is None else self._plane.keys.caller(key.digest)
        if caller is None:
            return False
        directory = self._plane.catalog.directory
        seen = [attribute(caller.key, directory, roles=caller.roles), *caller.attributions.values()]
        limit = self._limit(request.limit)
        return limit is not None and any(
            limit.binds(call, session.id) and limit.scope(call, session.id) == request.scope for call in seen
        )
