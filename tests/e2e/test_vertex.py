"""Vertex AI behind with tokens of Google Cloud: Claude and Gemini in their own formats and in others'."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google import genai
from openai import APIStatusError

from tests.support.clients import ask, sdk
from tests.support.gateway import PRICE, GatewayProcess
from tests.support.identity_server import ACCOUNT, IdentityServer

pytestmark = pytest.mark.xdist_group("e2e-vertex")

CLAUDE, GEMINI = "claude-mock@20250929", "gemini-mock"
PLACE = "/v1/projects/p-1/locations/europe-west1"


@pytest.fixture
def identity() -> Iterator[IdentityServer]:
    with IdentityServer() as server:
        yield server


def account(identity: IdentityServer) -> str:
    key = rsa.generate_private_key(65537, 2048)
    identity.public_key = key.public_key()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    said = {"type": "service_account", "client_email": ACCOUNT, "private_key": pem, "private_key_id": "kid-1"}
    return json.dumps({**said, "token_uri": identity.google_url})


def options(origin: str, google: dict[str, Any]) -> dict[str, Any]:
    served = {"provider": "vertex", "price": PRICE, "max_output_tokens": 4096}
    return {
        "providers": {"vertex": {"kind": "vertex", "base_url": f"{origin}{PLACE}", "google": google}},
        "models": {
            "small": {"model": CLAUDE, **served},
            "claude": {"model": CLAUDE, **served},
            "gemini": {"model": GEMINI, **served},
        },
    }


@pytest.fixture
def gateway(prepare, identity, clean_upstream) -> Iterator[GatewayProcess]:
    made = prepare(**options(clean_upstream.origin, {"service_account": "${file:account.json}"}))
    (made.directory / "account.json").write_text(account(identity))
    with made:
        yield made


def target(model: str, action: str) -> str:
    publisher = "anthropic" if model == CLAUDE else "google"
    return f"{PLACE}/publishers/{publisher}/models/{model}:{action}"


def test_claude_in_its_own_format_whole_and_streamed(gateway, identity, clean_upstream):
    with Anthropic(base_url=gateway.origin, api_key=gateway.keys["alice"], max_retries=0) as client:
        said = {"model": "claude", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
        whole = client.beta.messages.create(**said, betas=["fine-1"])
        with client.messages.stream(**said) as stream:
            text = stream.get_final_text()
    assert whole.content[0].text.split() == text.split()
    first, second = clean_upstream.log()
    assert (first.target, second.target) == (target(CLAUDE, "rawPredict"), target(CLAUDE, "streamRawPredict"))
    assert first.json["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in first.json
    assert (first.header("anthropic-beta"), second.json["stream"]) == ("fine-1", True)
    assert {row.header("authorization") for row in (first, second)} == {f"Bearer {identity.issued[0]}"}
    assert {row.header("x-api-key") for row in (first, second)} == {None}
    told = [(row.usage["input_tokens"], row.usage["output_tokens"]) for row in (first, second)]
    assert [(call["input_tokens"], call["output_tokens"]) for call in gateway.settled()] == told
    assert (identity.assertions[0]["kid"], len(identity.issued)) == ("kid-1", 1)


def test_gemini_in_its_own_format_whole_and_streamed(gateway, clean_upstream):
    options = genai.types.HttpOptions(base_url=gateway.origin)
    client = genai.Client(api_key=gateway.keys["alice"], http_options=options)
    whole = client.models.generate_content(model="gemini", contents="hello")
    streamed = [part.text for part in client.models.generate_content_stream(model="gemini", contents="hello")]
    assert "".join(text or "" for text in streamed).split() == (whole.text or "").split()
    first, second = clean_upstream.log()
    assert first.target == target(GEMINI, "generateContent")
    assert second.target == target(GEMINI, "streamGenerateContent") + "?alt=sse"
    told = [(row.usage["promptTokenCount"], row.usage["candidatesTokenCount"]) for row in (first, second)]
    assert [(call["input_tokens"], call["output_tokens"]) for call in gateway.settled()] == told


@pytest.mark.parametrize(("alias", "model"), [("claude", CLAUDE), ("gemini", GEMINI)])
@pytest.mark.parametrize("stream", [False, True])
def test_both_answer_clients_of_openais_format(gateway, clean_upstream, alias, model, stream):
    with sdk(gateway, max_retries=0) as client:
        said = client.chat.completions.create(**ask(model=alias, stream=stream))
        assert list(said) if stream else said.choices[0].message.content
    (row,) = clean_upstream.log()
    actions = {CLAUDE: ("rawPredict", "streamRawPredict"), GEMINI: ("generateContent", "streamGenerateContent?alt=sse")}
    assert row.target == target(model, actions[model][stream])
    assert "model" not in row.json
    (call,) = gateway.settled()
    assert call["output_tokens"] > 0


def test_vertexs_own_paths_lead_there_too(gateway, clean_upstream):
    path = f"/vertex{PLACE}/publishers/anthropic/models/claude:rawPredict"
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {gateway.keys['alice']}"}
    answer = httpx2.post(gateway.origin + path, json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    (row,) = clean_upstream.log()
    assert (row.target, row.json) == (target(CLAUDE, "rawPredict"), {**body, "stream": False})


def test_a_401_is_cured_by_one_other_token_and_a_refusal_is_told(gateway, identity, clean_upstream):
    with sdk(gateway, max_retries=0) as client:
        clean_upstream.script(preset="mock-401", times=1)
        client.chat.completions.create(**ask())
        assert len(identity.issued) == 2
        clean_upstream.script(preset="mock-401")
        with pytest.raises(APIStatusError, match="refused this gateway's credential"):
            client.chat.completions.create(**ask())
    written = b"".join(file.read_bytes() for file in (gateway.directory / "var").rglob("*") if file.is_file())
    assert not [token for token in identity.issued if token.encode() in written]


def test_the_account_of_the_machine(start, identity, clean_upstream):
    google = {"metadata": True, "metadata_url": identity.google_machine_url}
    gateway = start(**options(clean_upstream.origin, google))
    with sdk(gateway, max_retries=0) as client:
        client.chat.completions.create(**ask())
    assert clean_upstream.log()[0].header("authorization") == f"Bearer {identity.issued[0]}"
    assert "tokens of vertex: given by" in gateway.cli("doctor", check=False).out


def test_check_tells_of_a_broken_key_and_of_models_that_are_not_served_there(prepare, clean_upstream):
    made = options(clean_upstream.origin, {"service_account": "${file:account.json}"})
    made["models"]["other"] = {**made["models"]["small"], "model": "mistral-large"}
    gateway = prepare(**made)
    said = {"client_email": ACCOUNT, "private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}
    (gateway.directory / "account.json").write_text(json.dumps(said))
    checked = gateway.cli("check", "--config", str(gateway.config_file), check=False)
    assert checked.code != 0
    told = checked.out + checked.err
    assert "holds no private key in PEM" in told
    assert "`mistral-large` is not served from `vertex`" in told
    assert "AAAA" not in told
