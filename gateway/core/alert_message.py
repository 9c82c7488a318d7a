"""How an alert reads on each way out: the signed document of the webhook, a Slack message, a mail."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.alert import Fact, Severity
from gateway.core.denial import time_shown
from gateway.core.outbox import RaisedAlert

SECRET_PREFIX = "whsec_"
SLACK_FACTS_MAX = 10
SLACK_TEXT_MAX = 2_900
SUBJECT_LENGTH_MAX = 120
_COLOURS: Mapping[Severity, str] = {
    Severity.INFO: "#439fe0",
    Severity.WARNING: "#daa038",
    Severity.CRITICAL: "#a30200",
}


class SecretMalformed(ValueError):
    """A signing secret that begins with `whsec_` but is not Base64 after it."""


class Mail(NamedTuple):
    subject: str
    text: str


def document(raised: RaisedAlert) -> dict[str, Any]:
    """What the webhook gets. `data.id` is the same at every attempt."""
    alert = raised.alert
    return {
        "type": alert.kind.value,
        "timestamp": time_shown(alert.at_us),
        "data": {
            "id": raised.id,
            "severity": alert.severity.value,
            "subject": alert.subject,
            "text": alert.text,
            "count": raised.count,
            "last_at": time_shown(raised.last_at_us),
            "dedupe": alert.key,
            "facts": dict(alert.facts),
        },
    }


def slack_message(raised: RaisedAlert) -> dict[str, Any]:
    """The body for an incoming webhook of Slack, or of anything that takes the same."""
    alert = raised.alert
    title = _escaped(_title(raised))
    lines = [f"*{_escaped(name)}*: {_escaped(_shown(name, value))}" for name, value in _first(alert.facts).items()]
    context = f"{alert.kind.value} · {_escaped(alert.subject)} · {time_shown(alert.at_us)} · {raised.id}"
    blocks: list[dict[str, Any]] = [_section(f"*{title}*\n{_escaped(alert.text)}")]
    if lines:
        blocks.append(_section("\n".join(lines)))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context[:SLACK_TEXT_MAX]}]})
    attachment = {"color": _COLOURS[alert.severity], "blocks": blocks}
    return {"text": f"{title}: {_escaped(alert.text)}"[:SLACK_TEXT_MAX], "attachments": [attachment]}


def mail(raised: RaisedAlert) -> Mail:
    alert = raised.alert
    subject = " ".join(f"[comptroller] {_title(raised)}".split())[:SUBJECT_LENGTH_MAX]
    rows = {
        "kind": alert.kind.value,
        "severity": alert.severity.value,
        "about": alert.subject,
        "at": time_shown(alert.at_us),
        **({"count": raised.count, "last at": time_shown(raised.last_at_us)} if raised.count > 1 else {}),
        **{name: _shown(name, value) for name, value in alert.facts.items()},
        "alert": raised.id,
    }
    lines = "\n".join(f"{name + ':':<22}{value}" for name, value in rows.items())
    return Mail(subject, f"{alert.text}\n\n{lines}\n")


def signature(secret: str, alert_id: str, at_s: int, body: bytes) -> str:
    """`webhook-signature` as in Standard Webhooks: HMAC-SHA256 over id, time in seconds and body, joined by dots."""
    signed = b"%s.%d.%s" % (alert_id.encode(), at_s, body)
    return "v1," + base64.b64encode(hmac.digest(signing_key(secret), signed, "sha256")).decode()


def signing_key(secret: str) -> bytes:
    """A secret is taken as it is; after `whsec_` it is Base64. Raises SecretMalformed."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise SecretMalformed("after `whsec_` a signing secret is Base64") from error


def _title(raised: RaisedAlert) -> str:
    alert = raised.alert
    times = f" ({raised.count} times)" if raised.count > 1 else ""
    return f"{alert.severity.value}: {alert.kind.value.replace('_', ' ')}, {alert.subject}{times}"


def _shown(name: str, value: Fact) -> str:
    if name.endswith("usd_micros") and isinstance(value, int):
        return f"{value} ({value / 1_000_000:.6f} USD)"
    return "-" if value is None else str(value)


def _first(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return dict(list(facts.items())[:SLACK_FACTS_MAX])


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:SLACK_TEXT_MAX]}}


def _escaped(text: str) -> str:
    """Slack's own three: no name can make a link, a mention or a channel call."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
