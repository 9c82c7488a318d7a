"""Looks up the rates of a model: the operator's overrides first, then the genai-prices list that is installed.

Rules: nothing is fetched, ever (`UpdatePrices` is never started). A price is the one in force at the time of the call.
A model that no list knows has no rates, never zero ones. A look-up in the list is slow, so what it gave is kept.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.metadata import version

from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices, TimeOfDateConstraint

from gateway.core.media import MediaRates
from gateway.core.money import MICROS_PER_USD, PICOS_PER_MICRO, PICOS_PER_TOKEN_PER_USD_PER_MTOK
from gateway.core.pricing import LongContext, Rates, Schedule, ServiceTier, TokenRates

ENTRIES_MAX = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FOREVER_US = 2**63 - 1
_LIST_IDS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "azure_openai": "azure",
    "bedrock": "aws",
}
# How the list names the choices of a request that change its rates; batch processing is another API.
_SECONDS_PER_HOUR = 3600
_FREE = Schedule(TokenRates(0, 0, 0, 0, 0, 0))
_GROUNDED_BY_PROMPT = ("gemini-1", "gemini-2")
_TIER_CONTEXTS = ("service_tier", "speed")


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """The operator's price of a model, as the provider is asked for it, from a time on."""

    model: str
    rates: Rates
    effective_from_us: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was found out about a model and the time span, in microseconds, in which it holds."""

    rates: Rates | None
    from_us: int
    until_us: int


class PriceBook:
    """Rates by provider, model and time. Keeps the `entries_max` models that were asked for last."""

    def __init__(self, overrides: Iterable[PriceOverride] = (), *, entries_max: int = ENTRIES_MAX) -> None:
        self._snapshot = data_snapshot.get_snapshot()
        self._list_source = f"genai-prices {version('genai-prices')}"
        self._overrides: dict[str, list[PriceOverride]] = {}
        for override in sorted(overrides, key=lambda override: override.effective_from_us):
            self._overrides.setdefault(override.model, []).append(override)
        self._entries: OrderedDict[tuple[str, str, str], _Entry] = OrderedDict()
        self._entries_max = entries_max

    def rates_for(self, provider_kind: str, provider_base_url: str | None, model: str, at_us: int) -> Rates | None:
        """None: no price is known for this model at this time. `at_us` is the start of the call."""
        key = (provider_kind, provider_base_url or "", model)
        entry = self._entries.get(key)
        if entry is None or not entry.from_us <= at_us < entry.until_us:
            entry = self._look_up(provider_kind, provider_base_url, model, at_us)
            self._entries[key] = entry
            if len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        return entry.rates

    def _look_up(self, provider_kind: str, provider_base_url: str | None, model: str, at_us: int) -> _Entry:
        starts_us = [override.effective_from_us for override in self._overrides.get(model, ())]
        next_start_us = min((start_us for start_us in starts_us if start_us > at_us), default=_FOREVER_US)
        for override in reversed(self._overrides.get(model, ())):
            if override.effective_from_us <= at_us:
                rates = replace(override.rates, source="override")
                return _Entry(rates, override.effective_from_us, next_start_us)
        entry = self._listed(provider_kind, provider_base_url, model, at_us)
        return replace(entry, until_us=min(entry.until_us, next_start_us))

    def _listed(self, provider_kind: str, provider_base_url: str | None, model: str, at_us: int) -> _Entry:
        provider = self._provider(provider_kind, provider_base_url)
        found = provider.find_model(model, all_providers=self._snapshot.providers) if provider else None
        if provider is None or found is None:
            return _Entry(None, 0, _FOREVER_US)
        at = _EPOCH + timedelta(microseconds=at_us)
        begin, end = _price_span(found, at)
        rates = _rates(found, at, own=any(found is model for model in provider.models), source=self._list_source)
        return _Entry(rates, (begin - _EPOCH) // _MICROSECOND, (end - _EPOCH) // _MICROSECOND)

    def _provider(self, kind: str, base_url: str | None) -> Provider | None:
        """The host that is called decides; for a host unknown to the list, such as a relay, the kind does."""
        if base_url:
            try:
                return self._snapshot.find_provider(None, None, base_url)
            except LookupError:
                pass
        list_id = _LIST_IDS.get(kind)
        return self._snapshot.find_provider(None, list_id, None) if list_id else None


def _price_span(model: ModelInfo, at: datetime) -> tuple[datetime, datetime]:
    """The part of the UTC day round `at` in which no price of this model changes; prices start at midnight UTC."""
    midnight = datetime.combine(at.date(), time(), UTC)
    edges = [midnight, midnight + timedelta(days=1)]
    conditions = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    conditions += [variant.constraint for variant in model.price_variants or ()]
    for condition in conditions:
        if isinstance(condition, TimeOfDateConstraint):
            edges += [_on(at.date(), condition.start_time), _on(at.date(), condition.end_time)]
    return max(edge for edge in edges if edge <= at), min(edge for edge in edges if edge > at)


def _on(day: date, clock: time) -> datetime:
    """When it is this o'clock on this UTC day."""
    moment = datetime.combine(day, clock if clock.tzinfo else clock.replace(tzinfo=UTC)).astimezone(UTC)
    return datetime.combine(day, moment.timetz())


def _rates(model: ModelInfo, at: datetime, *, own: bool, source: str) -> Rates | None:
    """`own`: the list applies variants only to a provider's own models, not to those it borrows from another."""
    price = model.get_prices(at)
    standard = _schedule(price)
    if standard is None:
        return None
    contexts = [
        (key, value)
        for variant in (model.price_variants or () if own else ())
        for key, value in variant.when.items()
        if key in _TIER_CONTEXTS
    ]
    tiers = {value: _schedule(model.get_prices(at, {key: value})) for key, value in contexts}
    return Rates(
        standard,
        tuple(ServiceTier(name, schedule) for name, schedule in tiers.items() if schedule and schedule != standard),
        request_fee_usd_micros=_fee_micros(price),
        source=source,
        media=_media(price, model.id),
    )


def _media(price: ModelPrice, model: str = "") -> MediaRates:
    """Sound is listed by the hour, where input and output have names of their own the dearer counts. Google bills its
    models before Gemini 3 by the prompt that was grounded, later ones by the search."""
    hours = [each for each in (price.audio_hours, price.input_audio_hours) if each is not None]
    characters = price.input_mchars
    return MediaRates(
        second_picos=max([_picos(each, 0) for each in hours]) * PICOS_PER_MICRO // _SECONDS_PER_HOUR if hours else None,
        character_picos=None if characters is None else _picos(characters, 0),
        image_input_picos=None if price.input_image_mtok is None else _picos(price.input_image_mtok, 0),
        image_output_picos=None if price.output_image_mtok is None else _picos(price.output_image_mtok, 0),
        web_search_usd_micros=_each_micros(price.web_searches_kcount),
        web_search_once=model.startswith(_GROUNDED_BY_PROMPT),
        file_search_usd_micros=_each_micros(price.storage_searches_kcount),
    )


def _schedule(price: ModelPrice) -> Schedule | None:
    """None for what is not priced by the token nor by a unit of `gateway.core.media`."""
    if price.input_mtok is None:
        return _FREE if _media(price).by_unit else None
    thresholds = sorted({tier.start for value in vars(price).values() for tier in getattr(value, "tiers", ())})
    return Schedule(
        _token_rates(price, 0), tuple(LongContext(above, _token_rates(price, above + 1)) for above in thresholds)
    )


def _token_rates(price: ModelPrice, input_tokens: int) -> TokenRates:
    """What is not listed apart is priced as the plain input or output that it is part of."""

    def picos(listed: Decimal | TieredPrices | None, whole: int) -> int:
        return whole if listed is None else _picos(listed, input_tokens)

    plain_input = picos(price.input_mtok, 0)
    # Embedding models list no output and give none.
    plain_output = picos(price.output_mtok, 0)
    written = picos(price.cache_write_mtok, plain_input)
    return TokenRates(
        input_picos=plain_input,
        cached_input_picos=picos(price.cache_read_mtok, plain_input),
        cache_write_picos=written,
        output_picos=plain_output,
        audio_input_picos=picos(price.input_audio_mtok, plain_input),
        audio_output_picos=picos(price.output_audio_mtok, plain_output),
        cached_audio_picos=None if price.cache_audio_read_mtok is None else picos(price.cache_audio_read_mtok, 0),
        cache_write_long_picos=None if price.cache_write_1h_mtok is None else picos(price.cache_write_1h_mtok, written),
    )


def _picos(listed: Decimal | TieredPrices, input_tokens: int) -> int:
    """USD per million tokens to pico-USD a token. A few resellers list repeating decimals; those are rounded."""
    if isinstance(listed, TieredPrices):
        reached = [tier.price for tier in listed.tiers if input_tokens > tier.start]
        listed = reached[-1] if reached else listed.base
    return int((listed * PICOS_PER_TOKEN_PER_USD_PER_MTOK).to_integral_value(ROUND_HALF_EVEN))


def _fee_micros(price: ModelPrice) -> int:
    return _each_micros(price.requests_kcount) or 0


def _each_micros(fee: Decimal | TieredPrices | None) -> int | None:
    if fee is None:
        return None
    if isinstance(fee, TieredPrices):
        fee = max(fee.base, *(tier.price for tier in fee.tiers))
    # Listed in USD per thousand requests.
    return int((fee * (MICROS_PER_USD // 1_000)).to_integral_value(ROUND_HALF_EVEN))
