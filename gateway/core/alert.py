"""What an operator is told unasked: one alert, and what was thought of it.

Rules: an alert goes to the operator's own systems and may name people and programs (as `user:alice`, `agent:reviewer`),
but never holds a prompt, an argument or a secret. The same `dedupe` key again within the flood window is summed, not
sent again (`gateway/core/alert_flood.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.attribution import Attribution

TEXT_LENGTH_MAX = 1_000
FACTS_MAX = 40

Fact = str | int | float | bool | None


class AlertKind(StrEnum):
    """What happened. Stable: receivers route on these."""

    LIMIT_THRESHOLD = "limit_threshold"
    DENIALS = "denials"
    LOOP = "loop"
    OVERRUN = "overrun"
    SESSION_PAUSED = "session_paused"
    SESSION_STOPPED = "session_stopped"
    REQUEST_WAITING = "request_waiting"
    REQUEST_DECIDED = "request_decided"
    RELOAD_REFUSED = "reload_refused"
    SPEND_ANOMALY = "spend_anomaly"
    LEDGER_TROUBLE = "ledger_trouble"
    TEST = "test"


class Severity(StrEnum):
    """From lowest to highest."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS: Mapping[str, int] = {severity: place for place, severity in enumerate(("info", "warning", "critical"))}


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that an operator should know.

    `subject` is whom or what it is about: `agent:reviewer`, `session:ses_...`, `limit:dev-day`, `policy`. `text` is one
    sentence for a person. `facts` are flat values for a program; micro-USD under names that end in `usd_micros`.
    `dedupe` names what counts as the same alert again (default: kind and subject). `attribution` is whose names may
    stand in the text, so that the books can keep them as pseudonyms. `once` = what makes its id where the same fact may
    be told again, as after a restart: the outbox keeps the first.
    """

    kind: AlertKind
    severity: Severity
    subject: str
    text: str
    at_us: int
    facts: Mapping[str, Fact] = field(default_factory=dict)
    dedupe: str = ""
    attribution: Attribution | None = None
    once: str = ""

    @property
    def key(self) -> str:
        return self.dedupe or f"{self.kind}:{self.subject}"
