"""The price of a deployment: the model's own, then overrides by either name, then the pinned list, then what the
operator says about unknown prices (port `Prices`)."""

from collections.abc import Mapping
from datetime import UTC, datetime

from gateway.core.catalog import Deployment, PricedRates
from gateway.core.media import MediaRates
from gateway.core.money import PICOS_PER_MICRO
from gateway.core.pricing import Rates, flat_rates
from gateway.pricing.price_book import PriceBook, PriceOverride
from gateway.settings.providers import Price
from gateway.settings.providers import Rates as RatesSetting
from gateway.settings.root import Settings

_SECOND_US = 1_000_000
_SECONDS_A_MINUTE = 60


class DeploymentPrices:
    """Prices of one configuration; a reload makes a new one."""

    def __init__(self, settings: Settings) -> None:
        overrides = dict(settings.prices.overrides)
        self._own = PriceBook(
            [
                *(o for alias, model in settings.models.items() for o in _overrides(f"model {alias}", model.price)),
                *(o for name, prices in overrides.items() for o in _overrides(f"name {name}", prices)),
            ]
        )
        self._named = frozenset(overrides)
        self._priced = frozenset(alias for alias, model in settings.models.items() if model.price)
        self._listed = PriceBook()
        self._providers = {name: (p.kind, p.url) for name, p in settings.providers.items()}
        estimate = settings.prices.unknown.estimate
        self._unknown = None if estimate is None else PricedRates(_flat(estimate, "estimate"), stated=True)
        # What held in this second, by model and deployment: prices change at whole seconds.
        self._recent: dict[tuple[str, str, str], tuple[int, PricedRates | None]] = {}

    def rates_for(self, model: str, deployment: Deployment, at_us: int) -> PricedRates | None:
        """None = unknown and to be denied."""
        at, second = (model, deployment.provider, deployment.upstream_model), at_us // _SECOND_US
        recent = self._recent.get(at)
        if recent is not None and recent[0] == second:
            return recent[1]
        rates = self._rates(model, deployment, at_us)
        kept = None if recent is None else recent[1]
        if rates is None:
            kept = self._unknown
        elif kept is None or kept.rates is not rates:
            kept = PricedRates(rates)
        self._recent[at] = second, kept
        return kept

    def _rates(self, model: str, deployment: Deployment, at_us: int) -> Rates | None:
        if model in self._priced and (rates := self._own.rates_for("", None, f"model {model}", at_us)) is not None:
            return rates
        for name in (model, deployment.upstream_model):
            if name in self._named and (rates := self._own.rates_for("", None, f"name {name}", at_us)) is not None:
                return rates
        kind, url = self._providers[deployment.provider]
        return self._listed.rates_for(kind, url, deployment.upstream_model, at_us)


def _overrides(name: str, prices: tuple[Price, ...]) -> list[PriceOverride]:
    return [PriceOverride(name, _flat(price, "override"), _start_us(price)) for price in prices]


def _flat(rates: RatesSetting, source: str) -> Rates:
    minute = rates.audio_usd_micros_per_minute
    return flat_rates(
        rates.input_picos_per_token,
        rates.output_picos_per_token,
        cached_input_picos=rates.cached_input_picos_per_token,
        cache_write_picos=rates.cache_write_picos_per_token,
        cache_write_long_picos=rates.cache_write_1h_picos_per_token,
        cached_audio_picos=rates.cached_audio_input_picos_per_token,
        audio_input_picos=rates.audio_input_picos_per_token,
        audio_output_picos=rates.audio_output_picos_per_token,
        source=source,
        media=MediaRates(
            image_usd_micros=rates.image_usd_micros,
            image_kinds=tuple(rates.image_kinds_usd_micros.items()),
            second_picos=None if minute is None else minute * PICOS_PER_MICRO // _SECONDS_A_MINUTE,
            character_picos=rates.picos_per_character,
            image_input_picos=rates.image_input_picos_per_token,
            image_output_picos=rates.image_output_picos_per_token,
            web_search_usd_micros=rates.web_search_usd_micros,
            file_search_usd_micros=rates.file_search_usd_micros,
        ),
    )


def _start_us(price: Price) -> int:
    if price.from_date is None:
        return 0
    start = datetime(price.from_date.year, price.from_date.month, price.from_date.day, tzinfo=UTC)
    return int(start.timestamp()) * _SECOND_US


def known_models(names: Mapping[str, str]) -> list[str]:
    """Those of provider -> model names that the pinned list has a price for now."""
    book = PriceBook()
    now_us = int(datetime.now(UTC).timestamp()) * _SECOND_US
    return [name for name in names if book.rates_for(names[name], None, name, now_us) is not None]
