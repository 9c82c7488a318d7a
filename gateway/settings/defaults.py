"""The configuration of a start without a file (rule 35): what the environment has a key for, and safe budgets."""

from collections.abc import Mapping, Sequence

from gateway.settings.findings import Finding
from gateway.settings.limits import Limit
from gateway.settings.loader import Loaded
from gateway.settings.providers import Model, Price, Provider
from gateway.settings.root import Settings
from gateway.settings.secret import Secret
from gateway.settings.server import Admin
from gateway.settings.unbuilt import PLANNED

LOCAL_USER = "local"
SESSION_TOKENS = 2_000_000
SESSION_USD_MICROS = 5_000_000
USER_DAY_USD_MICROS = 20_000_000

_ADMIN_VARIABLE = "COMPTROLLER_ADMIN_TOKEN"
_OPENAI_VARIABLE = "OPENAI_API_KEY"
_UNBUILT = (
    ("ANTHROPIC_API_KEY", "anthropic"),
    ("GEMINI_API_KEY", "gemini"),
    ("AZURE_OPENAI_API_KEY", "azure_openai"),
    ("AWS_ACCESS_KEY_ID", "bedrock"),
)
_SIMULATED = (
    ("sim-small", 100_000, 400_000),
    ("sim-large", 3_000_000, 15_000_000),
)
"""Model, pico-USD a token of input and of output: prices of the size that small and large models have."""


def defaults(environment: Mapping[str, str], openai_models: Sequence[str]) -> Loaded:
    """`openai_models` are offered if OPENAI_API_KEY is set; the caller picks ones that have a price."""
    warnings = [
        Finding(("providers",), 0, 0, f"`{name}` is set, but the provider kind `{kind}` {PLANNED}", "it is left alone")
        for name, kind in _UNBUILT
        if environment.get(name)
    ]
    providers, models = _openai(environment, openai_models) if environment.get(_OPENAI_VARIABLE) else _simulated()
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


def _openai(environment: Mapping[str, str], names: Sequence[str]) -> tuple[dict[str, Provider], dict[str, Model]]:
    provider = Provider(kind="openai", api_key=Secret(environment[_OPENAI_VARIABLE]))
    return {"openai": provider}, {name: Model(provider="openai") for name in names}


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
