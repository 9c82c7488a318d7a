"""The outbox: alerts that were raised, and how far they got on each way out.

Outbox rows are working data, not history: they are not chained and leave after a while. An alert and its deliveries are
written in one transaction, so what was raised is delivered at least once even after a crash; a receiver tells
repetitions by the alert's id.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.alert import Alert


class DeliveryState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"
    """Given up: too many attempts, too old, or refused for good."""


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """To be written: an alert, to be sent over each channel from `due_us` on. `dedupe` is the key it counts under."""

    alert_id: str
    alert: Alert
    dedupe: str
    due_us: int
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlertCounted:
    """To be written: an alert that still waits stands for `count` of its kind, the last one at `last_at_us`."""

    alert_id: str
    count: int
    last_at_us: int


@dataclass(frozen=True, slots=True)
class DeliveryTried:
    """To be written: what became of an attempt. `error` says why it failed, without any secret; "" if it did not."""

    alert_id: str
    channel: str
    state: DeliveryState
    attempts: int
    due_us: int
    error: str


OutboxEntry = AlertRaised | AlertCounted | DeliveryTried


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert as read back. Names are in clear where they are still on file. `count` says how many it stands for."""

    id: str
    alert: Alert
    count: int
    last_at_us: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One way out of one alert. `attempts` were made so far; the next one is due at `due_us`."""

    channel: str
    state: DeliveryState
    attempts: int
    due_us: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class DueDelivery:
    raised: RaisedAlert
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An alert with all its ways out, for people."""

    raised: RaisedAlert
    deliveries: tuple[Delivery, ...]
