"""Settings of alerts: addresses may hold tokens, so they are kept as secrets; what is wrong is said with its place."""

import pytest

from gateway.core.alert import AlertKind, Severity
from tests.settings.samples import ENVIRONMENT, faults, read

SECRETS = {
    **ENVIRONMENT,
    "HOOK": "https://hooks.example.com/a?token=canary",
    "SIGN": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "SHORT": "short",
    "BAD64": "whsec_???",
    "MAIL": "canary-mail-password",
}
SMTP = "alerts: {smtp: {host: mail.example.com, from: a@example.com, to: [b@example.com]%s}}\n"


def test_all_of_it() -> None:
    text = """
    alerts:
      webhook: "${HOOK}"
      secret: "${SIGN}"
      slack: "${HOOK}"
      smtp: {host: mail, port: 465, security: tls, user: u, password: "${MAIL}", from: "C <c@a.b>", to: [a@example.com]}
      severity: info
      kinds: [loop, denials]
      summed_for: 1m
      anomaly: {min_usd: 2.5, ratio: 3, score: 5}
    """
    alerts = read(text, SECRETS).settings.alerts
    assert alerts.webhook is not None
    assert alerts.smtp is not None
    assert alerts.smtp.password is not None
    assert alerts.webhook.reveal() == SECRETS["HOOK"]
    assert (alerts.smtp.port, alerts.smtp.recipients) == (465, ("a@example.com",))
    assert alerts.least is Severity.INFO
    assert alerts.kind_set == frozenset({AlertKind.LOOP, AlertKind.DENIALS})
    assert alerts.anomaly.rules().min_usd_micros == 2_500_000
    assert "canary" not in repr(alerts) + alerts.model_dump_json()


def test_a_plain_webhook_may_stand_in_the_file_and_an_empty_one_is_none() -> None:
    assert read("alerts: {webhook: 'http://127.0.0.1:9/x'}").settings.alerts.webhook is not None
    alerts = read('alerts: {webhook: "${EMPTY:-}", slack: "${EMPTY:-}", secret: "${EMPTY:-}"}').settings.alerts
    assert (alerts.webhook, alerts.slack, alerts.secret) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alerts: {slack: 'https://hooks.example.com/T1/B2'}", "a secret must not stand in the configuration"),
        ("alerts: {webhook: 'ftp://example.com'}", "is not an http:// or https:// address"),
        ("alerts: {webhook: 'https://u:p@example.com'}", "is not an http:// or https:// address"),
        ("alerts: {webhook: [a]}", "must be an address"),
        ("alerts: {webhook: 'http://a/', secret: plain-secret-in-the-file}", "a secret must not stand"),
        ("alerts: {webhook: 'http://a/', secret: '${SHORT}'}", "is too short to sign with"),
        ("alerts: {webhook: 'http://a/', secret: '${BAD64}'}", "after `whsec_` a signing secret is Base64"),
        ("alerts: {secret: '${SIGN}'}", "signs nothing"),
        ("alerts: {kinds: [looop]}", "the value `looop` is not possible here"),
        ("alerts: {severity: loud}", "the value `loud` is not possible here"),
        ("alerts: {summed_for: 0s}", "above zero"),
        ("alerts: {anomaly: {ratio: 0.5}}", "1"),
        (SMTP % ", user: u", "needs `user` and `password`, or neither"),
        (SMTP % ", user: u, password: '${MAIL}', security: none", "would send the password in clear"),
        (SMTP % ", port: 0", "1"),
        ("alerts: {smtp: {host: 'a b', from: a@b, to: [b@c]}}", "is not the name of a host"),
        ("alerts: {smtp: {host: a, from: nobody, to: [b@c]}}", "is not a mail address"),
        ("alerts: {smtp: {host: a, from: a@b, to: []}}", "1"),
        ("alerts: {smtp: {host: a, from: a@b}}", "to"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    found = faults(text, SECRETS)
    assert len(found) == 1, found
    assert said in found[0]
    assert "canary" not in found[0]


def test_a_password_may_go_in_clear_to_this_machine_only() -> None:
    text = SMTP.replace("mail.example.com", "127.0.0.1") % ", user: u, password: '${MAIL}', security: none"
    assert faults(text, SECRETS) == []
