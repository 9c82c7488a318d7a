"""What one part of the file says about another: names that must exist or must differ, and words that match nothing."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from gateway.settings.findings import Flaw, SettingPath, suggestion
from gateway.settings.root import Settings
from gateway.settings.tree import Text, Value, keys_of, select, shown

Located = tuple[SettingPath, Flaw]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN_LENGTH_MIN = 20

_REFERENCES = (
    (("models", "*", "provider"), "providers"),
    (("models", "*", "deployments", "*", "provider"), "providers"),
    (("limits", "*", "provider"), "providers"),
    (("limits", "*", "model"), "models"),
    (("limits", "*", "action", "route_to"), "models"),
    (("routes", "*", "to"), "models"),
    (("routes", "*", "from"), "models"),
    (("routes", "*", "from", "*"), "models"),
    (("loops", "action", "route_to"), "models"),
    (("loops", "actions", "*", "route_to"), "models"),
    (("loops", "ladder", "*", "action", "route_to"), "models"),
)
_UNIQUE = (("limits", "*", "name"), ("keys", "*", "name"), ("routes", "*", "name"))


def cross_faults(root: dict[str, Value]) -> Iterator[Located]:
    """Works on the raw tree, so that a fault elsewhere hides none of these."""
    for pattern, section in _REFERENCES:
        known = keys_of(root, section)
        for path, value in select(root, pattern):
            if isinstance(value, Text) and value not in known:
                yield path, _undeclared(section.removesuffix("s"), value, known)
    for path, _ in select(root, ("capacity", "providers", "*")):
        if path[-1] not in keys_of(root, "providers"):
            yield path, _undeclared("provider", Text(str(path[-1])), keys_of(root, "providers"))
    yield from _narrowed_models(root)
    yield from _tiers(root)
    for pattern in _UNIQUE:
        yield from _repeated(root, pattern)


def _undeclared(what: str, name: Text, known: Iterable[str]) -> Flaw:
    return Flaw(
        f"there is no {what} {shown(name)}", suggestion(name, known, otherwise="declared") or "none is declared"
    )


def _narrowed_models(root: dict[str, Value]) -> Iterator[Located]:
    known = keys_of(root, "models")
    for path, value in select(root, ("keys", "*", "models", "*")):
        if not isinstance(value, Text):
            continue
        prefix = value[:-1] if value.endswith("*") else None
        if value not in known and not (prefix is not None and any(name.startswith(prefix) for name in known)):
            yield path, _undeclared("model", value, known)


def _tiers(root: dict[str, Value]) -> Iterator[Located]:
    tiers = [value for _, value in select(root, ("models", "*", "tier")) if isinstance(value, Text)]
    for path, value in select(root, ("limits", "*", "model_tier")):
        if isinstance(value, Text) and value not in tiers:
            yield path, _undeclared("model with the tier", value, tiers)


def _repeated(root: dict[str, Value], pattern: SettingPath) -> Iterator[Located]:
    seen: dict[str, SettingPath] = {}
    for path, value in select(root, pattern):
        if not isinstance(value, Text):
            continue
        if value in seen:
            yield path, Flaw(f"the name {shown(value)} is taken", f"{pattern[0]}[{seen[value][1]}] has it")
        seen.setdefault(value, path)


def secret_faults(settings: Settings) -> Iterator[Located]:
    """Two keys with one secret could not be told apart."""
    seen: dict[str, int] = {}
    for index, key in enumerate(settings.keys):
        first = seen.setdefault(key.secret.reveal(), index)
        if first != index:
            yield ("keys", index, "secret"), Flaw(f"is the same key as that of `{settings.keys[first].name}`")


def cautions(settings: Settings) -> Iterator[Located]:
    """What is allowed, but hardly meant."""
    if not settings.models and not settings.mcp.servers:
        yield ("models",), Flaw("there are no models and no tool servers, so nothing can be called")
    if settings.telemetry.content_logging:
        yield ("telemetry", "content_logging"), Flaw("prompts and answers are written to the log")
    if settings.admin.token is not None and len(settings.admin.token.reveal()) < _TOKEN_LENGTH_MIN:
        hint = "`openssl rand -hex 32` makes a good one"
        yield ("admin", "token"), Flaw(f"is shorter than {_TOKEN_LENGTH_MIN} characters", hint)
    for name, provider in settings.providers.items():
        if provider.base_url and provider.keys != (None,) and _in_clear(provider.base_url):
            yield ("providers", name, "base_url"), Flaw("the key and all prompts travel unencrypted", "use https://")
    for name, server in settings.mcp.servers.items():
        if server.url and server.auth is not None and _in_clear(server.url):
            yield ("mcp", "servers", name, "url"), Flaw("the token and all calls travel unencrypted", "use https://")
    yield from _unused_prices(settings)
    yield from _selectors_without_match(settings)


def _in_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _unused_prices(settings: Settings) -> Iterator[Located]:
    used = set(settings.models)
    for alias, model in settings.models.items():
        used.update(upstream_model for _, upstream_model in model.targets(alias))
    for name in settings.prices.overrides:
        if name not in used:
            yield (
                ("prices", "overrides", name),
                Flaw("no model is called so", suggestion(name, used, otherwise="models")),
            )


def _selectors_without_match(settings: Settings) -> Iterator[Located]:
    """Attributes come from the file alone, so a value that nobody declares never matches."""
    programs = [*settings.apps.values(), *settings.services.values(), *settings.agents.values()]
    principals = [*programs, *settings.teams.values(), *settings.users.values()]
    declared: dict[str, set[str]] = {
        "environment": {program.environment for program in programs if program.environment},
        "cost_center": {principal.cost_center for principal in principals if principal.cost_center},
    }
    for principal in principals:
        for label, value in principal.labels.items():
            declared.setdefault(f"label:{label}", set()).add(value)
    for index, limit in enumerate(settings.limits):
        for kind, value in limit.selectors:
            known = declared.get(kind, set())
            if (kind in declared or kind.startswith("label:")) and value not in known:
                hint = suggestion(value, known, otherwise="declared") or "nothing declares one"
                yield ("limits", index, kind), Flaw(f"nobody has this {kind}, so the limit binds no call", hint)
