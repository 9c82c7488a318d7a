"""Mail by SMTP, with the standard library in a thread. Its Message-ID is the alert's: a mailbox can tell repeats."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from enum import StrEnum

from gateway.core.alert_delivery import Tried
from gateway.core.alert_message import mail
from gateway.core.outbox import RaisedAlert

TIMEOUT_S = 15.0


class Security(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `password` goes nowhere but into the session with that server."""

    host: str
    port: int
    security: Security
    user: str | None
    password: str | None
    sender: str
    recipients: Sequence[str]


class MailChannel:
    name = "smtp"

    def __init__(self, server: MailServer, trusted: ssl.SSLContext) -> None:
        self._server = server
        self._trusted = trusted

    async def send(self, raised: RaisedAlert) -> Tried:
        try:
            return await asyncio.to_thread(self._hand_in, raised)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Tried(_told(error))

    async def close(self) -> None:
        """Every attempt has a connection of its own."""

    def _hand_in(self, raised: RaisedAlert) -> Tried:
        server = self._server
        session = self._connected()
        try:
            if server.security is Security.STARTTLS:
                session.starttls(context=self._trusted)
            if server.user is not None and server.password is not None:
                session.login(server.user, server.password)
            refused = session.send_message(self._letter(raised), server.sender, list(server.recipients))
            # Taken is taken, however the server says goodbye.
            with suppress(smtplib.SMTPException, OSError):
                session.quit()
        finally:
            session.close()
        if refused:
            # Trying again would reach those who have it already.
            return Tried(f"{len(refused)} of {len(server.recipients)} recipients refused", final=True)
        return Tried()

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.security is Security.TLS:
            return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=self._trusted)
        return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)

    def _letter(self, raised: RaisedAlert) -> EmailMessage:
        written = mail(raised)
        letter = EmailMessage()
        letter["Subject"] = written.subject
        letter["From"] = self._server.sender
        letter["To"] = ", ".join(self._server.recipients)
        letter["Date"] = formatdate(raised.alert.at_us / 1_000_000)
        domain = parseaddr(self._server.sender)[1].rpartition("@")[2] or "comptroller.invalid"
        letter["Message-ID"] = f"<{raised.id}@{domain}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(written.text)
        return letter


def _told(error: Exception) -> str:
    """The server's words may repeat what was said to it, so only its status code is kept."""
    match error:
        case smtplib.SMTPResponseException():
            return f"the mail server answered {error.smtp_code} ({type(error).__name__})"
        case smtplib.SMTPRecipientsRefused():
            return "the mail server refused all recipients"
    return f"the mail server was not reached ({type(error).__name__})"
