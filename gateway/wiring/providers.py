"""The providers that the settings name, each with its credential and the client that reaches it."""

from gateway.ports import Provider, Upstream
from gateway.settings import Finding, Loaded, Secret, SettingsError
from gateway.settings.providers import Provider as ProviderSetting
from gateway.upstream.provider import HttpProvider, credential_of
from gateway.upstream.simulated import SimulatedUpstream
from gateway.upstream.spread import SpreadProvider
from gateway.upstream.token_provider import TokenProvider
from gateway.upstream.token_source import TokenSource
from gateway.wiring.http_client import bedrock_kind, new_client
from gateway.wiring.system import SystemClock
from gateway.wiring.tokens import credential_faults, fetch_of, issued_for, takes_tokens


def refuse_missing_parts(loaded: Loaded) -> None:
    """Raises SettingsError for a provider that cannot be used."""
    if faults := provider_faults(loaded):
        raise SettingsError(faults)


def provider_faults(loaded: Loaded) -> list[Finding]:
    """Providers whose part is not installed or whose credential is none."""
    faults = list(credential_faults(loaded))
    for name, provider in loaded.settings.providers.items():
        if _signs(provider) and bedrock_kind() is None:
            text = "requests to Bedrock are signed by a part that is not installed"
            faults.append(loaded.finding(("providers", name, "kind"), text, "install `comptroller[bedrock]`"))
    for alias, model in loaded.settings.models.items():
        for at, name in model.targets(alias):
            if at in loaded.settings.providers and not loaded.settings.providers[at].spoken_by(name):
                text = f"`{name}` is not served from `{at}`: of Vertex AI, Claude, Gemini and Gemma are"
                hint = "name one of these, as Vertex AI calls it"
                faults.append(loaded.finding(("models", alias), text, hint))
    return faults


def providers_of(loaded: Loaded, upstreams: list[Upstream]) -> dict[str, Provider]:
    """The configured providers; clients that are made for them are added to `upstreams`, to be closed later."""
    shared: Upstream | None = None
    found: dict[str, Provider] = {}
    for name, provider in loaded.settings.providers.items():
        if provider.kind == "simulated":
            upstream: Upstream = SimulatedUpstream()
            upstreams.append(upstream)
        else:
            if shared is None:
                shared = new_client(loaded.settings.upstream.client)
                upstreams.append(shared)
            upstream = shared
        found[name] = _provider(loaded, name, provider, upstream)
    return found


def _provider(loaded: Loaded, name: str, provider: ProviderSetting, upstream: Upstream) -> Provider:
    headers = {header: value.reveal() for header, value in provider.headers.items()}
    url = provider.url or "http://simulated.invalid/v1"
    reply_max = loaded.settings.sizes.reply_max
    if takes_tokens(provider):
        clock = SystemClock()
        tokens = TokenSource(fetch_of(loaded, name, provider, upstream, clock), clock)
        return TokenProvider(name, url, headers, upstream, reply_max, tokens=tokens, secrets=issued_for(provider))
    if not _signs(provider):
        shown = [credential_of(provider.kind, key) for key in provider.keys]
        each = [HttpProvider(name, url, credential, headers, upstream, reply_max) for credential in shown]
        return each[0] if len(each) == 1 else SpreadProvider(each, SystemClock())
    signing = bedrock_kind()
    assert signing is not None, "what is not installed was refused before"
    access, secret = _revealed(provider.access_key_id), _revealed(provider.secret_access_key)
    keys = None if access is None or secret is None else (access, secret, _revealed(provider.session_token))
    return signing(name, url, headers, upstream, reply_max, region=provider.region or "", keys=keys)


def _signs(provider: ProviderSetting) -> bool:
    return provider.kind == "bedrock" and provider.keys == (None,)


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
