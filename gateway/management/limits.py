"""Limits as they stand: every live counter, and one limit with its rule.

A counter leaves memory when nobody used it for a while, and after a start none is there yet; so the counters of the
sessions that were active last are taken up before any are shown.
"""

from collections.abc import Mapping
from typing import Any

from gateway.core.attribution import attribute
from gateway.core.child_part import CHILD_PARTS
from gateway.core.denial import amount_shown
from gateway.core.hold import CounterView
from gateway.core.limit import SOFT, Limit, Mode
from gateway.management.refused import Unknown
from gateway.pipeline.answer import view_object
from gateway.pipeline.plane import Plane
from gateway.ports import Reports

SESSIONS_TAKEN_UP = 50
KeyLimits = Mapping[str, tuple[Limit, ...]]


async def counters(plane: Plane, reports: Reports, name: str | None = None) -> list[dict[str, Any]]:
    """One object for each live counter, by limit and scope; only those of the limit `name`, if given."""
    await _take_up(plane, reports)
    views = plane.limiter.views(plane.clock.now_us())
    return [counter_object(v) for v in sorted(views, key=lambda v: (v.name, v.scope)) if name in (None, v.name)]


def counter_object(view: CounterView) -> dict[str, Any]:
    """A counter with what happens at its end; `would_deny` = it only observes, and has no room left."""
    return {
        **view_object(view),
        "action": view.action,
        "mode": view.mode,
        "would_deny": view.mode == Mode.OBSERVE and view.action not in SOFT and view.remaining == 0,
        "reserved": {
            part.subject: {
                "limit": amount_shown(view.unit, part.amount),
                "spent": amount_shown(view.unit, part.used),
                "kept": amount_shown(view.unit, part.kept),
            }
            for part in view.parts
        },
    }


async def show_limit(plane: Plane, reports: Reports, key_limits: KeyLimits, name: str) -> dict[str, Any]:
    """Raises Unknown. `key_limits`: those that keys bring along, by key id."""
    found: list[tuple[Limit, str | None]] = [(limit, None) for limit in (*plane.catalog.limits, *CHILD_PARTS.values())]
    for key_id, own in key_limits.items():
        key = plane.keys.get(key_id)
        found += [(limit, key_id if key is None else key.name) for limit in own]
    match = next(((limit, key) for limit, key in found if limit.name == name), None)
    if match is None:
        raise Unknown(f"no limit '{name[:128]}' is configured")
    limit, key_name = match
    return {"rule": limit_object(limit, key_name), "limits": await counters(plane, reports, name)}


def limit_object(limit: Limit, key_name: str | None) -> dict[str, Any]:
    """A limit as configured; usd in dollars, `reserved` and `alert_at` in per cent."""
    unit = limit.unit.value
    return {
        "name": limit.name,
        "unit": unit,
        "limit": amount_shown(unit, limit.amount),
        "window": limit.window.text,
        "each": limit.each,
        "where": dict(limit.where),
        "action": limit.action.value,
        "mode": limit.mode.value,
        "overrides": {subject: amount_shown(unit, amount) for subject, amount in limit.overrides},
        "route_to": limit.route_to or None,
        "reserved": {subject: share / 100 for subject, share in limit.reserved},
        "alert_at": list(limit.alert_at),
        "key": key_name,
    }


async def _take_up(plane: Plane, reports: Reports) -> None:
    now_us = plane.clock.now_us()
    for row in await reports.sessions(key_id=None, state=None, limit=SESSIONS_TAKEN_UP):
        key = plane.keys.get(row.session.key_id)
        caller = None if key is None else plane.keys.caller(key.digest)
        if caller is None:
            continue
        live = await plane.sessions.by_id(row.session.id) if row.session.ancestors else None
        lineage = () if live is None else live.lineage
        attributions = caller.attributions.values() or [
            attribute(caller.key, plane.catalog.directory, roles=caller.roles)
        ]
        for attribution in list(attributions):
            bindings = plane.limiter.bindings(attribution, row.session.id, lineage)
            await plane.limiter.load(bindings, row.session.id, now_us, fresh_session=False)
