"""What operators are told unasked, and where it goes."""

import re
from email.utils import parseaddr
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.core.alert import AlertKind, Severity
from gateway.core.alert_message import SecretMalformed, signing_key
from gateway.core.anomaly import AnomalyRules
from gateway.settings.fields import (
    BY_REFERENCE,
    Count,
    Factor,
    Items,
    Seconds,
    SecretReference,
    UsdMicros,
    Words,
    setting,
)
from gateway.settings.findings import Fault, Flaw
from gateway.settings.secret import Secret
from gateway.settings.section import Section
from gateway.settings.tree import Text

SECRET_LENGTH_MIN = 16
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_KINDS = tuple(kind.value for kind in AlertKind if kind is not AlertKind.TEST)
_LOOPBACK = ("localhost", "::1")


def _address(value: object) -> Secret | None:
    """An http address that may hold a token, so it is kept as a secret. Empty is none."""
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise Fault("must be an address")
    if not value:
        return None
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        fine = fine and parts.username is None and parts.password is None and not parts.fragment
    except ValueError:
        fine = False
    if not fine or not value.isascii() or not value.isprintable() or " " in value:
        raise Fault("is not an http:// or https:// address without user name, password and `#`")
    return Secret(str(value))


def _secret_address(value: object) -> Secret | None:
    """The same where whoever knows the address may write: it must not stand in the file."""
    if isinstance(value, Text) and value:
        written = value.inline if value.references else (value,)
        if any(written):
            raise Fault("a secret must not stand in the configuration", BY_REFERENCE)
    return _address(value)


def _empty_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value else value


def _signing(secret: Secret | None) -> Secret | None:
    if secret is None:
        return None
    try:
        key = signing_key(secret.reveal())
    except SecretMalformed as error:
        raise Fault(str(error)) from None
    if len(key) < SECRET_LENGTH_MIN:
        raise Fault(f"is too short to sign with: at least {SECRET_LENGTH_MIN} bytes", "openssl rand -base64 32")
    return secret


def _mailbox(text: str) -> str:
    address = parseaddr(text)[1]
    if not address or address.count("@") != 1 or not text.isascii() or not text.isprintable():
        raise Fault("is not a mail address", "write it like `ops@example.com`")
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise Fault("is not the name of a host")
    return text


_ADDRESS_SCHEMA = WithJsonSchema({"anyOf": [{"type": "string", "format": "http address"}, {"type": "null"}]})
_SECRET_SCHEMA = WithJsonSchema({"anyOf": [{"type": "string", "format": "secret"}, {"type": "null"}]})
Address = Annotated[Secret | None, BeforeValidator(_address), _ADDRESS_SCHEMA]
SecretAddress = Annotated[Secret | None, BeforeValidator(_secret_address), _SECRET_SCHEMA]
OptionalSecret = Annotated[SecretReference | None, BeforeValidator(_empty_is_none)]
SigningSecret = Annotated[OptionalSecret, AfterValidator(_signing), _SECRET_SCHEMA]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Kind = Literal[
    "limit_threshold",
    "denials",
    "loop",
    "overrun",
    "session_paused",
    "session_stopped",
    "request_waiting",
    "request_decided",
    "reload_refused",
    "spend_anomaly",
    "ledger_trouble",
]


class Smtp(Section):
    host: Annotated[str, AfterValidator(_host)] = setting(..., "The mail server.")
    port: Annotated[Count, Field(ge=1, le=65535)] = setting(587, "Its TCP port.")
    security: Literal["starttls", "tls", "none"] = setting(
        "starttls", "`tls` from the first byte (port 465), `none` for a server on the same machine."
    )
    user: Words | None = setting(None, "Name to log in with.")
    password: OptionalSecret = setting(None, "Password, by reference.")
    sender: Mailbox = setting(..., "Whom mail comes from.", alias="from")
    recipients: Annotated[Items[Mailbox], Field(min_length=1, max_length=50)] = setting(
        ..., "Whom it goes to.", alias="to"
    )

    @model_validator(mode="after")
    def _login_is_whole_and_hidden(self) -> "Smtp":
        if (self.user is None) != (self.password is None):
            raise Fault("needs `user` and `password`, or neither", at=("user" if self.user is None else "password",))
        if self.password is not None and self.security == "none" and not self._here():
            raise Fault("would send the password in clear", "use `starttls` or `tls`", at=("security",))
        return self

    def _here(self) -> bool:
        return self.host in _LOOPBACK or self.host.startswith("127.")


class Anomaly(Section):
    """When an hour's spending is out of the ordinary for an agent or a team."""

    min_usd_micros: UsdMicros = setting(1, "USD an hour below which nothing is remarkable.", alias="min_usd")
    ratio: Annotated[Factor, Field(ge=1)] = setting(4, "Times the usual hour that is remarkable.")
    score: Annotated[Factor, Field(ge=1)] = setting(6, "Robust deviations from the usual hour that are remarkable.")

    def rules(self) -> AnomalyRules:
        return AnomalyRules(self.min_usd_micros, self.ratio, self.score)


class Alerts(Section):
    webhook: Address = setting(None, "Address that gets each alert as JSON. Empty: none.")
    secret: SigningSecret = setting(
        None, "Signs the webhook as Standard Webhooks do, by reference; Base64 after `whsec_`."
    )
    slack: SecretAddress = setting(None, "Incoming webhook of Slack, by reference. Empty: none.")
    smtp: Smtp | None = setting(None, "Mail.")
    ca_file: Words | None = setting(
        None, "Certificates to trust beside the system's, relative to the configuration file."
    )
    severity: Literal["info", "warning", "critical"] = setting("warning", "The least that is sent.")
    kinds: Items[Kind] = setting(_KINDS, "What is sent.")
    summed_for_s: Seconds = setting("5m", "The same alert within this time is summed into one.", alias="summed_for")
    retry_for_s: Seconds = setting(
        "24h", "An alert that cannot be delivered is given up after this.", alias="retry_for"
    )
    kept_for_s: Seconds = setting("30d", "How long alerts stay in the books.", alias="kept_for")
    anomaly: Anomaly = Field(default_factory=Anomaly, description="Unusual spending.")

    @model_validator(mode="after")
    def _secret_has_a_use(self) -> "Alerts":
        if self.secret is not None and self.webhook is None:
            raise Fault.of([Flaw("signs nothing", "it goes with `webhook`", ("secret",))])
        return self

    @property
    def least(self) -> Severity:
        return Severity(self.severity)

    @property
    def kind_set(self) -> frozenset[AlertKind]:
        return frozenset(AlertKind(kind) for kind in self.kinds)
