"""A refused call on its way out: it gets its id, is written down before the answer, and may pause its session.

Rule 33: a flood of denials of one key is answered from memory and summed. What an upstream refused is not a denial of
ours: its hold was voided, and only telemetry is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.alerts_of import denial_alert, loop_alert, session_alert
from gateway.core.attribution import Attribution, attribute
from gateway.core.call import Caller, Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.idempotency import HEADER
from gateway.core.ledger import CallDenied, Entry, SessionChanged
from gateway.core.record import CallRecord
from gateway.core.session import IMPLICIT, MarkRefused, SessionState, mark_of
from gateway.pipeline.capacity import FullLine, LineFull
from gateway.pipeline.flights import FlightEnded, Phase
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import BudgetRefused, books_unavailable
from gateway.pipeline.sessions import LiveSession
from gateway.pipeline.standing import end_what_may_not_go_on
from gateway.ports import BooksUnavailable

_NOT_OURS = frozenset(
    {Code.UPSTREAM_FAILED, Code.UPSTREAM_INVALID, Code.UPSTREAM_QUOTA, Code.UPSTREAM_TIMEOUT, Code.LEDGER_UNAVAILABLE}
)
_SENT = frozenset(kind.value for kind in Kind if kind is not Kind.TOOL)


@dataclass(slots=True)
class Trail:
    """What is known of a call when it is refused. `asked` = the model or the tool."""

    call_id: str
    kind: str
    caller: Caller
    live: LiveSession | None = None
    attribution: Attribution | None = None
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)
    asked: str = ""
    _about: int | None = None

    @property
    def about(self) -> int:
        """The session that the call names, and the model or tool that it asks for: what is told before anything is
        looked up. Worked out once: a flood is asked for it at the door and again where it is counted."""
        if self._about is None:
            try:
                mark = mark_of(self.headers, self.body)
            except MarkRefused:
                self._about = 0
            else:
                self._about = hash((mark.kind, mark.client_id, self.asked))
        return self._about


class KnownRefused(Refused):
    """Refused from memory."""


class LoopRefused(Refused):
    """Refused because the session runs in circles; `state` is what becomes of the session."""

    def __init__(self, denial: Denial, state: SessionState) -> None:
        super().__init__(denial)
        self.state = state


async def refuse_at_the_door(plane: Plane, trail: Trail) -> None:
    """Raises Refused for a node that is stopping, and from memory for a key that floods (rule 33)."""
    if plane.draining:
        text = "This node is stopping and takes no new calls; retry, another one answers."
        raise Refused(Denial(Code.OVERLOADED, text, call_id=trail.call_id, retry_after_s=1.0))
    now_us = plane.clock.now_us()
    if plane.refusals.flooded(trail.caller.key_id, now_us) and not _told_by_its_beginning(plane, trail):
        known = plane.refusals.answer(trail.caller.key_id, trail.about, now_us)
        if known is not None and (known.final or _stands_in_line(trail)):
            raise await denied(plane, trail, KnownRefused(known))


def _told_by_its_beginning(plane: Plane, trail: Trail) -> bool:
    """Whether the session of a call is not known before it is read: what another one was told may not hold for it."""
    if not plane.catalog.sessions.fingerprint or trail.kind != Kind.CHAT:
        return False
    try:
        return mark_of(trail.headers, trail.body) is IMPLICIT
    except MarkRefused:
        return False


def _stands_in_line(trail: Trail) -> bool:
    """Whether it is a call that a full line would turn away: a repetition may be answered without being sent."""
    return trail.kind in _SENT and HEADER not in trail.headers


def _full_lines(plane: Plane, trail: Trail, refused: Refused) -> tuple[FullLine, ...]:
    """The lines that would turn another such call away. None where it might be led to another model, or answered from
    the cache."""
    if not isinstance(refused, LineFull) or plane.catalog.routes:
        return ()
    model = plane.catalog.models.get(trail.asked)
    return () if model is None or model.cache is not None else refused.lines


async def denied(plane: Plane, trail: Trail, refused: Refused) -> Refused:
    """The refusal to answer with, once it is written down."""
    denial = _complete(plane, trail, refused.denial)
    now_us = plane.clock.now_us()
    phase = refused.phase if isinstance(refused, FlightEnded) else Phase.WAITING
    if phase is Phase.SENT:
        # Its settlement says how it ended, here and in telemetry.
        return Refused(denial)
    if denial.code not in _NOT_OURS and phase is Phase.WAITING:
        entries = _consequences(plane, trail, refused, denial, now_us)
        judged, lines = not isinstance(refused, KnownRefused), _full_lines(plane, trail, refused)
        key_id = trail.caller.key_id
        if plane.refusals.refused(key_id, trail.about, denial, now_us, judged=judged, lines=lines):
            entries.append(_row(plane, trail, denial, now_us))
        _alert(plane, trail, refused, denial, now_us)
        try:
            if entries:
                await plane.books.commit(*entries)
                if isinstance(entries[0], SessionChanged):
                    end_what_may_not_go_on(plane)
        except BooksUnavailable:
            denial = replace(books_unavailable(), call_id=trail.call_id)
    elif denial.code is Code.UPSTREAM_QUOTA:
        _alert(plane, trail, refused, denial, now_us)
    plane.telemetry.finished(_record(trail, denial))
    return Refused(denial)


def _complete(plane: Plane, trail: Trail, denial: Denial) -> Denial:
    url = denial.request_url
    if url is None and denial.final and denial.limit is not None and plane.portal_url:
        url = f"{plane.portal_url}/portal/requests/new?limit={denial.limit.name}"
    session_id = trail.live.id if trail.live is not None and trail.live.written else None
    return replace(denial, call_id=trail.call_id, session_id=session_id, request_url=url)


def _consequences(plane: Plane, trail: Trail, refused: Refused, denial: Denial, now_us: int) -> list[Entry]:
    """The change of the session's state that this refusal brings with it."""
    live = trail.live
    if live is None:
        return []
    if isinstance(refused, LoopRefused):
        return [plane.sessions.change(live, refused.state, denial.message, "loop detection", now_us)]
    if isinstance(refused, BudgetRefused) and refused.pauses:
        reason = f"limit {denial.limit.name}" if denial.limit is not None else denial.code.value
        return [plane.sessions.change(live, SessionState.PAUSED, reason, "limit", now_us)]
    return []


def _alert(plane: Plane, trail: Trail, refused: Refused, denial: Denial, now_us: int) -> None:
    """What an operator is told of it."""
    attribution = _attribution(plane, trail)
    session_id = trail.live.id if trail.live is not None else ""
    if isinstance(refused, LoopRefused):
        plane.alerts.post(loop_alert(denial, refused.state, attribution, session_id, now_us))
        return
    plane.alerts.post(denial_alert(denial, attribution, session_id, now_us))
    if isinstance(refused, BudgetRefused) and refused.pauses:
        by = f"limit {denial.limit.name}" if denial.limit is not None else denial.code.value
        plane.alerts.post(session_alert(SessionState.PAUSED, session_id, by, now_us, attribution))


def _attribution(plane: Plane, trail: Trail) -> Attribution:
    return trail.attribution or attribute(trail.caller.key, plane.catalog.directory)


def _row(plane: Plane, trail: Trail, denial: Denial, now_us: int) -> CallDenied:
    attribution = _attribution(plane, trail)
    return CallDenied(
        call_id=trail.call_id,
        at_us=now_us,
        session_id=trail.live.id if trail.live is not None else "",
        attribution=attribution,
        kind=trail.kind,
        code=denial.code.value,
        denial=denial.machine(),
        policy_version=plane.policy.version,
    )


def _record(trail: Trail, denial: Denial) -> CallRecord:
    attribution = trail.attribution
    return CallRecord(
        call_id=trail.call_id,
        kind=trail.kind,
        session_id=trail.live.id if trail.live is not None else "",
        key_id=trail.caller.key_id,
        model=attribution.model if attribution is not None else "-",
        provider=attribution.provider if attribution is not None else "-",
        tool=attribution.tool if attribution is not None else "-",
        outcome="denied",
        code=denial.code.value,
        status=0,
        stream=trail.stream,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
        cost_usd_micros=0,
        estimated="",
        overrun=False,
        ours_us=0,
        upstream_us=0,
        first_byte_us=0,
    )
