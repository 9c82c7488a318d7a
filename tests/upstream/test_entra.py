"""Tokens of Entra ID against a real identity service, over each HTTP client: how the gateway shows who it is."""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.upstream import Timeouts, TokenUnavailable
from gateway.ports import Upstream
from gateway.upstream.aiohttp_client import AiohttpUpstream
from gateway.upstream.entra import (
    ASSERTION_S,
    Application,
    by_certificate,
    by_federation,
    by_managed_identity,
    by_secret,
    certificate_of,
)
from gateway.upstream.http1_client import Http1Upstream
from gateway.upstream.httpx_client import HttpxUpstream
from gateway.upstream.provider import REDACTED
from gateway.upstream.token_endpoint import TokenEndpoint
from gateway.upstream.token_provider import TokenProvider
from gateway.upstream.token_source import Fetch, TokenSource
from gateway.wiring.system import SystemClock
from tests.support.certificates import make_certificate
from tests.support.fixtures import UpstreamProcess
from tests.support.identity_server import CLIENT, CLIENT_SECRET, FEDERATED, SCOPE, TENANT, IdentityServer

CLOCK = SystemClock()
CLIENTS: dict[str, Callable[[], Upstream]] = {
    "http1": Http1Upstream,
    "aiohttp": AiohttpUpstream,
    "httpx": HttpxUpstream,
}


@pytest_asyncio.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    upstream = CLIENTS[request.param]()
    yield upstream
    await upstream.close()


@pytest_asyncio.fixture
async def http1() -> AsyncIterator[Upstream]:
    upstream = Http1Upstream()
    yield upstream
    await upstream.close()


@pytest.fixture
def identity() -> Iterator[IdentityServer]:
    with IdentityServer() as server:
        yield server


def app(identity: IdentityServer) -> Application:
    return Application(identity.token_url, CLIENT, SCOPE)


def endpoint(url: str, client: Upstream) -> TokenEndpoint:
    return TokenEndpoint("azure", url, client, CLOCK)


def with_secret(identity: IdentityServer, client: Upstream, secret: str = CLIENT_SECRET) -> Fetch:
    return by_secret(app(identity), secret, endpoint(identity.token_url, client))


async def test_a_secret_gives_a_token(client, identity):
    issued = await with_secret(identity, client)()
    assert issued == (identity.issued[-1], 3600)


async def test_a_certificate_signs_an_assertion_that_its_public_key_proves(client, identity):
    made = make_certificate()
    identity.public_key = made.public_key
    certificate = certificate_of(made.key + made.certificate)
    issued = await by_certificate(app(identity), certificate, endpoint(identity.token_url, client), CLOCK)()
    assert issued.value == identity.issued[-1]
    (claims,) = identity.assertions
    assert claims["x5t#S256"] == base64.urlsafe_b64encode(made.thumbprint).rstrip(b"=").decode()
    assert claims["exp"] - claims["iat"] == ASSERTION_S
    assert abs(claims["iat"] - datetime.now(UTC).timestamp()) < 600
    other = certificate_of("".join(make_certificate()[:2]))
    with pytest.raises(TokenUnavailable, match="invalid_client") as caught:
        await by_certificate(app(identity), other, endpoint(identity.token_url, client), CLOCK)()
    assert caught.value.refused


async def test_each_assertion_has_an_id_of_its_own(http1, identity):
    made = make_certificate()
    identity.public_key = made.public_key
    fetch = by_certificate(
        app(identity), certificate_of(made.certificate + made.key), endpoint(identity.token_url, http1), CLOCK
    )
    await fetch()
    await fetch()
    first, second = identity.assertions
    assert first["jti"] != second["jti"]


async def test_a_federated_token_is_read_anew_each_time(client, identity, tmp_path):
    file = tmp_path / "token"
    fetch = by_federation("azure", app(identity), file, endpoint(identity.token_url, client))
    with pytest.raises(TokenUnavailable, match="`token_file` cannot be read"):
        await fetch()
    assert len(identity.asked) == 0
    file.write_text("an-old-one")
    with pytest.raises(TokenUnavailable):
        await fetch()
    file.write_text(f"{FEDERATED}\n")
    assert (await fetch()).value == identity.issued[-1]


@pytest.mark.parametrize("client_id", [None, "user-assigned"])
async def test_a_machine_asks_for_its_own_identity(client, identity, client_id):
    identity.lifetime_s = "86400"
    issued = await by_managed_identity(client_id, SCOPE, endpoint(identity.machine_url, client))()
    assert (issued.value, issued.lifetime_s) == (identity.issued[-1], 86400)
    assert identity.asked[-1].get("client_id") == client_id


async def test_of_a_refusal_only_its_codes_are_told(http1, identity):
    with pytest.raises(TokenUnavailable) as caught:
        await with_secret(identity, http1, "wrong-secret-for-tests")()
    assert caught.value.refused
    assert "invalid_client, AADSTS7000215" in str(caught.value)
    assert "wrong-secret-for-tests" in str(identity.asked), "the service repeats it in its description"
    assert "wrong-secret-for-tests" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        (503, {"error": "temporarily_unavailable"}),
        (429, {}),
        (302, {}),
        (200, {}),
        (200, {"access_token": "", "expires_in": 3600}),
        (200, {"access_token": "a b", "expires_in": 3600}),
        (200, {"access_token": "x\r\nx-evil: 1", "expires_in": 3600}),
        (200, {"access_token": "token", "expires_in": "soon"}),
        (200, {"access_token": "token", "expires_in": 0}),
        (200, {"access_token": "token", "expires_in": True}),
    ],
)
async def test_what_is_no_token_is_a_failure_that_may_pass(http1, identity, answer: tuple[int, dict[str, Any]]):
    identity.fail_with = answer
    with pytest.raises(TokenUnavailable) as caught:
        await with_secret(identity, http1)()
    assert not caught.value.refused


async def test_a_token_may_tell_when_it_ends_in_place_of_how_long_it_lives(http1, identity):
    identity.fail_with = (200, {"access_token": "token", "expires_on": str(CLOCK.now_us() // 1_000_000 + 1800)})
    assert 1700 < (await with_secret(identity, http1)()).lifetime_s <= 1800


async def test_an_identity_service_that_is_away_is_a_failure(http1):
    with IdentityServer() as gone:
        pass
    with pytest.raises(TokenUnavailable, match="could not be reached") as caught:
        await with_secret(gone, http1)()
    assert not caught.value.refused
    assert not caught.value.sent


def test_what_is_wrong_with_a_certificate_is_told():
    one, other = make_certificate(), make_certificate()
    for pem, said in [
        ("nothing", "no certificate"),
        (one.certificate, "no private key"),
        (one.certificate + other.key, "not that of its certificate"),
    ]:
        with pytest.raises(ValueError, match=said):
            certificate_of(pem)


def provider(identity: IdentityServer, client: Upstream, upstream: UpstreamProcess) -> TokenProvider:
    source = TokenSource(with_secret(identity, client), CLOCK)
    url = f"{upstream.origin}/openai/v1"
    return TokenProvider("azure", url, {}, client, 1_000_000, tokens=source, secrets=(CLIENT_SECRET,))


async def call(azure: TokenProvider) -> int:
    reply = await azure.send("/chat/completions", b'{"messages":[{"role":"user","content":"x"}]}', Timeouts())
    await reply.read()
    await reply.close()
    return reply.status


async def test_a_401_is_answered_with_one_other_token(client, identity, clean_upstream):
    azure = provider(identity, client, clean_upstream)
    assert await call(azure) == 200
    clean_upstream.script(preset="mock-401", times=1)
    assert await call(azure) == 200
    assert [row.header("authorization") for row in clean_upstream.log()] == [
        f"Bearer {identity.issued[at]}" for at in (0, 0, 1)
    ]
    clean_upstream.script(preset="mock-401")
    assert [await call(azure) for _ in range(3)] == [401, 401, 401]
    assert len(identity.issued) == 2, "another token would be refused as well"


async def test_nothing_that_tokens_are_had_with_is_shown(http1, identity, clean_upstream):
    azure = provider(identity, http1, clean_upstream)
    await call(azure)
    token = identity.issued[0]
    assert azure.redact(f"{token} and {CLIENT_SECRET}") == f"{REDACTED} and {REDACTED}"
    assert azure.credentials() == (1, 0)
    assert TENANT not in str(clean_upstream.log())


async def test_a_credential_that_is_refused_rests(http1, identity, clean_upstream, tmp_path: Path):
    azure = provider(identity, http1, clean_upstream)
    identity.fail_with = (400, {"error": "invalid_grant"})
    for _ in range(3):
        with pytest.raises(TokenUnavailable, match="invalid_grant"):
            await call(azure)
    assert azure.credentials() == (1, 1)
    assert len(identity.asked) == 1
    assert clean_upstream.log() == []
