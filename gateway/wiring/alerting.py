"""Alerts from the settings: what is sent, by which ways, how long it is tried."""

import ssl

import structlog

from gateway.alerting.http import slack, webhook
from gateway.alerting.sender import Channel, Sender
from gateway.alerting.smtp import MailChannel, MailServer, Security
from gateway.core.alert_delivery import RetryRules
from gateway.pipeline.alerting import AlertDesk, AlertRules
from gateway.ports import Clock, Ids
from gateway.settings import Loaded, SettingsError
from gateway.settings.alerts import Alerts, Smtp
from gateway.storage.books import SqliteBooks
from gateway.telemetry.metrics import Metrics


def alert_rules(alerts: Alerts) -> AlertRules:
    named = {"webhook": alerts.webhook, "slack": alerts.slack, "smtp": alerts.smtp}
    return AlertRules(
        channels=tuple(name for name, way in named.items() if way is not None),
        least=alerts.least,
        kinds=alerts.kind_set,
        summed_for_us=int(alerts.summed_for_s * 1_000_000),
    )


def channels_of(loaded: Loaded, clock: Clock) -> list[Channel]:
    """Raises SettingsError for certificates that cannot be read."""
    alerts = loaded.settings.alerts
    if not alert_rules(alerts).channels:
        return []
    trusted = ssl.create_default_context()
    if alerts.ca_file is not None:
        try:
            trusted.load_verify_locations(loaded.resolve(alerts.ca_file))
        except (OSError, ssl.SSLError):
            finding = loaded.finding(
                ("alerts", "ca_file"), f"`{alerts.ca_file}` holds no certificates that can be read"
            )
            raise SettingsError([finding]) from None
    found: list[Channel] = []
    if alerts.webhook is not None:
        secret = None if alerts.secret is None else alerts.secret.reveal()
        found.append(webhook(alerts.webhook.reveal(), secret, clock, trusted))
    if alerts.slack is not None:
        found.append(slack(alerts.slack.reveal(), trusted))
    if alerts.smtp is not None:
        found.append(MailChannel(_server(alerts.smtp), trusted))
    return found


class Alerting:
    """A node's alerts: `desk` takes them, `sender` walks the outbox."""

    def __init__(self, books: SqliteBooks, clock: Clock, ids: Ids, metrics: Metrics) -> None:
        self.sender = Sender(books.outbox, clock, structlog.get_logger(), self._flush, metrics.count_alert)
        self.desk = AlertDesk(books, ids, AlertRules(), self.sender.wake)

    def configure(self, alerts: Alerts, channels: list[Channel]) -> list[Channel]:
        """Takes up what is in force now; returns the ways out of before, to be closed when nothing uses them."""
        self.desk.configure(alert_rules(alerts))
        return self.sender.configure(channels, RetryRules(retry_for_s=alerts.retry_for_s))

    def _flush(self, now_us: int) -> None:
        self.desk.flush(now_us)


def _server(smtp: Smtp) -> MailServer:
    return MailServer(
        host=smtp.host,
        port=smtp.port,
        security=Security(smtp.security),
        user=smtp.user,
        password=None if smtp.password is None else smtp.password.reveal(),
        sender=smtp.sender,
        recipients=smtp.recipients,
    )
