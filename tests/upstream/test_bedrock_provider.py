"""Whose credentials sign requests to Bedrock, what happens without any, and what is never shown."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.core.upstream import Timeouts, UpstreamFailed
from gateway.ports import Upstream
from gateway.upstream.bedrock import BedrockProvider
from gateway.upstream.http1_client import Http1Upstream
from gateway.upstream.provider import REDACTED
from tests.support.fixtures import UpstreamProcess

REGION = "eu-central-1"
ACCESS, SECRET, TOKEN = "access-key-for-tests", "for-tests-only/secret", "for-tests-only-session-token"
CHAIN = {"AWS_ACCESS_KEY_ID": "access-key-of-the-chain", "AWS_SECRET_ACCESS_KEY": "chained-for-tests"}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Http1Upstream]:
    upstream = Http1Upstream()
    yield upstream
    await upstream.close()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that runs the tests, no files and no instance to ask."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def provider(base_url: str, client: Upstream, keys: tuple[str, str, str | None] | None) -> BedrockProvider:
    return BedrockProvider("aws", base_url, {"x-own": "kept"}, client, 1_000_000, region=REGION, keys=keys)


async def sent(provider: BedrockProvider, upstream: UpstreamProcess) -> dict[str, str]:
    reply = await provider.send("/model/eu.claude-v1%3A0/converse", b'{"messages":[]}', Timeouts())
    await reply.read()
    await reply.close()
    return {name.lower(): value for name, value in upstream.log()[-1].headers}


async def test_given_keys_sign_and_temporary_ones_show_their_token(client, clean_upstream):
    headers = await sent(provider(clean_upstream.origin, client, (ACCESS, SECRET, TOKEN)), clean_upstream)
    assert headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS}/")
    assert f"/{REGION}/bedrock/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == TOKEN
    assert headers["x-own"] == "kept"
    assert SECRET not in str(headers)


async def test_without_keys_the_chain_is_asked_each_time(client, clean_upstream, monkeypatch):
    aws = provider(clean_upstream.origin, client, None)
    with pytest.raises(UpstreamFailed, match="no AWS credentials") as failed:
        await sent(aws, clean_upstream)
    assert not failed.value.sent
    assert clean_upstream.log() == []
    for name, value in CHAIN.items():
        monkeypatch.setenv(name, value)
    headers = await sent(aws, clean_upstream)
    assert f"Credential={CHAIN['AWS_ACCESS_KEY_ID']}/" in headers["authorization"]


async def test_no_part_of_the_credentials_is_shown(client, clean_upstream):
    aws = provider(clean_upstream.origin, client, (ACCESS, SECRET, TOKEN))
    await sent(aws, clean_upstream)
    assert aws.redact(f"{ACCESS} {SECRET} {TOKEN} fine") == f"{REDACTED} {REDACTED} {REDACTED} fine"
