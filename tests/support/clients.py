"""Clients for end-to-end tests: the openai SDK as people use it, raw sockets for what no SDK would send, a crowd."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from openai import APIStatusError, AsyncOpenAI, DefaultHttpxClient, OpenAI

from tests.support.gateway import GatewayProcess


@contextlib.contextmanager
def sdk(gateway: GatewayProcess, key: str = "alice", **options: Any) -> Iterator[OpenAI]:
    """The openai SDK with its own defaults; `session` names the agent run."""
    headers = dict(options.pop("default_headers", {}))
    if (session := options.pop("session", None)) is not None:
        headers["x-comptroller-session"] = session
    with OpenAI(
        base_url=gateway.base_url, api_key=gateway.keys.get(key, key), default_headers=headers, **options
    ) as client:
        yield client


@contextlib.asynccontextmanager
async def async_sdk(gateway: GatewayProcess, key: str = "alice", **options: Any) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.keys[key], **options) as client:
        yield client


def ask(text: str = "hello", **fields: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "small", "messages": [{"role": "user", "content": text}], **fields}


def scripted(text: str = "hello", **script: Any) -> str:
    """A message that tells the upstream how to answer it: see tests/support/upstream_script.py."""
    return f"{text} [[mock {json.dumps(script)}]]"


@dataclass
class Answer:
    """A reply as it came. `events` are the payloads of a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    events: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The denial's code, None if it is no denial."""
        return self.json.get("error", {}).get("code") if self.status >= 400 else None

    @property
    def call_id(self) -> str:
        return self.headers["x-comptroller-call"]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON of every event of a stream."""
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def text(self) -> str:
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in self.chunks if c.get("choices"))


class Crowd:
    """Many clients at once over their own connections; no retries, so that each call is one request."""

    def __init__(self, gateway: GatewayProcess, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session

    def headers(self, key: str, session: str | None) -> dict[str, str]:
        marks = {} if session is None else {"x-comptroller-session": session}
        return {"authorization": f"Bearer {self.gateway.keys[key]}", **marks}

    async def chat(
        self, body: Mapping[str, Any], *, key: str = "alice", session: str | None = None, leave_after: int | None = None
    ) -> Answer:
        """One chat call, read to its end, or left after so many events of a stream (0: as soon as it is answered)."""
        url = f"{self.gateway.base_url}/chat/completions"
        async with self.session.post(url, json=body, headers=self.headers(key, session)) as reply:
            answer = Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()})
            if reply.status != 200 or not body.get("stream"):
                answer.body = await reply.read()
                return answer
            if leave_after == 0:
                reply.close()
                return answer
            async for line in reply.content:
                if line.startswith(b"data: "):
                    answer.events.append(line[6:].strip().decode())
                if leave_after is not None and len(answer.events) >= leave_after:
                    reply.close()
                    break
            return answer


@contextlib.asynccontextmanager
async def crowd(gateway: GatewayProcess) -> AsyncIterator[Crowd]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Crowd(gateway, session)
    await asyncio.sleep(0)


def raw(gateway: GatewayProcess, data: bytes, *, timeout_s: float = 10.0, until_close: bool = False) -> bytes:
    """Sends bytes as they are, and reads what comes: one reply, or everything until the other side closes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=timeout_s) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return read_reply(connection, until_close=until_close)


def read_reply(connection: socket.socket, *, until_close: bool = False) -> bytes:
    """Empty if the other side hung up without a word."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while until_close or not _complete(received):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return received


def parsed(received: bytes) -> Answer:
    """The first reply in what a raw socket received."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body[: int(headers.get("content-length", len(body)))])


def post(gateway: GatewayProcess, body: bytes, *, path: str = "/v1/chat/completions", headers: str = "") -> bytes:
    """The bytes of a POST request by alice."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\nauthorization: Bearer {gateway.keys['alice']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode("latin-1") + body


def _complete(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return body.endswith(b"0\r\n\r\n")


class Refused:
    """What a person at the openai SDK sees of a refusal: the exception, and how many requests it took."""

    def __init__(self, error: APIStatusError, requests: int) -> None:
        body = error.response.json()
        self.status = error.status_code
        self.headers = error.response.headers
        self.requests = requests
        self.shown = str(error)
        self.error: dict[str, Any] = body["error"]
        self.code: str = self.error["code"]
        self.machine: dict[str, Any] = self.error["comptroller"]


class Counted:
    """The SDK with its own retries, and the number of requests that it really sent."""

    def __init__(self, gateway: GatewayProcess, key: str, **options: Any) -> None:
        self.requests = 0
        self._http = DefaultHttpxClient(event_hooks={"request": [self._sent]})
        self._sdk = sdk(gateway, key, http_client=self._http, **options)

    def __enter__(self) -> Self:
        self.client = self._sdk.__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        self._sdk.__exit__(*args)

    def chat(self, **body: Any) -> Any:
        return self.client.chat.completions.create(**body)

    def refused(self, **body: Any) -> Refused:
        """The refusal of a call that must be refused."""
        before = self.requests
        try:
            self.chat(**body)
        except APIStatusError as error:
            return Refused(error, self.requests - before)
        raise AssertionError("the call was not refused")

    def _sent(self, _request: object) -> None:
        self.requests += 1
