"""Providers that are shown tokens: how each asks for them, what is wrong with its credential, and a try of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.core.upstream import TokenUnavailable
from gateway.ports import Clock, Upstream
from gateway.settings import Finding, Loaded
from gateway.settings.google import Google
from gateway.settings.providers import Provider as ProviderSetting
from gateway.upstream.token_endpoint import TokenEndpoint
from gateway.upstream.token_source import Fetch
from gateway.wiring.http_client import entra_module, google_module, new_client, private_key_module
from gateway.wiring.system import SystemClock

_ENDS_SOON = timedelta(days=30)


class Tried(NamedTuple):
    """`url` is where tokens of the provider are asked for; `problem` None = one was given, for `lifetime_s`."""

    provider: str
    url: str
    problem: str | None
    lifetime_s: float = 0.0


def takes_tokens(provider: ProviderSetting) -> bool:
    return provider.entra is not None or provider.google is not None


def issued_for(provider: ProviderSetting) -> tuple[str, ...]:
    """The secrets that its tokens are asked for with."""
    entra, google = provider.entra, provider.google
    secrets = () if entra is None else (entra.client_secret, entra.certificate)
    shown = () if google is None else (google.private_key,)
    return (*(secret.reveal() for secret in secrets if secret is not None), *shown)


def token_url(provider: ProviderSetting) -> str:
    """Where tokens of a provider that takes them are asked for."""
    issuer = provider.entra or provider.google
    assert issuer is not None, "asked for providers that take tokens only"
    return issuer.url


def fetch_of(loaded: Loaded, name: str, provider: ProviderSetting, upstream: Upstream, clock: Clock) -> Fetch:
    """How tokens of this provider are asked for. What `credential_faults` finds was refused before."""
    endpoint = TokenEndpoint(name, token_url(provider), upstream, clock)
    if provider.google is not None:
        return _of_google(provider.google, endpoint, clock)
    entra = provider.entra
    assert entra is not None, "asked for providers that take tokens only"
    made = entra_module()
    fetch: Fetch
    if entra.managed_identity:
        fetch = made.by_managed_identity(entra.client_id, entra.scope, endpoint)
        return fetch
    app = made.Application(entra.url, entra.client_id, entra.scope)
    if entra.client_secret is not None:
        fetch = made.by_secret(app, entra.client_secret.reveal(), endpoint)
    elif entra.certificate is not None:
        fetch = made.by_certificate(app, made.certificate_of(entra.certificate.reveal()), endpoint, clock)
    else:
        fetch = made.by_federation(name, app, loaded.resolve(entra.token_file or ""), endpoint)
    return fetch


def _of_google(google: Google, endpoint: TokenEndpoint, clock: Clock) -> Fetch:
    made = google_module()
    fetch: Fetch
    if google.metadata:
        fetch = made.by_metadata(google.scope, endpoint)
        return fetch
    account = made.ServiceAccount(google.account, google.key_id, google.url, google.scope)
    fetch = made.by_service_account(account, private_key_module().private_key_of(google.private_key), endpoint, clock)
    return fetch


def credential_faults(loaded: Loaded) -> Iterator[Finding]:
    """Credentials that cannot be used, whatever anybody answers."""
    for name, provider in loaded.settings.providers.items():
        if provider.google is not None and not provider.google.metadata:
            try:
                private_key_module().private_key_of(provider.google.private_key)
            except ValueError as error:
                path = ("providers", name, "google", "service_account")
                yield loaded.finding(path, str(error), "make a new key for the account and put its file here")
        if provider.entra is None or provider.entra.certificate is None:
            continue
        path = ("providers", name, "entra", "certificate")
        try:
            certificate = entra_module().certificate_of(provider.entra.certificate.reveal())
        except ValueError as error:
            yield loaded.finding(
                path, str(error), "put the certificate and its RSA key into one file, without password"
            )
            continue
        if certificate.ends_at <= datetime.now(UTC):
            yield loaded.finding(path, f"ended on {certificate.ends_at:%Y-%m-%d}", "upload a new one and put it here")


def credential_cautions(loaded: Loaded) -> Iterator[Finding]:
    """What works now, or may work later."""
    for name, provider in loaded.settings.providers.items():
        entra = provider.entra
        if entra is not None and entra.token_file is not None and not loaded.resolve(entra.token_file).is_file():
            path = ("providers", name, "entra", "token_file")
            yield loaded.finding(path, "is not there now", "the platform must write it before calls are made")
        if entra is not None and entra.certificate is not None:
            path = ("providers", name, "entra", "certificate")
            ends_at = entra_module().certificate_of(entra.certificate.reveal()).ends_at
            if datetime.now(UTC) < ends_at < datetime.now(UTC) + _ENDS_SOON:
                yield loaded.finding(path, f"ends on {ends_at:%Y-%m-%d}", "upload its successor in time")


async def try_tokens(loaded: Loaded) -> list[Tried]:
    """Asks for one token for each provider that takes them."""
    tried: list[Tried] = []
    clock = SystemClock()
    upstream = new_client(loaded.settings.upstream.client)
    try:
        for name, provider in loaded.settings.providers.items():
            if not takes_tokens(provider):
                continue
            try:
                issued = await fetch_of(loaded, name, provider, upstream, clock)()
                tried.append(Tried(name, token_url(provider), None, issued.lifetime_s))
            except TokenUnavailable as error:
                tried.append(Tried(name, token_url(provider), str(error)))
    finally:
        await upstream.close()
    return tried
