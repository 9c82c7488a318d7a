"""How alerts read, how they are signed, and what becomes of a delivery after an attempt."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.alert import Alert, AlertKind, Severity
from gateway.core.alert_delivery import (
    ATTEMPTS_MAX,
    ERROR_LENGTH_MAX,
    LONGEST_WAIT_S,
    RetryRules,
    Tried,
    after_attempt,
    retry_wait_s,
)
from gateway.core.alert_message import SecretMalformed, document, mail, signature, signing_key, slack_message
from gateway.core.alerts_of import denial_alert, who
from gateway.core.anomaly import AnomalyRules, Spending, anomaly
from gateway.core.denial import Code, Denial
from gateway.core.outbox import Delivery, DeliveryState, RaisedAlert
from tests.storage.entries import ALICE

ALERT = Alert(
    AlertKind.SPEND_ANOMALY,
    Severity.CRITICAL,
    "agent:<!channel> & co",
    "agent:<!channel> spends.\nA lot.",
    1_700_000_000_000_000,
    {"spent_usd_micros": 1_500_000, "ratio": 4.5, "nothing": None},
)
RAISED = RaisedAlert("alert_1", ALERT, 3, 1_700_000_060_000_000)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    assert signature("plain", "a", 1, b"x") != signature("plain", "a", 2, b"x") != signature("plain", "b", 1, b"x")


def test_a_secret_is_text_or_base64_after_its_prefix() -> None:
    assert signing_key("plain text") == b"plain text"
    with pytest.raises(SecretMalformed):
        signing_key("whsec_???")


def test_the_document_of_the_webhook() -> None:
    assert document(RAISED) == {
        "type": "spend_anomaly",
        "timestamp": "2023-11-14T22:13:20Z",
        "data": {
            "id": "alert_1",
            "severity": "critical",
            "subject": "agent:<!channel> & co",
            "text": "agent:<!channel> spends.\nA lot.",
            "count": 3,
            "last_at": "2023-11-14T22:14:20Z",
            "dedupe": "spend_anomaly:agent:<!channel> & co",
            "facts": {"spent_usd_micros": 1_500_000, "ratio": 4.5, "nothing": None},
        },
    }


def test_a_name_cannot_call_a_channel_or_make_a_link_in_slack() -> None:
    text = json.dumps(slack_message(RAISED))
    assert "<!channel>" not in text
    assert "&lt;!channel&gt; &amp; co" in text
    assert "1500000 (1.500000 USD)" in text


def test_a_long_alert_stays_within_what_slack_takes() -> None:
    facts = {f"name_{n}": "x" * 900 for n in range(30)}
    message = slack_message(RaisedAlert("alert_2", Alert(ALERT.kind, ALERT.severity, "s", "t" * 9_000, 1, facts), 1, 1))
    assert len(message["text"]) < 3_000
    for block in message["attachments"][0]["blocks"][:2]:
        assert len(block["text"]["text"]) < 3_000


def test_a_mail_has_one_line_for_its_subject() -> None:
    written = mail(RaisedAlert("alert_3", Alert(ALERT.kind, ALERT.severity, "a\r\nBcc: x", "t", 1), 1, 1))
    assert written.subject == "[comptroller] critical: spend anomaly, a Bcc: x"
    assert "alert_3" in written.text
    assert "(3 times)" in mail(RAISED).subject


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_half_an_hour_half_of_it_left_to_chance(attempts: int, chance: float) -> None:
    longest = min(LONGEST_WAIT_S, 2.0 * 2.0 ** (attempts - 1))
    assert longest / 2 <= retry_wait_s(attempts, chance) <= longest


WAITING = Delivery("webhook", DeliveryState.WAITING, 0, 100)
DAY_US = 86_400_000_000
RULES = RetryRules(retry_for_s=86_400)


@pytest.mark.parametrize(
    ("attempts", "tried", "now_us", "state", "due_us"),
    [
        pytest.param(0, Tried(), 500, "sent", 500, id="taken"),
        pytest.param(0, Tried("no"), 500, "waiting", 500 + 1_500_000, id="first failure"),
        pytest.param(3, Tried("no"), 500, "waiting", 500 + 12_000_000, id="fourth failure"),
        pytest.param(0, Tried("no", retry_after_s=60), 500, "waiting", 500 + 60_000_000, id="the receiver's wish"),
        pytest.param(0, Tried("no", retry_after_s=9e9), 500, "waiting", 500 + 1_800_000_000, id="a wish too far"),
        pytest.param(0, Tried("no", final=True), 500, "dead", 500, id="refused for good"),
        pytest.param(5, Tried("no"), DAY_US + 100, "dead", DAY_US + 100, id="too old"),
        pytest.param(ATTEMPTS_MAX - 1, Tried("no"), 500, "dead", 500, id="too many attempts"),
    ],
)
def test_what_becomes_of_a_delivery(attempts: int, tried: Tried, now_us: int, state: str, due_us: int) -> None:
    before = Delivery(WAITING.channel, WAITING.state, attempts, WAITING.due_us)
    after = after_attempt(before, tried, 100, now_us, 0.5, RULES)
    assert (after.state, after.attempts, after.due_us, after.error) == (state, attempts + 1, due_us, tried.error)


def test_errors_are_cut() -> None:
    assert len(after_attempt(WAITING, Tried("x" * 999), 0, 1, 0.0, RULES).error) == ERROR_LENGTH_MAX


def test_a_denial_is_laid_to_the_agent_and_repeats_nothing_of_what_was_asked() -> None:
    denial = Denial(Code.TOOL_DENIED, "canary: the prompt's own words", "call_1", rule="p, a, b, c")
    alert = denial_alert(denial, ALICE, "ses_1", 5)
    assert who(ALICE) == alert.subject
    assert "canary" not in f"{alert.text}{alert.facts}"
    assert alert.facts["rule"] == "p, a, b, c"


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        (Code.RATE_LIMITED, Severity.INFO),
        (Code.REQUEST_MALFORMED, Severity.INFO),
        (Code.BUDGET_EXHAUSTED, Severity.WARNING),
        (Code.MODEL_DENIED, Severity.WARNING),
        (Code.UPSTREAM_QUOTA, Severity.CRITICAL),
    ],
)
def test_how_grave_a_denial_is(code: Code, severity: Severity) -> None:
    assert denial_alert(Denial(code, "x"), ALICE, "", 1).severity is severity


STEADY = (1_000_000, 1_100_000, 900_000, 1_050_000, 950_000, 1_000_000, 1_000_000, 1_020_000)


@pytest.mark.parametrize(
    ("now", "past", "remarkable"),
    [
        pytest.param(9_000_000, STEADY, True, id="nine times the usual"),
        pytest.param(3_900_000, STEADY, False, id="below the ratio"),
        pytest.param(9_000_000, STEADY[:7], False, id="too little past"),
        pytest.param(9_000_000, (*STEADY, 0, 0, 0, 0), True, id="idle hours do not count"),
        pytest.param(900_000, (10_000,) * 20, False, id="too small to matter"),
        pytest.param(6_000_000, (500_000, 9_000_000) * 8, False, id="somebody who is always wild"),
        pytest.param(9_000_000, (*STEADY, 80_000_000), True, id="one wild hour hides no other"),
        pytest.param(9_000_000, (), False, id="no past"),
    ],
)
def test_spending_out_of_the_ordinary(now: int, past: tuple[int, ...], remarkable: bool) -> None:
    found = anomaly(Spending("agent", "a", now, past), AnomalyRules())
    assert (found is not None) is remarkable


@given(st.lists(st.integers(0, 10**12), max_size=200), st.integers(0, 10**12))
def test_what_is_remarkable_stays_so_with_more_spending(past: list[int], now: int) -> None:
    def judged(usd_micros: int) -> Any:
        return anomaly(Spending("team", "t", usd_micros, past), AnomalyRules())

    if judged(now) is not None:
        assert judged(2 * now + 1) is not None
