"""What images and sound cost: by unit, by tokens, and never more than the bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import PricedRates
from gateway.core.media import Media, MediaRates
from gateway.core.money import picos_to_micros_up
from gateway.core.pricing import cost, flat_rates
from gateway.core.usage import Usage
from gateway.core.wire import openai_media
from gateway.pricing.price_book import PriceBook

KINDS = (("hd", 80_000), ("1024x1792", 90_000), ("hd/1024x1792", 120_000))
NOTHING = Usage(0, 0, 0, 0, 0)
NOW_US = 1_790_000_000_000_000


@pytest.mark.parametrize(
    ("image", "micros"),
    [
        ("standard/1024x1024", 40_000),
        ("hd/1024x1024", 80_000),
        ("standard/1024x1792", 90_000),
        ("hd/1024x1792", 120_000),
        ("auto/1024x1024", 120_000),
    ],
)
def test_an_image_has_the_price_of_its_kind(image, micros):
    assert MediaRates(image_usd_micros=40_000, image_kinds=KINDS).image_price(image) == micros


@pytest.mark.parametrize(
    ("model", "media", "micros"),
    [
        ("whisper-1", Media(tenths=600), 6000),
        ("tts-1", Media(characters=1000), 15_000),
        ("tts-1-hd", Media(characters=1000), 30_000),
    ],
)
def test_the_list_knows_models_that_are_billed_by_unit(model, media, micros):
    rates = PriceBook().rates_for("openai", None, model, NOW_US)
    assert rates is not None
    assert rates.media.covers(media)
    assert cost(NOTHING, rates, media=media).total_usd_micros == micros


def test_the_list_knows_what_tokens_of_images_cost():
    rates = PriceBook().rates_for("openai", None, "gpt-image-1", NOW_US)
    assert rates is not None
    charged = cost(Usage(100, 0, 0, 1000, 0), rates, media=Media(images=1, image_tokens=80))
    assert charged.total_usd_micros == 20 * 5 + 80 * 10 + 1000 * 40


@given(
    images=st.integers(0, 10),
    tenths=st.integers(0, 10**6),
    characters=st.integers(0, 4096),
    tokens=st.integers(0, 10_000),
    output=st.integers(0, 10_000),
    picos=st.tuples(*[st.integers(0, 10**9)] * 5),
    sound=st.booleans(),
)
def test_no_call_costs_more_than_its_bound(images, tenths, characters, tokens, output, picos, sound):
    rates = flat_rates(
        picos[0],
        picos[1],
        audio_input_picos=picos[2],
        audio_output_picos=picos[3],
        media=MediaRates(40_000, KINDS, picos[4], picos[0], picos[2], picos[3]),
    )
    media = Media(images, "hd/1024x1792", tenths, characters, tokens, tokens if sound else 0, sound_out=sound)
    priced = PricedRates(rates)
    used = Usage(tokens, 0, 0, output, 0, tokens if sound else 0, output if sound else 0)
    of_output = max(priced.output_picos(tokens, frozenset()), priced.media_output_picos(media))
    held = priced.prompt_bound(tokens, frozenset()) + priced.media_bound(media, tokens)
    assert cost(used, rates, media=media).total_usd_micros <= held + picos_to_micros_up(output * of_output) + 2


@pytest.mark.parametrize(
    ("content", "kind", "tenths", "bad"),
    [
        (b'{"text": "a", "usage": {"type": "duration", "seconds": 3}}', "application/json", 30, False),
        (b'{"text": "a", "duration": 8.47}', "application/json", 85, False),
        (b'{"text": "a", "duration": "8.41"}', "application/json", 85, False),
        (b'{"text": "a", "duration": -1}', "application/json", None, True),
        (b'{"text": "a", "duration": 1e300}', "application/json", None, True),
        (b'{"text": "a", "duration": "nan"}', "application/json", None, True),
        (b'{"text": "a", "usage": {"type": "tokens", "input_tokens": -1}}', "application/json", None, True),
        (b"1\n00:00:00,000 --> 01:00:02,500\na\n", "text/plain", 36026, False),
        (b"WEBVTT\n\n00:00.000 --> 00:02.500\na\n", "text/vtt", 26, False),
        (b"at 00:00:59,000 it rang", "text/plain", None, False),
    ],
)
def test_a_transcription_tells_how_long_its_sound_was(content, kind, tenths, bad):
    reply = openai_media.transcription_reply(content, kind, Media(tenths=999))
    assert (reply.media.tenths if reply.media else None, reply.bad) == (tenths, bad)
