"""What may be called: model aliases and the deployments behind them. Frozen; a reload makes a new one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.balancing import Balance
from gateway.core.identity import ABSENT, Directory
from gateway.core.limit import Limit
from gateway.core.loop import LoopRules
from gateway.core.media import Media
from gateway.core.money import PICOS_PER_MICRO, picos_to_micros_up
from gateway.core.pricing import Rates, bound
from gateway.core.response_cache import CacheRules
from gateway.core.routing import Route
from gateway.core.session import SessionRules
from gateway.core.upstream import Timeouts
from gateway.core.usage import TOKENS_MAX

OUTPUT_TOKENS_ASSUMED = 32_768
"""The output maximum of a model that declares none; it is sent upstream wherever a limit binds."""

IMAGE_TOKENS_ASSUMED = 3_000
"""Above the dearest image of the known vision models at full detail; `image_tokens_max` overrides it (rule 3)."""


Placed = Callable[[str, str, Mapping[str, Any]], tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One concrete model at one provider. `cap_field` is the field that caps output there, `speaks` names the wire
    formats that it takes; `priority` and `weight` as of `gateway.core.balancing`; `placed` gives path and body where it
    takes a format elsewhere than that format's own provider does, from the quoted model, path and body there."""

    provider: str
    upstream_model: str
    cap_field: str
    ask_usage: bool
    speaks: tuple[str, ...] = ("openai_chat",)
    priority: int = 0
    weight: int = 1
    placed: Placed | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A name that clients use. Deployments by priority, then as written."""

    alias: str
    deployments: tuple[Deployment, ...]
    tier: str = ABSENT
    output_tokens_max: int | None = None
    image_tokens_max: int | None = None
    token_factor: float | None = None
    hidden_reasoning: bool = False
    balance: Balance = Balance.ORDER
    cache: CacheRules | None = None


@dataclass(frozen=True, slots=True)
class PricedRates:
    """Rates of a deployment; `stated` = the operator's estimate for an unknown price, so what is booked is marked."""

    rates: Rates
    stated: bool = False
    _dearest: dict[frozenset[str] | None, "Dearest"] = field(default_factory=dict, compare=False, repr=False)

    def prompt_bound(self, tokens: int, service_tiers: frozenset[str] | None) -> int:
        """The most that so many tokens of prompt can cost, in micro-USD."""
        known = self._known(service_tiers)
        if tokens > known.below_tokens:
            return bound(tokens, 0, self.rates, service_tiers=service_tiers, audio=False)
        picos = tokens * known.input_picos + min(tokens, known.input_meters) * (PICOS_PER_MICRO // 2)
        return picos // PICOS_PER_MICRO + self.rates.request_fee_usd_micros

    def output_picos(self, prompt_tokens: int, service_tiers: frozenset[str] | None) -> int:
        """The dearest rate of an output token that a request with such a prompt can trigger (rule 6)."""
        known = self._known(service_tiers)
        if prompt_tokens <= known.below_tokens:
            return known.output_picos
        schedules = self.rates.schedules(service_tiers)
        return max(at.output_picos for schedule in schedules for at in schedule.within(prompt_tokens))

    def media_bound(self, media: Media, prompt_tokens: int) -> int:
        """The most that searches, images and sound can cost beside what `prompt_bound` says, in micro-USD."""
        usual = self.rates.standard.usual
        dearer = self.rates.media.bound(media) + self.rates.media.dearer_input(media, usual.input_picos)
        if media.sound_tokens:
            sound = min(media.sound_tokens, prompt_tokens)
            dearer += 1 + picos_to_micros_up(sound * max(0, self._sound_picos() - usual.input_picos))
        return dearer

    def _sound_picos(self) -> int:
        """The dearest rate of an input token that is sound, at any tier and length."""
        return max(at.sound_picos for schedule in self.rates.schedules(None) for at in schedule.within(TOKENS_MAX))

    def media_output_picos(self, media: Media) -> int:
        """The rate of an output token that is sound or an image; 0 where the call has none."""
        sound = self.rates.standard.usual.audio_output_picos if media.sound_out else 0
        return max(sound, (self.rates.media.image_output_picos or 0) if media.images else 0)

    def _known(self, service_tiers: frozenset[str] | None) -> "Dearest":
        found = self._dearest.get(service_tiers)
        if found is None:
            found = self._dearest[service_tiers] = _dearest(self.rates, service_tiers)
        return found


@dataclass(frozen=True, slots=True)
class Dearest:
    """The dearest usual rates, for prompts that trigger no long-context rates (`below_tokens`)."""

    input_picos: int
    input_meters: int
    output_picos: int
    below_tokens: int


def _dearest(rates: Rates, service_tiers: frozenset[str] | None) -> Dearest:
    schedules = list(rates.schedules(service_tiers))
    inputs = [schedule.usual.of_input(sound=False) for schedule in schedules]
    thresholds = [tier.above_input_tokens for schedule in schedules for tier in schedule.long_context]
    return Dearest(
        max(max(each) for each in inputs),
        max(sum(1 for picos in each if picos) for each in inputs),
        max(schedule.usual.output_picos for schedule in schedules),
        min(thresholds, default=TOKENS_MAX),
    )


@dataclass(frozen=True, slots=True)
class EstimateRules:
    """Operator settings of rules 3 and 4; `file_tokens`, `audio_tokens` None = refuse where a metered limit binds."""

    min_useful_output: int = 256
    min_useful_output_hidden: int = 4096
    slice_min: int = 2048
    file_tokens: int | None = None
    audio_tokens: int | None = None
    search_tokens: int = 8_000


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that the operator configured for the data plane, swapped whole on reload.

    `tool_prices` holds micro-USD a call by MCP server; `cache_bytes_max` bounds the kept answers of all models.
    """

    models: Mapping[str, Model]
    directory: Directory
    limits: tuple[Limit, ...]
    sessions: SessionRules
    loops: LoopRules
    estimates: EstimateRules
    timeouts: Timeouts
    strip_denied_tools: bool
    own_server_names: frozenset[str]
    tool_prices: Mapping[str, int]
    revision: int
    routes: tuple[Route, ...] = ()
    cache_bytes_max: int = 0

    @property
    def cache_kept_us_max(self) -> int:
        """How long an answer is kept at most."""
        return max((model.cache.kept_for_us for model in self.models.values() if model.cache is not None), default=0)
