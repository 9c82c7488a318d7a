"""What calls are billed by beside tokens: images, sound and searches, their prices, and what they cost.

Money in micro-USD, rates in pico-USD a unit. A model is billed by its unit or by tokens; one that has a price for the
unit of a call is billed by that unit for it.
"""

from typing import NamedTuple

from gateway.core.money import PICOS_PER_MICRO, picos_to_micros, picos_to_micros_up

_TENTHS = 10


class Media(NamedTuple):
    """Quantities of one call, or the most that they can be. `image` says which images: `<quality>/<size>`, as far as
    known; `tenths` are tenths of a second of sound; `image_tokens` the part of its input tokens that are images;
    `sound_tokens` the part that may be sound; `sound_out`: its output is sound."""

    images: int = 0
    image: str = ""
    tenths: int = 0
    characters: int = 0
    image_tokens: int = 0
    sound_tokens: int = 0
    sound_out: bool = False
    web_searches: int = 0
    file_searches: int = 0


NO_MEDIA = Media()


class MediaRates(NamedTuple):
    """None = not billed by this unit. `image_kinds` are prices of single qualities, sizes, or both with a slash.
    Searches are a fee beside the tokens; `web_search_once` = however many there are, the call is billed for one."""

    image_usd_micros: int | None = None
    image_kinds: tuple[tuple[str, int], ...] = ()
    second_picos: int | None = None
    character_picos: int | None = None
    image_input_picos: int | None = None
    image_output_picos: int | None = None
    web_search_usd_micros: int | None = None
    web_search_once: bool = False
    file_search_usd_micros: int | None = None

    def lacks(self, media: Media) -> str:
        """The setting that would price searches which have no price here; "" = nothing is lacking."""
        if media.web_searches and self.web_search_usd_micros is None:
            return "web_search_usd"
        return "file_search_usd" if media.file_searches and self.file_search_usd_micros is None else ""

    @property
    def by_unit(self) -> bool:
        return any(each is not None for each in (self.image_usd_micros, self.second_picos, self.character_picos))

    def covers(self, media: Media) -> bool:
        """Whether such a call is billed by its unit, so that its tokens are not."""
        return (
            (media.images > 0 and self.image_usd_micros is not None)
            or (media.tenths > 0 and self.second_picos is not None)
            or (media.characters > 0 and self.character_picos is not None)
        )

    def image_price(self, image: str) -> int:
        """Of one image, in micro-USD: the price of quality and size together, of one of them, else the usual one. What
        the request leaves to the provider costs the dearest that it can be."""
        usual = self.image_usd_micros or 0
        kinds = dict(self.image_kinds)
        if image in kinds:
            return kinds[image]
        quality, _, size = image.partition("/")
        if "auto" in (quality, size):
            return max(usual, *kinds.values()) if kinds else usual
        named = [kinds[word] for word in (quality, size) if word in kinds]
        return max(named) if named else usual

    def lines(self, media: Media) -> list[tuple[str, int, int, int]]:
        """(meter, quantity, pico-USD a unit, micro-USD) of what is billed by unit. Sound is metered in tenths of a
        second."""
        found = []
        if media.images and self.image_usd_micros is not None:
            price = self.image_price(media.image)
            found.append(("images", media.images, price * PICOS_PER_MICRO, media.images * price))
        if media.tenths and self.second_picos is not None:
            cost = picos_to_micros(media.tenths * self.second_picos // _TENTHS)
            found.append(("audio_tenths", media.tenths, self.second_picos // _TENTHS, cost))
        if media.characters and self.character_picos is not None:
            cost = picos_to_micros(media.characters * self.character_picos)
            found.append(("characters", media.characters, self.character_picos, cost))
        return found + self._searches(media)

    def _searches(self, media: Media) -> list[tuple[str, int, int, int]]:
        web = min(media.web_searches, 1) if self.web_search_once else media.web_searches
        counted = (
            ("web_searches", web, self.web_search_usd_micros),
            ("file_searches", media.file_searches, self.file_search_usd_micros),
        )
        return [
            (meter, n, price * PICOS_PER_MICRO, n * price) for meter, n, price in counted if n and price is not None
        ]

    def bound(self, media: Media) -> int:
        """The most, in micro-USD, that so many units can cost."""
        return sum(cost + 1 for _, _, _, cost in self.lines(media))

    def dearer_input(self, media: Media, input_picos: int) -> int:
        """What image tokens can cost above plain input, in micro-USD, rounded up."""
        over = max(0, (self.image_input_picos or 0) - input_picos)
        return picos_to_micros_up(media.image_tokens * over)


NO_MEDIA_RATES = MediaRates()
