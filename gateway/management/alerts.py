"""Alerts for people: what was raised and how far it got; a test of every way out; another try at what was given up."""

from collections.abc import Awaitable
from typing import Any, Protocol

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.denial import time_shown
from gateway.core.outbox import DeliveryState, DeliveryTried, OutboxRow
from gateway.management.refused import Unknown
from gateway.pipeline.alerting import AlertDesk
from gateway.pipeline.plane import Plane
from gateway.ports import Outbox, Reports


class Ways(Protocol):
    """The ways out."""

    def round(self) -> Awaitable[None]:
        """Tries once what is due now."""


class AlertOffice:
    """All methods raise BooksUnavailable."""

    def __init__(self, plane: Plane, desk: AlertDesk, outbox: Outbox, reports: Reports, ways: Ways) -> None:
        self._plane = plane
        self._desk = desk
        self._outbox = outbox
        self._reports = reports
        self._ways = ways

    async def listed(self, state: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return [alert_object(row) for row in await self._reports.alerts(alert_id=None, state=state, limit=limit)]

    async def shown(self, alert_id: str) -> dict[str, Any]:
        return alert_object(await self._row(alert_id))

    async def test(self, actor: str) -> dict[str, Any]:
        """Sends a test by every way out and waits for the first attempt of each."""
        text = f"This is a test by {actor}: alerts of this gateway reach you here."
        alert = Alert(AlertKind.TEST, Severity.INFO, "alerts", text, self._plane.clock.now_us())
        alert_id = self._desk.post_alone(alert)
        await self._ways.round()
        return await self.shown(alert_id)

    async def retry(self, alert_id: str) -> dict[str, Any]:
        """Every delivery that is not there yet is tried anew, as if it were its first time."""
        row, now_us = await self._row(alert_id), self._plane.clock.now_us()
        anew = [
            DeliveryTried(alert_id, each.channel, DeliveryState.WAITING, 0, now_us, each.error)
            for each in row.deliveries
            if each.state is not DeliveryState.SENT
        ]
        if anew:
            await self._outbox.tried(*anew)
            await self._ways.round()
        return await self.shown(alert_id)

    async def _row(self, alert_id: str) -> OutboxRow:
        rows = await self._reports.alerts(alert_id=alert_id, state=None, limit=1)
        if not rows:
            raise Unknown(f"no alert '{alert_id[:64]}' is known")
        return rows[0]


def alert_object(row: OutboxRow) -> dict[str, Any]:
    raised, alert = row.raised, row.raised.alert
    return {
        "id": raised.id,
        "at": time_shown(alert.at_us),
        "last_at": time_shown(raised.last_at_us),
        "count": raised.count,
        "kind": alert.kind.value,
        "severity": alert.severity.value,
        "subject": alert.subject,
        "text": alert.text,
        "facts": dict(alert.facts),
        "deliveries": [
            {
                "channel": each.channel,
                "state": each.state.value,
                "attempts": each.attempts,
                "next_at": time_shown(each.due_us) if each.state is DeliveryState.WAITING else None,
                "error": each.error,
            }
            for each in row.deliveries
        ],
    }
