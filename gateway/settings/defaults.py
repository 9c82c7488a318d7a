"""The configuration of a start without a file (rule 35): what the environment has a key for, and safe budgets."""

from collections.abc import Mapping, Sequence
from typing import Literal

from gateway.settings.findings import Finding
from gateway.settings.limits import Limit
from gateway.settings.loader import Loaded
from gateway.settings.providers import Model, Price, Provider
from gateway.settings.root import Settings
from gateway.settings.secret import Secret
from gateway.settings.server import Admin

LOCAL_USER = "local"
SESSION_TOKENS = 2_000_000
SESSION_USD_MICROS = 5_000_000
USER_DAY_USD_MICROS = 20_000_000

_ADMIN_VARIABLE = "COMPTROLLER_ADMIN_TOKEN"
_HOSTED: tuple[tuple[Literal["openai", "anthropic", "gemini"], str], ...] = (
    ("openai", "OPENAI_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("gemini", "GEMINI_API_KEY"),
)
"""Provider kinds that a key in the environment is enough for; each provider is named as its kind."""
_NEEDS_A_FILE = (
    ("AWS_ACCESS_KEY_ID", "Bedrock needs its region and models"),
    ("AWS_BEARER_TOKEN_BEDROCK", "Bedrock needs its region and models"),
    ("AZURE_OPENAI_API_KEY", "Azure OpenAI needs its address and deployments"),
)
"""Which models an account may use where, nothing in the environment tells."""
_SIMULATED = (
    ("sim-small", 100_000, 400_000),
    ("sim-large", 3_000_000, 15_000_000),
)
"""Model, pico-USD a token of input and of output: prices of the size that small and large models have."""


def defaults(environment: Mapping[str, str], offered: Mapping[str, Sequence[str]]) -> Loaded:
    """`offered` has the models of each kind of provider that the environment may hold a key for; the caller picks ones
    that have a price."""
    warnings = [
        Finding(("providers",), 0, 0, f"`{name}` is set, but {what} in a configuration file", "it is left alone")
        for name, what in _NEEDS_A_FILE
        if environment.get(name)
    ]
    providers, models = _hosted(environment, offered)
    if not providers:
        providers, models = _simulated()
    token = environment.get(_ADMIN_VARIABLE)
    settings = Settings(
        admin=Admin(token=Secret(token) if token else None),
        providers=providers,
        models=models,
        limits=(
            Limit(name="session-tokens", each="session", tokens=SESSION_TOKENS),
            Limit(name="session-money", each="session", usd_micros=SESSION_USD_MICROS),
            Limit(name="user-day", each="user", usd_micros=USER_DAY_USD_MICROS, window="day"),
        ),
    )
    return Loaded(settings, tuple(warnings))


def _hosted(
    environment: Mapping[str, str], offered: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Provider], dict[str, Model]]:
    providers: dict[str, Provider] = {}
    models: dict[str, Model] = {}
    for kind, variable in _HOSTED:
        if environment.get(variable):
            providers[kind] = Provider(kind=kind, api_key=Secret(environment[variable]))
            models |= {name: Model(provider=kind) for name in offered[kind]}
    return providers, models


def _simulated() -> tuple[dict[str, Provider], dict[str, Model]]:
    models = {
        name: Model(
            provider="sim",
            price=(Price(input_picos_per_token=input_rate, output_picos_per_token=output_rate),),
            max_output_tokens=16_384,
        )
        for name, input_rate, output_rate in _SIMULATED
    }
    return {"sim": Provider(kind="simulated")}, models
