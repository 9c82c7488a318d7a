"""Takes alerts from everywhere (port `Alerts`): sums floods, writes what is left into the outbox. It does not send."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from gateway.core.alert import FACTS_MAX, TEXT_LENGTH_MAX, Alert, AlertKind, Severity
from gateway.core.alert_flood import Flood, Raise
from gateway.core.outbox import AlertCounted, AlertRaised
from gateway.ports import Books, Ids

SUMMED_FOR_US = 300_000_000
ALL_KINDS = frozenset(AlertKind)


@dataclass(frozen=True, slots=True)
class AlertRules:
    """What is sent where. Without channels alerts are still kept, for people to look at."""

    channels: tuple[str, ...] = ()
    least: Severity = Severity.WARNING
    kinds: Collection[AlertKind] = ALL_KINDS
    summed_for_us: int = SUMMED_FOR_US

    def ways(self, alert: Alert) -> tuple[str, ...]:
        """The channels that an alert goes out by. A test goes by all of them."""
        if alert.kind is AlertKind.TEST:
            return self.channels
        return self.channels if alert.severity.rank >= self.least.rank and alert.kind in self.kinds else ()


class AlertDesk:
    """Never waits, never raises. `rules` may be replaced; `raised` is called when something new may be due."""

    def __init__(self, books: Books, ids: Ids, rules: AlertRules, raised: Callable[[], None]) -> None:
        self._books = books
        self._ids = ids
        self._rules = rules
        self._raised = raised
        self._flood = Flood(rules.summed_for_us)

    def configure(self, rules: AlertRules) -> None:
        self._rules = rules
        self._flood.window_us = rules.summed_for_us

    def post(self, alert: Alert) -> None:
        alert_id = f"alert_{alert.once}" if alert.once else self._ids.new("alert")
        raised = self._flood.judge(alert.key, alert.kind.value, alert.at_us, alert_id)
        if raised is not None:
            self._write(raised, alert)

    def post_alone(self, alert: Alert) -> str:
        """Posts an alert that is never summed; its id."""
        alert_id = self._ids.new("alert")
        self._write(Raise(alert_id, alert.key, alert.at_us), alert)
        return alert_id

    def flush(self, now_us: int) -> None:
        """Writes how far the sums have grown; called often, so that a crash loses little."""
        grown = self._flood.counted()
        if grown:
            self._books.post(*(AlertCounted(*counted) for counted in grown))
        self._flood.sweep(now_us)

    def _write(self, raised: Raise, alert: Alert) -> None:
        ways = self._rules.ways(alert)
        self._books.post(AlertRaised(raised.alert_id, _bounded(alert), raised.dedupe, raised.due_us, ways))
        if ways:
            self._raised()


def _bounded(alert: Alert) -> Alert:
    if len(alert.text) <= TEXT_LENGTH_MAX and len(alert.facts) <= FACTS_MAX:
        return alert
    return replace(alert, text=alert.text[:TEXT_LENGTH_MAX], facts=dict(list(alert.facts.items())[:FACTS_MAX]))
