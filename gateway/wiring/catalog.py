"""From the settings to the values of the core: models, principals, limits, keys, rules. Amounts and windows as they are
written in the file become what counters, prices and conditions work with."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.core.attribution import OPENER
from gateway.core.balancing import Balance
from gateway.core.breaker import BreakerRules
from gateway.core.catalog import Catalog, Deployment, EstimateRules, Model
from gateway.core.condition import compile_condition
from gateway.core.idempotency import ReplayRules
from gateway.core.identity import (
    ABSENT,
    Attributes,
    Directory,
    KeyLimit,
    KeyState,
    VirtualKey,
)
from gateway.core.limit import Action, Limit, Mode, Unit
from gateway.core.loop import Answer, Detector, LoopAction, LoopRules
from gateway.core.loop import Rung as LoopRung
from gateway.core.response_cache import CacheRules, SharedBy
from gateway.core.routing import Route
from gateway.core.session import SessionRules
from gateway.core.upstream import Timeouts
from gateway.core.upstream_health import HealthRules
from gateway.core.window import parse
from gateway.core.wire import vertex
from gateway.settings.actions import action_parts
from gateway.settings.limits import Limit as LimitSetting
from gateway.settings.principals import Key as KeySetting
from gateway.settings.principals import Principal
from gateway.settings.providers import Model as ModelSetting
from gateway.settings.providers import ModelCache
from gateway.settings.root import Settings
from gateway.settings.routes import Route as RouteSetting
from gateway.settings.runs import Loops

OWN_NAME = "comptroller"
"""The name under which our snippets have clients list this gateway among their MCP servers."""

_HIDDEN_REASONING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "openai": ("o1", "o3", "o4", "gpt-5", "gpt-6"),
        "gemini": ("gemini-",),
        "vertex": ("gemini-",),
        "bedrock": ("openai.", "us.openai.", "global.openai."),
    }
)
"""Beginnings of the names of models that think without showing all of it, by kind of provider."""
_SHOWS_ALL = ("gemini-1", "gemini-2.0")
_NO_WINDOW = parse("total")


def catalog_of(settings: Settings, revision: int) -> Catalog:
    """Everything that the operator configured for the data plane."""
    estimates, timeouts = settings.estimates, settings.timeouts
    return Catalog(
        models={alias: _model(settings, alias, model) for alias, model in settings.models.items()},
        directory=_directory(settings),
        limits=(*(_limit(limit) for limit in settings.limits), _new_sessions(settings)),
        sessions=SessionRules(
            settings.sessions.idle_timeout_s,
            settings.sessions.wall_time_s,
            settings.sessions.max_new_per_hour,
            settings.sessions.max_children,
            settings.sessions.max_depth,
            settings.sessions.fingerprint,
        ),
        loops=_loops(settings.loops),
        estimates=EstimateRules(
            estimates.min_useful_output,
            estimates.min_useful_output_hidden,
            estimates.slice_min,
            estimates.file_tokens,
            estimates.audio_tokens,
            estimates.search_tokens,
        ),
        timeouts=Timeouts(timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, timeouts.total_s),
        strip_denied_tools=settings.tools.denied_declared == "strip",
        own_server_names=frozenset({OWN_NAME}),
        tool_prices={name: server.price_usd_micros_per_call for name, server in settings.mcp.servers.items()},
        revision=revision,
        routes=tuple(_route(route) for route in settings.routes),
        cache_bytes_max=settings.sizes.cache_max,
    )


def replay_rules(settings: Settings) -> ReplayRules:
    kept = settings.idempotency
    return ReplayRules(int(kept.kept_for_s * 1_000_000), kept.memory_max, kept.reply_max)


def health_rules(settings: Settings) -> HealthRules:
    breaker, retries = settings.upstream.breaker, settings.upstream.retries
    pauses = round(breaker.pause_s * 1_000_000), round(breaker.pause_max_s * 1_000_000)
    return HealthRules(BreakerRules(breaker.failures, *pauses), retries.percent, retries.again)


def declared_keys(settings: Settings, digest_of: Callable[[str], str], now_us: int) -> list[VirtualKey]:
    """The file's keys. Their id is made from the name, so that a new secret is a rotation of the same key."""
    return [_key(key, digest_of, now_us) for key in settings.keys]


def key_limits(keys: Iterable[VirtualKey]) -> Mapping[str, tuple[Limit, ...]]:
    """The limits that narrow single keys, by key id."""
    return {key.id: tuple(_key_limit(key, limit) for limit in key.limits) for key in keys if key.limits}


def _loops(loops: Loops) -> LoopRules:
    own = {
        Detector(name): value for name in type(loops.actions).model_fields if (value := getattr(loops.actions, name))
    }
    return LoopRules(
        **{detector.value: getattr(loops, detector.value) or 0 for detector in Detector},
        spend_velocity_from_usd_micros=loops.spend_velocity_from_usd_micros,
        action=_loop_answer(loops.action),
        actions={detector: _loop_answer(action) for detector, action in own.items()},
        ladder=tuple(LoopRung(rung.percent, _loop_answer(rung.action)) for rung in loops.ladder),
    )


def _loop_answer(action: str) -> Answer:
    word, model = action_parts(action)
    return Answer(LoopAction(word), model)


def _model(settings: Settings, alias: str, model: ModelSetting) -> Model:
    targets = model.targets(alias)
    placed = model.deployments or (None,)
    hidden = model.hidden_reasoning
    if hidden is None:
        hidden = any(
            name.startswith(_HIDDEN_REASONING.get(settings.providers[provider].kind, ()))
            and not name.startswith(_SHOWS_ALL)
            for provider, name in targets
        )
    deployments = [
        Deployment(
            provider,
            name,
            settings.providers[provider].output_cap_field,
            settings.providers[provider].include_usage,
            settings.providers[provider].spoken_by(name),
            *((0, 1) if place is None else (place.priority, place.weight)),
            vertex.placed if settings.providers[provider].kind == "vertex" else None,
        )
        for (provider, name), place in zip(targets, placed, strict=True)
    ]
    return Model(
        alias=alias,
        deployments=tuple(sorted(deployments, key=lambda each: each.priority)),
        tier=model.tier or ABSENT,
        output_tokens_max=model.max_output_tokens,
        image_tokens_max=model.image_tokens_max,
        token_factor=None if model.token_factor is None else float(model.token_factor),
        hidden_reasoning=hidden,
        balance=Balance(model.balance),
        cache=None if model.cache is None else _cache(model.cache),
    )


def _cache(cache: ModelCache) -> CacheRules:
    return CacheRules(int(cache.kept_for_s * 1_000_000), SharedBy(cache.shared_by))


def _directory(settings: Settings) -> Directory:
    kinds: Mapping[str, Mapping[str, Principal]] = {
        "team": settings.teams,
        "user": settings.users,
        "app": settings.apps,
        "service": settings.services,
        "agent": settings.agents,
    }
    return Directory({kind: {name: _attributes(each) for name, each in named.items()} for kind, named in kinds.items()})


def _attributes(principal: Principal) -> Attributes:
    return Attributes(
        environment=getattr(principal, "environment", None) or ABSENT,
        cost_center=principal.cost_center or ABSENT,
        groups=tuple(getattr(principal, "groups", ())),
        leads=tuple(getattr(principal, "leads", ())),
        labels=dict(principal.labels),
    )


def _limit(limit: LimitSetting) -> Limit:
    window = limit.effective_window
    word, route_to = action_parts(limit.action)
    return Limit(
        name=limit.name,
        unit=Unit(limit.unit),
        amount=limit.amount,
        window=_NO_WINDOW if window is None else parse(window),
        each=limit.each,
        where=limit.selectors,
        timezone=ZoneInfo(limit.timezone or "UTC"),
        action=Action(word),
        mode=Mode(limit.mode),
        overrides=limit.override_amounts,
        burst=limit.burst,
        route_to=route_to,
        reserved=tuple(limit.reserved.items()),
        alert_at=tuple(sorted(set(limit.alert_at))),
    )


def _route(route: RouteSetting) -> Route:
    return Route(route.name, route.models, route.to, None if route.when is None else compile_condition(route.when))


def _new_sessions(settings: Settings) -> Limit:
    return Limit(
        "sessions.max_new_per_hour", Unit.SESSIONS, settings.sessions.max_new_per_hour, parse("1h"), each=OPENER
    )


def _key_limit(key: VirtualKey, limit: KeyLimit) -> Limit:
    return Limit(
        name=f"key-{key.name}-{limit.unit}-{limit.window}",
        unit=Unit(limit.unit),
        amount=limit.amount,
        window=_NO_WINDOW if limit.unit == Unit.CONCURRENT else parse(limit.window),
        each="session" if limit.window == "session" else None,
        where=(("key", key.name),),
    )


def _key(key: KeySetting, digest_of: Callable[[str], str], now_us: int) -> VirtualKey:
    return VirtualKey(
        id=f"key_{key.name}",
        name=key.name,
        digest=digest_of(key.secret.reveal()),
        user=key.user or ABSENT,
        team=key.team or ABSENT,
        app=key.app or ABSENT,
        service=key.service or ABSENT,
        agent=key.agent or ABSENT,
        models=None if key.models is None else tuple(key.models),
        tools=None if key.tools is None else tuple(key.tools),
        limits=tuple(KeyLimit(limit.unit, limit.amount, limit.window or "total") for limit in key.limits),
        expires_at_us=key.expires_at_us,
        state=KeyState.ACTIVE if key.enabled else KeyState.DISABLED,
        may_assert_user=key.may_assert_user,
        origin="file",
        created_at_us=now_us,
    )
