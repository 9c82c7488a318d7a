"""Alerts reach the operator's own systems, at least once, whatever dies in between; receivers are real processes."""

import base64
import datetime as dt
import hashlib
import hmac
import ipaddress
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from openai import APIStatusError

from tests.support.alert_receiver import Receiver
from tests.support.clients import ask, sdk
from tests.support.gateway import GatewayProcess, eventually
from tests.support.mail_sink import MailSink

SECRET = "whsec_" + base64.b64encode(b"a signing secret of the tests").decode()
SPENT = [{"name": "tiny", "each": "session", "tokens": 3}]


@pytest.fixture(autouse=True)
def secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_SECRET", SECRET)
    monkeypatch.setenv("MAIL_PASSWORD", "canary-mail-password")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver") as running:
        yield running


def hooked(receiver: Receiver, **more: object) -> dict[str, object]:
    return {"webhook": receiver.url, "secret": "${ALERT_SECRET}", "summed_for": "1s", **more}


def refused(gateway: GatewayProcess, times: int = 1) -> None:
    with sdk(gateway, max_retries=0) as client:
        for _ in range(times):
            with pytest.raises(APIStatusError) as denied:
                client.chat.completions.create(**ask())
            assert denied.value.status_code == 402


def verified(request: dict[str, object]) -> None:
    """As the Standard Webhooks specification has it, written from its text."""
    headers, body = request["headers"], str(request["body"])
    assert isinstance(headers, dict)
    key = base64.b64decode(SECRET.split("_", 1)[1])
    to_sign = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}"
    expected = base64.b64encode(hmac.new(key, to_sign.encode(), hashlib.sha256).digest()).decode()
    assert f"v1,{expected}" in headers["webhook-signature"].split(" ")
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
    assert headers["webhook-id"] == json.loads(body)["data"]["id"]


def test_a_denial_is_told_signed_and_a_flood_of_it_is_summed(start, receiver):
    """One at once, then one for each second that the flood lasts, however slow this machine is; none is lost."""
    gateway = start(limits=SPENT, alerts=hooked(receiver))
    refused(gateway, 20)

    def all_told() -> list[dict[str, object]] | None:
        found = [alert["data"] for alert in receiver.alerts("denials")]
        return found if sum(each["count"] for each in found) == 20 else None

    first, *summed = eventually(all_told, what="all twenty")
    assert first["count"] == 1
    assert 1 <= len(summed) < 10
    assert first["subject"] == "agent:reviewer"
    assert first["facts"]["limit"] == "tiny"
    assert first["facts"]["code"] == "session_budget_exhausted"
    for request in receiver.requests():
        verified(request)
    listed = eventually(lambda: listed_sent(gateway, 1 + len(summed)), what="all written down as sent")
    assert {each["id"] for each in listed} == {each["id"] for each in (first, *summed)}


def listed_sent(gateway: GatewayProcess, count: int) -> list[dict[str, object]] | None:
    rows = gateway.admin("GET", "/api/v1/alerts?state=sent").json["alerts"]
    return rows if len(rows) == count else None


def test_kill_9_before_an_alert_is_delivered_delivers_it_after_the_restart(start, receiver):
    """The receiver is down when the alert is raised, the gateway dies, both come back."""
    gateway = start(limits=SPENT, alerts=hooked(receiver))
    receiver.stop()
    refused(gateway)
    eventually(lambda: gateway.admin("GET", "/api/v1/alerts?state=waiting").json["alerts"], what="an attempt")
    eventually(lambda: gateway.log("alert not sent"), what="a failed attempt")
    (raised,) = gateway.admin("GET", "/api/v1/alerts").json["alerts"]
    gateway.kill()
    assert receiver.requests() == []
    receiver.start()
    gateway.start()
    (told,) = eventually(lambda: receiver.alerts("denials"), timeout_s=20, what="the delivery")
    assert told["data"]["id"] == raised["id"]
    assert told["data"]["facts"]["code"] == "session_budget_exhausted"


def test_kill_9_while_an_alert_is_being_delivered_delivers_it_again_under_the_same_id(start, receiver):
    """The receiver has it, the gateway does not know: at least once, and the id tells."""
    gateway = start(limits=SPENT, alerts=hooked(receiver))
    receiver.behave(wait_s=5)
    refused(gateway)
    eventually(receiver.requests, what="the first attempt")
    gateway.kill()
    receiver.behave()
    gateway.start()
    first, again = eventually(lambda: found if len(found := receiver.alerts("denials")) == 2 else None, what="again")
    assert first == again
    for request in receiver.requests():
        verified(request)


def test_redirects_are_refused_and_what_cannot_be_delivered_is_listed_and_tried_again(start, receiver):
    elsewhere = receiver.url.replace("/hook", "/elsewhere")
    gateway = start(limits=SPENT, alerts=hooked(receiver, slack=None))
    receiver.behave(status=307, headers={"location": elsewhere})
    ran = gateway.cli("alerts", "test", "--json", check=False)
    assert ran.code == 1
    (delivery,) = ran.json["deliveries"]
    assert (delivery["state"], delivery["attempts"]) == ("waiting", 1)
    assert delivery["error"] == "answered 307: redirects are not followed"
    assert {request["path"] for request in receiver.requests()} == {"/hook"}
    receiver.behave(status=410)
    assert gateway.cli("alerts", "retry", ran.json["id"], check=False).code == 1
    (dead,) = gateway.cli("alerts", "list", "--state", "dead", "--json").json
    assert dead["id"] == ran.json["id"]
    receiver.behave()
    assert "webhook  sent" in gateway.cli("alerts", "retry", dead["id"]).out
    assert gateway.cli("alerts", "list", "--state", "dead", "--json").json == []
    assert {request["path"] for request in receiver.requests()} == {"/hook"}


def test_a_dead_receiver_holds_up_no_other_way_out(start, receiver, tmp_path, monkeypatch):
    with Receiver(tmp_path / "slack") as slack:
        monkeypatch.setenv("SLACK_URL", slack.url)
        gateway = start(limits=SPENT, alerts=hooked(receiver, slack="${SLACK_URL}"))
        receiver.behave(wait_s=8)
        refused(gateway)
        eventually(slack.requests, timeout_s=5, what="Slack's")
        message = json.loads(slack.requests()[0]["body"])
        assert message["text"].startswith("warning: denials, agent:reviewer")
        assert message["attachments"][0]["blocks"]
        assert "webhook-signature" not in slack.requests()[0]["headers"]


def test_mail_goes_out_over_starttls_with_a_login(start, tmp_path):
    certificate, key = self_signed(tmp_path)
    with MailSink(tmp_path / "mail", str(certificate), str(key), "comptroller", "canary-mail-password") as sink:
        smtp = {
            "host": "127.0.0.1",
            "port": sink.port,
            "user": "comptroller",
            "password": "${MAIL_PASSWORD}",
            "from": "Comptroller <comptroller@example.com>",
            "to": ["ops@example.com", "oncall@example.com"],
        }
        gateway = start(limits=SPENT, alerts={"smtp": smtp, "ca_file": str(certificate)})
        refused(gateway)
        (mail,) = eventually(sink.mails, what="the mail")
        assert mail["secured"]
        assert mail["user"] == "comptroller"
        assert [text.removeprefix("TO:<").split(">")[0] for text in mail["recipients"]] == smtp["to"]
        message = mail["message"]
        assert message["Subject"] == "[comptroller] warning: denials, agent:reviewer"
        assert message["From"] == smtp["from"]
        assert "session_budget_exhausted" in message.get_content()
        (raised,) = eventually(lambda: listed_sent(gateway, 1), what="the mail written down as sent")
        assert raised["deliveries"][0]["attempts"] == 1
        assert message["Message-ID"] == f"<{raised['id']}@example.com>"
        assert "AUTH" not in sink.transcript()
        assert "canary-mail-password" not in gateway.output()


def test_mail_to_a_server_with_a_strange_certificate_is_not_handed_in(start, tmp_path):
    certificate, key = self_signed(tmp_path)
    with MailSink(tmp_path / "mail", str(certificate), str(key), "u", "p") as sink:
        smtp = {"host": "127.0.0.1", "port": sink.port, "user": "u", "password": "${MAIL_PASSWORD}"}
        gateway = start(alerts={"smtp": {**smtp, "from": "a@example.com", "to": ["b@example.com"]}})
        ran = gateway.cli("alerts", "test", "--json", check=False)
        assert ran.json["deliveries"][0]["error"] == "the mail server was not reached (SSLCertVerificationError)"
        assert sink.mails() == []


def test_what_a_mail_server_says_about_a_wrong_password_is_not_repeated(start, tmp_path):
    certificate, key = self_signed(tmp_path)
    with MailSink(tmp_path / "mail", str(certificate), str(key), "u", "another") as sink:
        smtp = {"host": "127.0.0.1", "port": sink.port, "user": "u", "password": "${MAIL_PASSWORD}"}
        mail = {**smtp, "from": "a@example.com", "to": ["b@example.com"]}
        gateway = start(alerts={"smtp": mail, "ca_file": str(certificate)})
        ran = gateway.cli("alerts", "test", check=False)
        assert "535" in ran.out
        assert "canary-mail-password" not in ran.out + gateway.output()
        assert b"canary-mail-password" not in gateway.books_file.read_bytes()


def test_reloads_that_are_refused_and_sessions_that_are_stopped_are_told(start, receiver):
    gateway = start(alerts=hooked(receiver, severity="info"))
    gateway.policy_file.write_text("p, broken\n# rows: 1\n")
    (told,) = eventually(lambda: receiver.alerts("reload_refused"), what="the refused reload")
    assert told["data"]["severity"] == "critical"
    assert "10-test.csv" in told["data"]["facts"]["first"]
    with sdk(gateway) as client:
        client.chat.completions.create(**ask())
    gateway.quiesce()
    (session,) = gateway.cli("sessions", "list", "--json").json
    gateway.cli("sessions", "stop", session["id"])
    (stopped,) = eventually(lambda: receiver.alerts("session_stopped"), what="the stop")
    assert stopped["data"]["facts"]["session"] == session["id"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit is a call of Linux")
def test_trouble_with_the_books_is_told_past_them_and_its_end_through_them(start, receiver):
    gateway = start(alerts=hooked(receiver))
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    with sdk(gateway, max_retries=0) as client, pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**ask())
    assert refused.value.status_code == 503
    (trouble,) = eventually(lambda: receiver.alerts("ledger_trouble"), timeout_s=25, what="the trouble")
    assert (trouble["data"]["severity"], trouble["data"]["facts"]) == ("critical", {"behind": True})
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)
    told = eventually(lambda: all_of if len(all_of := receiver.alerts("ledger_trouble")) == 2 else None, timeout_s=30)
    assert told[1]["data"]["facts"] == {"behind": False}


def test_a_reload_takes_up_new_ways_out_and_gives_up_none_of_the_old(start, receiver):
    gateway = start(limits=SPENT)
    assert gateway.cli("alerts", "test", check=False).code == 1
    gateway.write_config({**gateway.config, "alerts": hooked(receiver)})
    gateway.wait_for_log("reloaded")
    assert gateway.cli("alerts", "test").code == 0
    (told,) = receiver.alerts("test")
    assert told["data"]["severity"] == "info"


def test_no_prompt_and_no_secret_is_in_an_alert_or_in_the_books(start, receiver, monkeypatch):
    monkeypatch.setenv("HOOK_URL", f"{receiver.url}?token=canary-url-token")
    gateway = start(limits=SPENT, alerts={"webhook": "${HOOK_URL}", "secret": "${ALERT_SECRET}"})
    with sdk(gateway, max_retries=0) as client, pytest.raises(APIStatusError):
        client.chat.completions.create(**ask("canary-prompt-text"))
    (request,) = eventually(receiver.requests, what="the alert")
    gateway.terminate()
    written = gateway.books_file.read_bytes() + gateway.output().encode()
    for canary in ("canary-prompt-text", "canary-url-token", SECRET, gateway.keys["alice"]):
        assert canary not in request["body"]
        assert canary.encode() not in written
    documents = [row["doc"] for row in gateway.rows("SELECT doc FROM alerts")]
    assert documents
    assert not [text for text in documents if "reviewer" in text or "alice" in text]


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of the tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    written = directory / "mail.crt", directory / "mail.key"
    written[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    written[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return written
