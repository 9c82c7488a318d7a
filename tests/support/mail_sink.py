"""A small real SMTP server in a process of its own: STARTTLS, AUTH PLAIN, and every mail it takes as a JSON file.

python -m tests.support.mail_sink DIRECTORY [CERTIFICATE KEY USER PASSWORD]     # prints the port; ends with its input

With a certificate it insists on STARTTLS and then on that login. DIRECTORY/mail-<n>.json: sender, recipients, content,
secured, user. DIRECTORY/transcript.txt: every line that a client sent in clear.
"""

import asyncio
import base64
import json
import ssl
import subprocess
import sys
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class MailSink:
    """The process, for tests."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self._options = options
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.mail_sink", str(self.directory), *self._options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *args: object) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(timeout=10)

    def mails(self) -> list[dict[str, Any]]:
        """As written down, with `message` parsed."""
        found = []
        for path in sorted(self.directory.glob("mail-*.json")):
            mail = json.loads(path.read_text())
            message = message_from_string(mail["content"], policy=default)
            assert isinstance(message, EmailMessage)
            found.append({**mail, "message": message})
        return found

    def transcript(self) -> str:
        path = self.directory / "transcript.txt"
        return path.read_text() if path.exists() else ""


class Session:
    """One connection."""

    def __init__(self, directory: Path, tls: ssl.SSLContext | None, login: tuple[str, ...]) -> None:
        self._directory = directory
        self._tls = tls
        self._login = login
        self._secured = False
        self._user = ""
        self._envelope: dict[str, Any] = {"recipients": []}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink ESMTP\r\n")
        while line := await reader.readline():
            text = line.decode().rstrip("\r\n")
            if not self._secured:
                with (self._directory / "transcript.txt").open("a") as log:
                    log.write(text + "\n")
            verb, _, rest = text.partition(" ")
            if verb.upper() == "STARTTLS" and self._tls is not None:
                writer.write(b"220 go on\r\n")
                await writer.start_tls(self._tls)
                self._secured = True
                continue
            if verb.upper() == "DATA" and self._allowed():
                writer.write(b"354 go on\r\n")
                self._keep(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 taken\r\n")
                continue
            writer.write(self._answer(verb.upper(), rest))
            if verb.upper() == "QUIT":
                break
        writer.close()

    def _answer(self, verb: str, rest: str) -> bytes:
        match verb:
            case "EHLO":
                return b"250-sink\r\n250 " + (b"AUTH PLAIN" if self._secured else b"STARTTLS") + b"\r\n"
            case "AUTH":
                self._user, password = base64.b64decode(rest.rsplit(maxsplit=1)[-1]).decode().split("\0")[1:]
                good = (self._user, password) == self._login
                return b"235 welcome\r\n" if good else b"535 you said %s\r\n" % password.encode()
            case "MAIL" if self._allowed():
                self._envelope = {"sender": rest, "recipients": []}
                return b"250 fine\r\n"
            case "RCPT":
                self._envelope["recipients"].append(rest)
                return b"250 fine\r\n"
            case "QUIT":
                return b"421 this server says goodbye its own way\r\n"
            case "RSET" | "NOOP" | "HELO":
                return b"250 fine\r\n"
        return b"530 secure it and log in first\r\n"

    def _allowed(self) -> bool:
        return self._tls is None or (self._secured and bool(self._user))

    def _keep(self, content: bytes) -> None:
        number = len(list(self._directory.glob("mail-*.json")))
        mail = {**self._envelope, "content": content.decode(), "secured": self._secured, "user": self._user}
        whole = self._directory / f"mail-{number}.json"
        unfinished = whole.with_suffix(".part")
        unfinished.write_text(json.dumps(mail))
        unfinished.rename(whole)


async def main(directory: Path, *options: str) -> None:
    tls = None
    if options:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*options[:2])
    server = await asyncio.start_server(
        lambda reader, writer: Session(directory, tls, options[2:]).serve(reader, writer), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
