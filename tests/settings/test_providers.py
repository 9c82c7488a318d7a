"""Providers in the configuration: where they are, what they speak, how they are shown a key."""

import pytest

from gateway.settings import parse
from gateway.settings.presets import LOCAL, PRESETS
from gateway.settings.providers import Provider
from gateway.upstream.provider import credential_of
from tests.settings.samples import ENVIRONMENT, PATH, faults

AZURE = "https://name.openai.azure.com/openai/v1"


def written(text: str) -> str:
    return f"providers: {{p: {text}}}\nmodels: {{m: {{provider: p}}}}"


def provider(text: str) -> Provider:
    return parse(written(text).encode(), ENVIRONMENT, path=PATH).settings.providers["p"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_knows_its_address(name: str) -> None:
    key = "" if name in LOCAL else ", api_key: '${OPENAI_API_KEY}'"
    found = provider(f"{{kind: openai_compatible, preset: {name}{key}}}")
    assert found.url == PRESETS[name]
    elsewhere = provider(f"{{kind: openai_compatible, preset: {name}, base_url: 'http://127.0.0.1:9/v1'{key}}}")
    assert elsewhere.url == "http://127.0.0.1:9/v1"


def test_azure_speaks_openais_formats_with_a_header_of_its_own() -> None:
    found = provider(f"{{kind: azure_openai, base_url: '{AZURE}', api_key: '${{OPENAI_API_KEY}}'}}")
    assert (found.url, found.output_cap_field) == (AZURE, "max_completion_tokens")
    assert {"openai_chat", "openai_responses"} <= set(found.speaks)
    assert credential_of("azure_openai", "k") == {"api-key": "k"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: openai_compatible, preset: grog, api_key: none}", "preset: is not known"),
        ("{kind: openai_compatible, preset: groq}", "api_key: is missing"),
        ("{kind: openai, preset: groq, api_key: '${OPENAI_API_KEY}'}", "is only for `openai_compatible`"),
        ("{kind: azure_openai, api_key: '${OPENAI_API_KEY}'}", "must end with `/openai/v1`"),
        (
            "{kind: azure_openai, base_url: 'https://name.openai.azure.com', api_key: '${OPENAI_API_KEY}'}",
            "must end with",
        ),
        (f"{{kind: azure_openai, base_url: '{AZURE}'}}", "api_key: is missing"),
        (
            "{kind: openai, api_key: '${OPENAI_API_KEY}', api_keys: ['${OPENAI_API_KEY}']}",
            "api_keys: goes without `api_key`",
        ),
        ("{kind: openai, api_keys: ['${OPENAI_API_KEY}', '${OPENAI_API_KEY}']}", "names one credential twice"),
        ("{kind: openai, api_keys: [sk-in-the-file]}", "a secret must not stand in the configuration"),
        ("{kind: simulated, api_keys: ['${OPENAI_API_KEY}']}", "a simulated provider has none"),
    ],
)
def test_what_a_provider_lacks_is_told(text: str, said: str) -> None:
    found = faults(written(text))
    assert any(said in fault for fault in found), found


APP = "tenant: contoso.onmicrosoft.com, client_id: 0-1-2"


@pytest.mark.parametrize(
    ("entra", "url"),
    [
        (
            f"{APP}, client_secret: '${{OPENAI_API_KEY}}'",
            "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
        ),
        (
            f"{APP}, token_file: t, authority: 'https://login.microsoftonline.us/'",
            "https://login.microsoftonline.us/contoso.onmicrosoft.com/oauth2/v2.0/token",
        ),
        ("managed_identity: true", "http://169.254.169.254/metadata/identity/oauth2/token"),
        ("managed_identity: true, identity_url: 'http://127.0.0.1:1/token'", "http://127.0.0.1:1/token"),
    ],
)
def test_azure_may_be_shown_tokens_of_entra(entra: str, url: str) -> None:
    found = provider(f"{{kind: azure_openai, base_url: '{AZURE}', entra: {{{entra}}}}}")
    assert found.entra is not None
    assert (found.entra.url, found.keys) == (url, (None,))
    assert ENVIRONMENT["OPENAI_API_KEY"] not in repr(found)


@pytest.mark.parametrize(
    ("entra", "said"),
    [
        ("tenant: t, client_id: c", "entra: shows nobody who this is"),
        (f"{APP}, token_file: t, client_secret: '${{OPENAI_API_KEY}}'", "token_file: does not go with `client_secret`"),
        ("client_id: c, token_file: t", "entra.tenant: is missing"),
        ("tenant: t, token_file: t", "entra.client_id: is missing"),
        ("tenant: t, managed_identity: true", "entra.tenant: is not for a managed identity"),
        (f"{APP}, client_secret: in-the-file", "a secret must not stand in the configuration"),
        (f"{APP}, certificate: in-the-file", "a secret must not stand in the configuration"),
        ("tenant: ../elsewhere, client_id: c, token_file: t", "entra.tenant: is not an id"),
    ],
)
def test_what_entra_lacks_is_told(entra: str, said: str) -> None:
    found = faults(written(f"{{kind: azure_openai, base_url: '{AZURE}', entra: {{{entra}}}}}"))
    assert any(said in fault for fault in found), found


def test_tokens_go_with_azure_only_and_without_keys() -> None:
    entra = "entra: {managed_identity: true}"
    assert "is only for `azure_openai`" in str(
        faults(written(f"{{kind: openai, api_key: '${{OPENAI_API_KEY}}', {entra}}}"))
    )
    both = f"{{kind: azure_openai, base_url: '{AZURE}', api_key: '${{OPENAI_API_KEY}}', {entra}}}"
    assert "entra: goes without keys" in str(faults(written(both)))


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_several_credentials_stand_in_for_one(kind: str) -> None:
    found = provider(f"{{kind: {kind}, api_keys: ['${{OPENAI_API_KEY}}']}}")
    assert found.keys == (ENVIRONMENT["OPENAI_API_KEY"],)
    assert ENVIRONMENT["OPENAI_API_KEY"] not in repr(found)


VERTEX = "kind: vertex, project: my-project, google: {metadata: true}"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (
            "europe-west1",
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/my-project/locations/europe-west1",
        ),
        ("eu", "https://aiplatform.eu.rep.googleapis.com/v1/projects/my-project/locations/eu"),
        ("global", "https://aiplatform.googleapis.com/v1/projects/my-project/locations/global"),
    ],
)
def test_vertex_is_reached_by_project_and_location(location: str, url: str) -> None:
    found = provider(f"{{{VERTEX}, location: {location}}}")
    assert (found.url, found.keys) == (url, (None,))
    assert found.google is not None
    assert found.google.url.startswith("http://169.254.169.254/computeMetadata/")
    assert found.spoken_by("claude-sonnet-4-5@20250929") == ("anthropic_messages",)
    assert found.spoken_by("gemini-2.5-flash") == ("gemini",)
    assert found.spoken_by("mistral-large") == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kind: vertex, project: p, location: l", "google: is missing"),
        (VERTEX, "location: is missing"),
        ("kind: vertex, location: l, google: {metadata: true}", "project: is missing"),
        (f"{VERTEX}, location: ../x", "location: is not one"),
        (f"{VERTEX}, location: l, api_key: '${{OPENAI_API_KEY}}'", "api_key: is not for `vertex`"),
        ("kind: vertex, project: p, location: l, google: {}", "google: shows nobody who this is"),
        ("kind: vertex, project: p, location: l, google: {service_account: in-the-file}", "must not stand in the"),
        (
            "kind: vertex, project: p, location: l, google: {service_account: '${OPENAI_API_KEY}'}",
            "service_account: is not the key of a service account",
        ),
        (
            "kind: vertex, project: p, location: l, google: {metadata: true, service_account: '${OPENAI_API_KEY}'}",
            "metadata: does not go with `service_account`",
        ),
        ("kind: openai, api_key: '${OPENAI_API_KEY}', project: p", "project: is only for `vertex`"),
    ],
)
def test_what_vertex_lacks_is_told(given: str, said: str) -> None:
    found = faults(written(f"{{{given}}}"))
    assert any(said in fault for fault in found), found
