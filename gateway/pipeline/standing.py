"""Whether a call may be here at all, whatever it asks for: its key, whom it acts for, its session and those above it.

Asked at the door, and again of all calls in flight whenever one of these changes: what the next call would be refused
with ends those that run. A session that was closed lets its last calls end by themselves.
"""

from gateway.core.alerts_of import session_alert
from gateway.core.attribution import Attribution
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import KeyState, VirtualKey
from gateway.core.session import SessionState
from gateway.core.stop import HALTS, stop_denial, stop_of
from gateway.pipeline.flights import Flight
from gateway.pipeline.plane import Plane
from gateway.pipeline.sessions import LiveSession, refuse_unless_open


def inactive(key: VirtualKey, now_us: int) -> Denial | None:
    """Why this key opens nothing; None if it does."""
    if key.state is KeyState.DISABLED:
        return Denial(Code.KEY_DISABLED, f"Key '{key.name}' is disabled. Its owner or an administrator can enable it.")
    if key.state is KeyState.REVOKED:
        return Denial(Code.KEY_REVOKED, f"Key '{key.name}' was revoked. Ask its owner for a new one.")
    if key.expires_at_us is not None and now_us >= key.expires_at_us:
        return Denial(Code.KEY_EXPIRED, f"Key '{key.name}' has expired. Ask its owner for a new one.")
    return None


def refuse_unless_standing(plane: Plane, live: LiveSession, key: VirtualKey) -> None:
    """At the door of the line, after the key was identified. Raises Refused."""
    if (denial := _stopped(plane, key)) is not None:
        raise Refused(denial)
    refuse_unless_open(live)


def end_what_may_not_go_on(plane: Plane) -> int:
    """Ends the calls in flight that would not be let in now; how many those were. Costs a look at each of them."""
    now_us = plane.clock.now_us()
    return plane.flights.end(lambda flight: _verdict(plane, flight, now_us))


def pause_by_limit(plane: Plane, live: LiveSession, denial: Denial, attribution: Attribution) -> None:
    """A limit whose action is to pause ended a stream of this session (rule 28)."""
    if live.session.state is SessionState.OPEN:
        reason = f"limit {denial.limit.name}" if denial.limit is not None else denial.code.value
        entry = plane.sessions.change(live, SessionState.PAUSED, reason, "limit", plane.clock.now_us())
        plane.books.post(entry)
        plane.alerts.post(session_alert(SessionState.PAUSED, live.id, reason, plane.clock.now_us(), attribution))
        end_what_may_not_go_on(plane)


def _stopped(plane: Plane, key: VirtualKey) -> Denial | None:
    stop = stop_of(key, plane.stops) if plane.stops else None
    return None if stop is None else stop_denial(stop, key)


def _verdict(plane: Plane, flight: Flight, now_us: int) -> Denial | None:
    key = plane.keys.get(flight.key.id)
    if key is None:
        return None
    denial = inactive(key, now_us) or _stopped(plane, key)
    if denial is None and any(each.session.state in HALTS for each in (flight.live, *flight.live.above)):
        try:
            refuse_unless_open(flight.live)
        except Refused as refused:
            return refused.denial
    return denial
