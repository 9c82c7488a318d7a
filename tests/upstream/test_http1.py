"""Our own HTTP/1.1 client against peers that speak raw bytes: what no well-behaved provider would send."""

import asyncio
import datetime as dt
import ipaddress
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.upstream import Phase, Timeouts, UpstreamError, UpstreamFailed, UpstreamRequest, UpstreamTimeout
from gateway.upstream.http1_client import Http1Upstream

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\ntrailer: z\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """Answers each request of each connection by `script`; counts both."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                await self._script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking_to(
    script: Script, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Http1Upstream, Peer]]:
    peer = Peer(script)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=context)
    scheme = "http" if context is None else "https"
    peer.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    client = Http1Upstream()
    try:
        yield client, peer
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


def says(*parts: bytes, close: bool = False) -> Script:
    """Sends these bytes for each request, one part a write."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if close:
            writer.close()

    return script


def ask(peer: Peer, timeouts: Timeouts | None = None, bytes_max: int = 1_000_000) -> UpstreamRequest:
    return UpstreamRequest("POST", peer.url, (("x-a", "b"),), b"{}", timeouts or Timeouts(), bytes_max)


async def until(fulfilled: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fulfilled():  # noqa: ASYNC110 - what is waited for happens in another task's own time
            await asyncio.sleep(0.001)


async def whole(client: Http1Upstream, request: UpstreamRequest) -> tuple[int, bytes]:
    reply = await client.send(request)
    try:
        return reply.status, await reply.read()
    finally:
        await reply.close()


@pytest.mark.parametrize(
    ("said", "body", "connections"),
    [
        (PLAIN, b"hello", 1),
        (CHUNKED, b"hello", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, b"hello", 1),
        (b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + PLAIN, b"hello", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", 1),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello", 2),
    ],
)
async def test_framing_and_use_of_connections(said: bytes, body: bytes, connections: int) -> None:
    async with talking_to(says(said)) as (client, peer):
        assert [(await whole(client, ask(peer)))[1] for _ in range(2)] == [body, body]
        assert peer.connections == connections
        assert peer.requests[0] == (
            b"POST /v1 HTTP/1.1\r\nhost: %s\r\naccept-encoding: identity\r\nx-a: b\r\ncontent-length: 2\r\n\r\n{}"
            % peer.url.split("/")[2].encode()
        )


async def test_a_body_may_end_with_its_connection() -> None:
    async with talking_to(says(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", close=True)) as (client, peer):
        assert await whole(client, ask(peer)) == (200, b"hello")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header: 1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"hello\r\n\r\n",
        b"",
    ],
)
async def test_what_is_not_one_whole_reply_is_a_failure_that_may_have_been_sent(said: bytes) -> None:
    async with talking_to(says(said, close=True)) as (client, peer):
        with pytest.raises(UpstreamFailed) as caught:
            await whole(client, ask(peer))
        assert caught.value.sent


@pytest.mark.parametrize("more", [PLAIN, b"garbage", b"\x00"])
async def test_bytes_that_nobody_asked_for_answer_no_other_call(more: bytes) -> None:
    """A reply that somebody smuggles in behind another one must not become the answer to the next call."""
    replies = iter([PLAIN + more, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext"])

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(replies))

    async with talking_to(script) as (client, peer):
        assert await whole(client, ask(peer)) == (200, b"hello")
        assert await whole(client, ask(peer)) == (200, b"next")
        assert peer.connections == 2


async def test_bytes_that_come_while_a_connection_rests_end_it() -> None:
    late = asyncio.Event()

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN)
        if not late.is_set():
            await late.wait()
            writer.write(PLAIN)
            await writer.drain()

    async with talking_to(script) as (client, peer):
        assert await whole(client, ask(peer)) == (200, b"hello")
        late.set()
        await until(lambda: not client.open)  # the connection is dropped as soon as the bytes are here
        assert await whole(client, ask(peer)) == (200, b"hello")
        assert peer.connections == 2


async def test_a_head_that_drips_is_bounded_by_the_first_byte() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)

    async with talking_to(script) as (client, peer):
        with pytest.raises(UpstreamTimeout) as caught:
            await whole(client, ask(peer, Timeouts(first_byte_s=0.2)))
        assert caught.value.phase is Phase.FIRST_BYTE


async def test_a_reader_that_is_slow_holds_the_provider_back() -> None:
    sent = 0

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(400):
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()
            sent = (number + 1) * 65_536
        writer.write(b"0\r\n\r\n")

    async with talking_to(script) as (client, peer):
        reply = await client.send(ask(peer, Timeouts(idle_s=0.1), bytes_max=100_000_000))
        for _ in range(100):  # the pause is the reader's own: it is no silence of the provider
            await asyncio.sleep(0.005)
        assert sent < 400 * 65_536
        assert sum([len(chunk) async for chunk in reply.chunks()]) == 400 * 65_536
        await reply.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=8), st.sampled_from([PLAIN, CHUNKED]))
def test_how_the_network_cuts_a_reply_changes_nothing(cuts: list[int], said: bytes) -> None:
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    parts = [said[start:end] for start, end in itertools.pairwise(places)]

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)

    async def run() -> None:
        async with talking_to(script) as (client, peer):
            for _ in range(2):
                reply = await client.send(ask(peer))
                assert b"".join([chunk async for chunk in reply.chunks()]) == b"hello"
                await reply.close()

    asyncio.run(run())


async def test_closing_the_client_ends_what_is_in_flight() -> None:
    async with talking_to(says()) as (client, peer):
        calling = asyncio.create_task(whole(client, ask(peer)))
        await until(lambda: bool(peer.requests))
        await client.close()
        with pytest.raises(UpstreamFailed):
            await calling
        with pytest.raises(UpstreamError):
            await whole(client, ask(peer))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the file of the certificate that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place = tmp_path_factory.mktemp("tls")
    public, private = place / "cert.pem", place / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


async def test_tls_asks_for_a_certificate_that_is_trusted(certificate: tuple[ssl.SSLContext, Path]) -> None:
    context, public = certificate
    async with talking_to(says(PLAIN), context) as (client, peer):
        with pytest.raises(UpstreamFailed) as caught:
            await whole(client, ask(peer))
        assert not caught.value.sent
        assert peer.requests == []
        trusting = Http1Upstream(ssl.create_default_context(cafile=str(public)))
        assert await whole(trusting, ask(peer)) == (200, b"hello")
        named = UpstreamRequest("POST", peer.url.replace("127.0.0.1", "localhost"), (), b"", Timeouts())
        with pytest.raises(UpstreamFailed):
            await whole(trusting, named)
        await trusting.close()


@pytest.mark.parametrize(
    "url", ["http://user:secret@h/v1", "http://h/a b", "http://h/é", "https://", "h/v1", "http://h:99999/", "//h/v1"]
)
async def test_an_address_that_cannot_be_written_is_refused_unsent(url: str) -> None:
    client = Http1Upstream()
    with pytest.raises(UpstreamFailed) as caught:
        await client.send(UpstreamRequest("POST", url, (), b"", Timeouts()))
    assert not caught.value.sent
    assert "secret" not in str(caught.value)
    await client.close()
