"""Looks for agents and teams that spend out of the ordinary, from the rollups; never in a call's way."""

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.anomaly import HOUR_US, HOURS_BACK, Anomaly, AnomalyRules, Spending, anomaly
from gateway.ports import Alerts, Reports

KINDS = ("agent", "team")


class SpendWatch:
    """Tells once an hour about each. After a restart it may tell again."""

    def __init__(self, alerts: Alerts, reports: Reports) -> None:
        self._alerts = alerts
        self._reports = reports
        self._hour_us = 0
        self._told: set[str] = set()

    async def look(self, rules: AnomalyRules, now_us: int) -> None:
        hour_us = now_us // HOUR_US * HOUR_US
        if hour_us != self._hour_us:
            self._hour_us = hour_us
            self._told.clear()
        for kind in KINDS:
            since_us = hour_us - HOURS_BACK * HOUR_US
            for spending in await self._reports.spending(kind, since_us, hour_us, rules.min_usd_micros):
                found = anomaly(spending, rules)
                subject = f"{kind}:{spending.name}"
                if found is not None and subject not in self._told:
                    self._told.add(subject)
                    self._alerts.post(_alert(subject, spending, found, now_us))


def _alert(subject: str, spending: Spending, found: Anomaly, now_us: int) -> Alert:
    spent, usual = spending.this_hour_usd_micros, found.usual_usd_micros
    text = (
        f"{subject} has spent {spent / 1_000_000:.2f} USD this hour, {found.ratio:.1f} times its usual "
        f"{usual / 1_000_000:.2f} USD."
    )
    facts = {
        "spent_usd_micros": spent,
        "usual_usd_micros": usual,
        "ratio": round(found.ratio, 2),
        "score": round(found.score, 2),
        "hours_seen": len(spending.past_usd_micros),
    }
    return Alert(AlertKind.SPEND_ANOMALY, Severity.WARNING, subject, text, now_us, facts)
