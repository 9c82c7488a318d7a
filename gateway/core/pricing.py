"""What a call costs, and the most that it can cost, in integers (SEMANTICS.md rule 6).

Rates are pico-USD a token. Each meter is rounded half up to a micro-USD once; a cost is the sum of its meters and no
more. Input beyond a long-context threshold reprices the whole call. A bound is never below any cost that it bounds.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gateway.core.media import NO_MEDIA, NO_MEDIA_RATES, Media, MediaRates
from gateway.core.money import PICOS_PER_MICRO, picos_to_micros
from gateway.core.usage import Usage
from gateway.core.value import value

_HALF_A_MICRO_PICOS = PICOS_PER_MICRO // 2


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Pico-USD a token. What a price list does not tell apart has the rate of plain input or output."""

    input_picos: int
    cached_input_picos: int
    cache_write_picos: int
    output_picos: int
    audio_input_picos: int
    audio_output_picos: int
    cache_write_long_picos: int | None = None
    """Of writes that are kept for an hour; None = one meter with the other writes."""
    cached_audio_picos: int | None = None
    """Of cache reads that are sound; None = one meter with the other reads."""

    def __post_init__(self) -> None:
        if min(self.of_input() + self.of_output()) < 0:
            raise ValueError("a rate cannot be negative")

    def of_input(self, *, sound: bool = True) -> tuple[int, ...]:
        """Of one meter each; `sound=False` leaves out those that only sound can have."""
        long = () if self.cache_write_long_picos is None else (self.cache_write_long_picos,)
        return (
            *(self.input_picos, self.cached_input_picos, self.cache_write_picos, *long),
            *((self.cached_audio_picos or 0, self.audio_input_picos) if sound else ()),
        )

    @property
    def sound_picos(self) -> int:
        """The dearest of an input token that is sound."""
        return max(self.audio_input_picos, self.cached_audio_picos or 0)

    def of_output(self) -> tuple[int, ...]:
        return (self.output_picos, self.audio_output_picos)


@dataclass(frozen=True, slots=True)
class LongContext:
    """The rates of a whole call whose input is more than this many tokens."""

    above_input_tokens: int
    rates: TokenRates


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rates of one service tier: the usual ones, and those of long calls by rising threshold."""

    usual: TokenRates
    long_context: tuple[LongContext, ...] = ()

    def __post_init__(self) -> None:
        thresholds = [tier.above_input_tokens for tier in self.long_context]
        if thresholds != sorted(set(thresholds)):
            raise ValueError("long-context thresholds must rise")

    def at(self, input_tokens: int) -> TokenRates:
        rates = self.usual
        for tier in self.long_context:
            if input_tokens > tier.above_input_tokens:
                rates = tier.rates
        return rates

    def within(self, input_tokens_max: int) -> Iterable[TokenRates]:
        """All rates that some call of at most this many input tokens can have."""
        return [self.usual, *(tier.rates for tier in self.long_context if input_tokens_max > tier.above_input_tokens)]


@dataclass(frozen=True, slots=True)
class ServiceTier:
    """What a provider calls `flex`, `priority`, `fast` ...: the same model at other rates."""

    name: str
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of one model at one provider at one time. `source` says where they come from, for audit and people."""

    standard: Schedule
    service_tiers: tuple[ServiceTier, ...] = ()
    request_fee_usd_micros: int = 0
    source: str = ""
    media: MediaRates = NO_MEDIA_RATES

    def __post_init__(self) -> None:
        if self.request_fee_usd_micros < 0:
            raise ValueError("a fee cannot be negative")

    def schedule(self, service_tier: str | None) -> Schedule:
        """`default`, `auto` and tiers that the price list does not know are the standard one."""
        for tier in self.service_tiers:
            if tier.name == service_tier:
                return tier.schedule
        return self.standard

    def schedules(self, service_tiers: Collection[str] | None) -> Iterable[Schedule]:
        """Those that a call limited to these service tiers can be billed by; None is a call that is not limited."""
        if service_tiers is None:
            return [self.standard, *(tier.schedule for tier in self.service_tiers)]
        return [self.standard, *(self.schedule(name) for name in service_tiers)]


@value
class CostLine:
    """One meter of a call. `quantity` is in tokens, or 1 for a fee; `rate_picos` is per unit of it."""

    meter: str
    quantity: int
    rate_picos: int
    cost_usd_micros: int


@value
class Cost:
    """The lines of a call in a fixed order, without those of quantity 0."""

    lines: tuple[CostLine, ...]

    @property
    def total_usd_micros(self) -> int:
        return sum(line.cost_usd_micros for line in self.lines)


def flat_rates(
    input_picos: int,
    output_picos: int,
    *,
    cached_input_picos: int | None = None,
    cache_write_picos: int | None = None,
    cache_write_long_picos: int | None = None,
    cached_audio_picos: int | None = None,
    audio_input_picos: int | None = None,
    audio_output_picos: int | None = None,
    request_fee_usd_micros: int = 0,
    source: str = "",
    media: MediaRates = NO_MEDIA_RATES,
) -> Rates:
    """Rates without tiers, as an operator writes them; what is left out costs what plain input or output costs."""
    usual = TokenRates(
        input_picos=input_picos,
        cached_input_picos=input_picos if cached_input_picos is None else cached_input_picos,
        cache_write_picos=input_picos if cache_write_picos is None else cache_write_picos,
        output_picos=output_picos,
        audio_input_picos=input_picos if audio_input_picos is None else audio_input_picos,
        audio_output_picos=output_picos if audio_output_picos is None else audio_output_picos,
        cache_write_long_picos=cache_write_long_picos,
        cached_audio_picos=cached_audio_picos,
    )
    return Rates(Schedule(usual), request_fee_usd_micros=request_fee_usd_micros, source=source, media=media)


def cost(usage: Usage, rates: Rates, service_tier: str | None = None, media: Media = NO_MEDIA) -> Cost:
    """What this usage costs. `service_tier` is what the reply says it was served by. Reasoning is priced as output, the
    output of a call for images as images."""
    at = rates.schedule(service_tier).at(usage.input_tokens)
    pictures, of_images = _pictures(usage, rates, media)
    output_picos = at.output_picos if of_images is None else of_images
    apart = pictures + usage.cached_input_tokens + usage.cache_write_tokens + usage.audio_input_tokens
    long = 0 if at.cache_write_long_picos is None else usage.cache_write_long_tokens
    cached_audio = 0 if at.cached_audio_picos is None else usage.cached_audio_tokens
    metered = (
        ("input", usage.input_tokens - apart, at.input_picos),
        ("cached_input", usage.cached_input_tokens - cached_audio, at.cached_input_picos),
        ("cached_audio_input", cached_audio, at.cached_audio_picos or 0),
        ("cache_write", usage.cache_write_tokens - long, at.cache_write_picos),
        ("cache_write_1h", long, at.cache_write_long_picos or 0),
        ("audio_input", usage.audio_input_tokens, at.audio_input_picos),
        ("image_input", pictures, rates.media.image_input_picos or 0),
        ("output", usage.output_tokens - usage.audio_output_tokens, output_picos),
        ("audio_output", usage.audio_output_tokens, at.audio_output_picos),
    )
    lines = [
        CostLine(meter, tokens, picos, picos_to_micros(tokens * picos)) for meter, tokens, picos in metered if tokens
    ]
    lines += [CostLine(*line) for line in rates.media.lines(media)]
    if rates.request_fee_usd_micros:
        fee = rates.request_fee_usd_micros
        lines.append(CostLine("request", 1, fee * PICOS_PER_MICRO, fee))
    return Cost(tuple(lines))


def _pictures(usage: Usage, rates: Rates, media: Media) -> tuple[int, int | None]:
    """Input tokens that have the rate of images, and the rate of output tokens where those are images."""
    priced = rates.media
    apart = usage.cached_input_tokens + usage.cache_write_tokens + usage.audio_input_tokens
    pictures = 0 if priced.image_input_picos is None else min(media.image_tokens, usage.input_tokens - apart)
    return pictures, priced.image_output_picos if media.images else None


def bound(
    input_tokens_max: int,
    output_tokens_max: int,
    rates: Rates,
    *,
    service_tiers: Collection[str] | None = None,
    audio: bool = True,
) -> int:
    """The most, in micro-USD, that a call of at most so many tokens can cost by these rates.

    `service_tiers`: those the request can be served by besides the standard one; None means any. `audio=False` is only
    for a request that neither holds nor asks for audio, whose rates are then left out.
    """
    dearest = 0
    for schedule in rates.schedules(service_tiers):
        for at in schedule.within(input_tokens_max):
            of_input = at.of_input(sound=audio)
            of_output = at.of_output() if audio else at.of_output()[:-1]
            picos = _most(input_tokens_max, of_input) + _most(output_tokens_max, of_output)
            dearest = max(dearest, picos // PICOS_PER_MICRO)
    return dearest + rates.request_fee_usd_micros


def _most(tokens_max: int, rates_picos: tuple[int, ...]) -> int:
    """All tokens at the dearest rate, and half a micro for each meter that may be rounded up beside the others."""
    meters = min(tokens_max, sum(1 for picos in rates_picos if picos))
    return tokens_max * max(rates_picos) + meters * _HALF_A_MICRO_PICOS
