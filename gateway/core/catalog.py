"""What may be called: model aliases and the deployments behind them. Frozen; a reload makes a new one."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.identity import ABSENT, Directory
from gateway.core.limit import Limit
from gateway.core.loop import LoopRules
from gateway.core.pricing import Rates
from gateway.core.session import SessionRules
from gateway.core.upstream import Timeouts

OUTPUT_TOKENS_ASSUMED = 32_768
"""The output maximum of a model that declares none; it is sent upstream wherever a limit binds."""

IMAGE_TOKENS_ASSUMED = 3_000
"""Above the dearest image of the known vision models at full detail; `image_tokens_max` overrides it (rule 3)."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One concrete model at one provider. `cap_field` is the field that caps output there."""

    provider: str
    upstream_model: str
    cap_field: str
    ask_usage: bool


@dataclass(frozen=True, slots=True)
class Model:
    """A name that clients use. Deployments in the order in which they are tried."""

    alias: str
    deployments: tuple[Deployment, ...]
    tier: str = ABSENT
    output_tokens_max: int | None = None
    image_tokens_max: int | None = None
    token_factor: float | None = None
    hidden_reasoning: bool = False


@dataclass(frozen=True, slots=True)
class PricedRates:
    """Rates of a deployment; `stated` = the operator's estimate for an unknown price, so what is booked is marked."""

    rates: Rates
    stated: bool = False


@dataclass(frozen=True, slots=True)
class EstimateRules:
    """Operator settings of rules 3 and 4. None for `file_tokens`/`audio_tokens` = refuse where a metered limit binds."""

    min_useful_output: int = 256
    min_useful_output_hidden: int = 4096
    slice_min: int = 2048
    file_tokens: int | None = None
    audio_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that the operator configured for the data plane, swapped whole on reload."""

    models: Mapping[str, Model]
    directory: Directory
    limits: tuple[Limit, ...]
    sessions: SessionRules
    loops: LoopRules
    estimates: EstimateRules
    timeouts: Timeouts
    strip_denied_tools: bool
    own_server_names: frozenset[str]
    revision: int
