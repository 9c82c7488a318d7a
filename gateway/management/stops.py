"""The switch for whole agents, keys, users and teams: in force for calls in flight and for every next one, in sessions
old and new, until a person lifts it; over restarts too."""

from typing import Any

from gateway.core.alerts_of import stop_alert
from gateway.core.denial import time_shown
from gateway.core.identity import ABSENT
from gateway.core.ledger import StopChanged
from gateway.core.session import SessionState
from gateway.core.stop import Stop
from gateway.management.refused import ManagementRefused, Unknown
from gateway.pipeline.plane import Plane
from gateway.pipeline.standing import end_what_may_not_go_on


def list_stops(plane: Plane) -> list[dict[str, Any]]:
    """Everything that is paused or stopped as a whole, newest first."""
    return [stop_object(plane, stop) for stop in sorted(plane.stops.values(), key=lambda stop: -stop.at_us)]


async def set_stop(plane: Plane, kind: str, name: str, state: SessionState, reason: str, actor: str) -> dict[str, Any]:
    """`name` of a key is its name or id; OPEN lifts. Raises Unknown for whom nobody knows, or nothing holds: a switch
    that was set for a misspelt name would only seem to act. Raises ManagementRefused and BooksUnavailable."""
    scope = (kind, _known(plane, kind, name))
    if state is SessionState.CLOSED:
        raise ManagementRefused(f"{kind} '{name[:128]}' cannot be closed: pause or stop it")
    if state is SessionState.OPEN and scope not in plane.stops:
        raise Unknown(f"{kind} '{name[:128]}' is neither paused nor stopped as a whole")
    stop = Stop(kind, scope[1], state, reason, actor, plane.clock.now_us())
    await plane.books.commit(StopChanged(stop.at_us, actor, stop))
    if state is SessionState.OPEN:
        plane.stops.pop(scope, None)
    else:
        plane.stops[scope] = stop
        plane.alerts.post(stop_alert(stop, stop_object(plane, stop)["name"]))
    plane.refusals.judge_anew()
    return {**stop_object(plane, stop), "ended": end_what_may_not_go_on(plane)}


def stop_object(plane: Plane, stop: Stop) -> dict[str, Any]:
    key = plane.keys.get(stop.name) if stop.kind == "key" else None
    return {
        "kind": stop.kind,
        "name": stop.name if key is None else key.name,
        "state": stop.state.value,
        "reason": stop.reason,
        "actor": stop.actor,
        "at": time_shown(stop.at_us),
    }


def _known(plane: Plane, kind: str, name: str) -> str:
    """What a stop of this name is kept under."""
    if kind == "key":
        key = plane.keys.get(name) or plane.keys.named(name)
        if key is not None:
            return key.id
    elif name != ABSENT and (
        (kind, name) in plane.stops
        or name in plane.catalog.directory.principals.get(kind, {})
        or any(getattr(key, kind) == name for key in plane.keys.all())
    ):
        return name
    raise Unknown(f"no {kind} '{name[:128]}' is known: no key names it and the configuration does not declare it")
