"""Azure OpenAI behind with tokens of Entra ID, a real SDK in front: what is sent, told, booked, and never shown."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, AzureOpenAI

from tests.support.certificates import make_certificate
from tests.support.clients import ask, sdk
from tests.support.gateway import PRICE, GatewayProcess, eventually
from tests.support.identity_server import CLIENT, CLIENT_SECRET, FEDERATED, TENANT, IdentityServer

pytestmark = pytest.mark.xdist_group("e2e-azure-entra")


@pytest.fixture
def identity() -> Iterator[IdentityServer]:
    with IdentityServer() as server:
        yield server


def azure(identity: IdentityServer, origin: str, way: dict[str, Any]) -> dict[str, Any]:
    app = {} if "managed_identity" in way else {"tenant": TENANT, "client_id": CLIENT, "authority": identity.origin}
    return {"kind": "azure_openai", "base_url": f"{origin}/openai/v1", "entra": {**app, **way}}


def options(provider: dict[str, Any], **more: Any) -> dict[str, Any]:
    served = {"provider": "azure", "model": "mock-ok", "price": PRICE, "max_output_tokens": 4096}
    return {
        "providers": {"azure": provider},
        "models": {"small": served},
        "variables": {"AZURE_SECRET": CLIENT_SECRET},
        **more,
    }


@pytest.fixture
def gateway(start, identity, clean_upstream) -> GatewayProcess:
    way = {"client_secret": "${AZURE_SECRET}"}
    return start(**options(azure(identity, clean_upstream.origin, way)))


def show_nothing(gateway: GatewayProcess, identity: IdentityServer, directory: Path) -> None:
    """No token and no secret is in anything that the gateway wrote."""
    written = b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file() and file.suffix != ".pem")
    assert identity.issued
    for secret in (CLIENT_SECRET, *identity.issued):
        assert secret.encode() not in written


def test_one_token_serves_many_calls_whole_and_streamed_and_the_books_agree(gateway, identity, clean_upstream):
    identity.gate.clear()
    with ThreadPoolExecutor(8) as pool, sdk(gateway, max_retries=0) as client:
        calls = [pool.submit(client.chat.completions.create, **ask(f"call {n}")) for n in range(8)]
        eventually(lambda: identity.asked, what="a token is asked for")
        threading.Timer(0.3, identity.gate.set).start()
        assert all(call.result().choices for call in calls)
        streamed = list(client.chat.completions.create(**ask(stream=True)))
    assert "".join(c.choices[0].delta.content or "" for c in streamed if c.choices).startswith("word0")
    assert len(identity.issued) == len(identity.asked) == 1
    rows = clean_upstream.log()
    assert {row.header("authorization") for row in rows} == {f"Bearer {identity.issued[0]}"}
    assert {row.header("api-key") for row in rows} == {None}
    told = sorted((row.usage["prompt_tokens"], row.usage["completion_tokens"]) for row in rows)
    assert sorted((call["input_tokens"], call["output_tokens"]) for call in gateway.settled()) == told
    show_nothing(gateway, identity, gateway.directory)


def test_azures_own_sdk_in_front(gateway, identity, clean_upstream):
    with AzureOpenAI(
        azure_endpoint=gateway.origin, api_key=gateway.keys["alice"], api_version="2025-04-01-preview"
    ) as client:
        assert client.chat.completions.create(**ask()).choices[0].message.content
    (row,) = clean_upstream.log()
    assert (row.target, row.json["model"]) == ("/openai/v1/chat/completions", "mock-ok")
    (call,) = gateway.settled()
    assert call["input_tokens"] == row.usage["prompt_tokens"]


def test_a_401_is_cured_by_one_other_token_and_a_second_one_is_told(gateway, identity, clean_upstream):
    with sdk(gateway, max_retries=0) as client:
        client.chat.completions.create(**ask())
        clean_upstream.script(preset="mock-401", times=1)
        client.chat.completions.create(**ask())
        assert len(identity.issued) == 2
        clean_upstream.script(preset="mock-401")
        for _ in range(3):
            with pytest.raises(APIStatusError, match="refused this gateway's credential") as caught:
                client.chat.completions.create(**ask())
            assert caught.value.status_code == 502
    assert len(identity.issued) == 2
    assert len(gateway.settled()) == 2


def test_a_refused_credential_is_told_rests_and_opens_no_breaker(gateway, identity, clean_upstream):
    identity.fail_with = (401, {"error": "invalid_client", "error_description": f"AADSTS7000222: {CLIENT_SECRET}"})
    with sdk(gateway, max_retries=0) as client:
        for _ in range(7):
            with pytest.raises(APIStatusError, match="invalid_client, AADSTS7000222") as caught:
                client.chat.completions.create(**ask())
            assert CLIENT_SECRET not in str(caught.value)
            assert "retry-after" not in caught.value.response.headers
    assert len(identity.asked) == 1
    assert clean_upstream.log() == []
    status = gateway.admin("GET", "/api/v1/status").json
    assert [each["state"] for each in status["deployments"]] == ["closed"]
    assert [each["credentials_resting"] for each in status["providers"]] == [1]
    doctor = gateway.cli("doctor", check=False)
    assert doctor.code == 1
    assert "AADSTS7000222" in doctor.out
    assert CLIENT_SECRET not in doctor.out
    identity.fail_with = None
    assert "tokens of azure: given by" in gateway.cli("doctor", check=False).out


def test_an_identity_service_that_fails_counts_against_the_deployment(start, identity, clean_upstream):
    served = {"price": PRICE, "max_output_tokens": 4096}
    places = [{"provider": "azure", "model": "mock-ok"}, {"provider": "spare", "model": "mock-other"}]
    spare = {"kind": "openai_compatible", "base_url": clean_upstream.base_url, "api_key": "none"}
    provider = azure(identity, clean_upstream.origin, {"client_secret": "${AZURE_SECRET}"})
    gateway = start(
        **options(
            provider,
            providers={"azure": provider, "spare": spare},
            models={"small": {"deployments": places, **served}},
            upstream={"breaker": {"failures": 2, "pause": "60s"}},
        )
    )
    identity.fail_with = (503, {})
    with sdk(gateway, max_retries=0) as client:
        for _ in range(4):
            client.chat.completions.create(**ask())
    assert {row.json["model"] for row in clean_upstream.log()} == {"mock-other"}
    states = {each["provider"]: each["state"] for each in gateway.admin("GET", "/api/v1/status").json["deployments"]}
    assert states["azure"] == "open"
    assert len(gateway.settled()) == 4


@pytest.mark.parametrize("way", ["certificate", "token_file", "managed_identity"])
def test_the_other_ways_to_show_who_this_is(prepare, identity, clean_upstream, way):
    given = {
        "certificate": {"certificate": "${file:client.pem}"},
        "token_file": {"token_file": "federated-token"},
        "managed_identity": {"managed_identity": True, "identity_url": identity.machine_url},
    }[way]
    gateway = prepare(**options(azure(identity, clean_upstream.origin, given)))
    made = make_certificate()
    if way == "certificate":
        identity.public_key = made.public_key
        (gateway.directory / "client.pem").write_text(made.key + made.certificate)
        (gateway.directory / "client.pem").chmod(0o600)
    (gateway.directory / "federated-token").write_text(FEDERATED)
    with gateway, sdk(gateway, max_retries=0) as client:
        client.chat.completions.create(**ask())
        (row,) = clean_upstream.log()
        assert row.header("authorization") == f"Bearer {identity.issued[0]}"
        (call,) = gateway.settled()
        assert call["output_tokens"] == row.usage["completion_tokens"]
        show_nothing(gateway, identity, gateway.directory)


def test_check_tells_what_is_wrong_with_a_certificate_and_no_start_takes_it(prepare, identity, clean_upstream):
    way = {"certificate": "${file:client.pem}"}
    gateway = prepare(**options(azure(identity, clean_upstream.origin, way)))
    file = gateway.directory / "client.pem"
    ended, soon = make_certificate(days=-1), make_certificate(days=5)
    for pem, said in [
        ("nothing", "holds no certificate in PEM"),
        (ended.certificate + soon.key, "its private key is not that of its certificate"),
        (ended.certificate + ended.key, "ended on "),
    ]:
        file.write_text(pem)
        checked = gateway.cli("check", "--config", str(gateway.config_file), check=False)
        assert checked.code == 1
        assert "providers.azure.entra.certificate" in checked.out
        assert said in checked.out
    assert "ended on " in gateway.refused_start().err
    file.write_text(soon.certificate + soon.key)
    checked = gateway.cli("check", "--config", str(gateway.config_file))
    assert "warning: providers.azure.entra.certificate: ends on " in checked.out
    assert identity.asked == []
