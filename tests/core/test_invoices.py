"""Invoices worked out by hand, to the micro-dollar, for what each wire format can report (research C8).

`worked` is how a person would write it: tokens at a price per million, each line rounded half up to a micro-dollar.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.core.media import MediaRates
from gateway.core.money import usd_per_mtok_to_picos
from gateway.core.pricing import LongContext, Rates, Schedule, ServiceTier, TokenRates, cost
from gateway.core.wire.formats import FORMATS


def _token_rates(given: str, cached: str, written: str, made: str, *sound: str, hour: str | None = None) -> TokenRates:
    """USD per million: input, cache read, cache write, output, then sound in, sound out and sound from a cache."""
    heard, spoken, kept = (*sound, given, made, cached)[:3] if sound else (given, made, cached)
    picos = [usd_per_mtok_to_picos(each) for each in (given, cached, written, made, heard, spoken)]
    long = None if hour is None else usd_per_mtok_to_picos(hour)
    return TokenRates(
        picos[0], picos[1], picos[2], picos[3], picos[4], picos[5], long, usd_per_mtok_to_picos(kept) if sound else None
    )


SONNET = Rates(
    Schedule(
        _token_rates("3", "0.3", "3.75", "15", hour="6"),
        (LongContext(200_000, _token_rates("6", "0.6", "7.5", "22.5", hour="12")),),
    ),
    media=MediaRates(web_search_usd_micros=10_000),
)
FLASH = Rates(
    Schedule(_token_rates("0.3", "0.03", "0.3", "2.5", "1", "2.5", "0.1")),
    media=MediaRates(web_search_usd_micros=35_000, web_search_once=True),
)
GPT = Rates(
    Schedule(_token_rates("1.25", "0.125", "1.25", "10")),
    (ServiceTier("flex", Schedule(_token_rates("0.625", "0.0625", "0.625", "5"))),),
    media=MediaRates(web_search_usd_micros=10_000, file_search_usd_micros=2_500),
)
AUDIO = Rates(Schedule(_token_rates("2.5", "2.5", "2.5", "10", "40", "80")))


@dataclass(frozen=True, slots=True)
class Invoice:
    what: str
    format: str
    reply: Mapping[str, Any]
    rates: Rates
    worked: str
    micros: int

    def __str__(self) -> str:
        return f"{self.format}: {self.what}"


def messages(what: str, worked: str, micros: int, **usage: Any) -> Invoice:
    return Invoice(what, "anthropic_messages", {"content": [], "usage": usage}, SONNET, worked, micros)


def gemini(what: str, worked: str, micros: int, candidate: Mapping[str, Any] | None = None, **usage: Any) -> Invoice:
    reply = {"candidates": [candidate or {}], "usageMetadata": usage}
    return Invoice(what, "gemini", reply, FLASH, worked, micros)


def responses(
    what: str, worked: str, micros: int, *items: Mapping[str, Any], tier: str | None = None, **usage: Any
) -> Invoice:
    reply = {"output": list(items), "usage": usage, **({} if tier is None else {"service_tier": tier})}
    return Invoice(what, "openai_responses", reply, GPT, worked, micros)


def converse(what: str, worked: str, micros: int, **usage: Any) -> Invoice:
    return Invoice(what, "bedrock_converse", {"output": {}, "usage": usage}, SONNET, worked, micros)


def modal(**tokens: int) -> list[Mapping[str, Any]]:
    return [{"modality": kind, "tokenCount": count} for kind, count in tokens.items()]


SEARCH = {"type": "web_search_call", "action": {"type": "search"}}
INVOICES = (
    messages("a plain message", "1117 x 3; 46 x 15", 3_351 + 690, input_tokens=1_117, output_tokens=46),
    messages(
        "cache reads beside the input", "86 x 3; 1921 x 0.3 = 576.3; 300 x 15", 258 + 576 + 4_500,
        input_tokens=86, cache_read_input_tokens=1_921, output_tokens=300,
    ),
    messages(
        "writes for five minutes", "10 x 3; 3001 x 3.75 = 11253.75; 5 x 15", 30 + 11_254 + 75,
        input_tokens=10, cache_creation_input_tokens=3_001, output_tokens=5,
    ),
    messages(
        "writes for five minutes and for an hour", "10 x 3; 1000 x 3.75; 2000 x 6; 5 x 15", 30 + 3_750 + 12_000 + 75,
        input_tokens=10, cache_creation_input_tokens=3_000, output_tokens=5,
        cache_creation={"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000},
    ),
    messages(
        "a long context, told by all of its input", "10 x 6; 200000 x 0.6; 5 x 22.5 = 112.5", 60 + 120_000 + 113,
        input_tokens=10, cache_read_input_tokens=200_000, output_tokens=5,
    ),
    messages(
        "just below a long context", "10 x 3; 199990 x 0.3; 5 x 15", 30 + 59_997 + 75,
        input_tokens=10, cache_read_input_tokens=199_990, output_tokens=5,
    ),
    messages(
        "thinking is in the output", "11 x 3; 1024 x 15", 33 + 15_360,
        input_tokens=11, output_tokens=1_024, output_tokens_details={"thinking_tokens": 1_000},
    ),
    messages(
        "three searches", "9000 x 3; 100 x 15; 3 x 10000", 27_000 + 1_500 + 30_000,
        input_tokens=9_000, output_tokens=100, server_tool_use={"web_search_requests": 3, "web_fetch_requests": 2},
    ),
    converse("a plain reply", "1117 x 3; 46 x 15", 3_351 + 690, inputTokens=1_117, outputTokens=46, totalTokens=1_163),
    converse(
        "reads and writes of both lives", "10 x 3; 64 x 0.3 = 19.2; 20 x 3.75; 30 x 6; 7 x 15", 30 + 19 + 75 + 285,
        inputTokens=10, outputTokens=7, totalTokens=131, cacheReadInputTokens=64, cacheWriteInputTokens=50,
        cacheDetails=[{"ttl": "5m", "inputTokens": 20}, {"ttl": "1h", "inputTokens": 30}],
    ),
    gemini(
        "thoughts beside the candidates", "1000 x 0.3; (7 + 500) x 2.5 = 1267.5", 300 + 1_268,
        promptTokenCount=1_000, candidatesTokenCount=7, thoughtsTokenCount=500, totalTokenCount=1_507,
    ),
    gemini(
        "a cache", "100 x 0.3; 900 x 0.03; 7 x 2.5 = 17.5", 30 + 27 + 18,
        promptTokenCount=1_000, cachedContentTokenCount=900, candidatesTokenCount=7, totalTokenCount=1_007,
    ),
    gemini(
        "text, a picture and sound", "(20 + 258) x 0.3 = 83.4; 3200 x 1; 7 x 2.5 = 17.5", 83 + 3_200 + 18,
        promptTokenCount=3_478, candidatesTokenCount=7, totalTokenCount=3_485,
        promptTokensDetails=modal(TEXT=20, IMAGE=258, AUDIO=3_200),
    ),
    gemini(
        "sound, most of it from a cache", "20 x 0.3; 200 x 1; 3000 x 0.1; 7 x 2.5 = 17.5", 6 + 200 + 300 + 18,
        promptTokenCount=3_220, cachedContentTokenCount=3_000, candidatesTokenCount=7, totalTokenCount=3_227,
        promptTokensDetails=modal(TEXT=20, AUDIO=3_200), cacheTokensDetails=modal(AUDIO=3_000),
    ),
    gemini(
        "text and sound from a cache", "1000 x 0.03; 3000 x 0.1; 10 x 0.3; 7 x 2.5 = 17.5", 30 + 300 + 3 + 18,
        promptTokenCount=4_010, cachedContentTokenCount=4_000, candidatesTokenCount=7, totalTokenCount=4_017,
        promptTokensDetails=modal(TEXT=1_010, AUDIO=3_000), cacheTokensDetails=modal(TEXT=1_000, AUDIO=3_000),
    ),
    gemini(
        "fed back by a tool of the provider", "(11 + 5000) x 0.3 = 1503.3; 7 x 2.5 = 17.5", 1_503 + 18,
        promptTokenCount=11, toolUsePromptTokenCount=5_000, candidatesTokenCount=7, totalTokenCount=5_018,
    ),
    gemini(
        "a grounded prompt is one fee", "100 x 0.3; 8 x 2.5; 35000", 30 + 20 + 35_000,
        {"groundingMetadata": {"webSearchQueries": ["a", "b", "c"]}},
        promptTokenCount=100, candidatesTokenCount=8, totalTokenCount=108,
    ),
    responses(
        "reasoning inside the output", "75 x 1.25 = 93.75; 1186 x 10", 94 + 11_860,
        input_tokens=75, output_tokens=1_186, total_tokens=1_261, output_tokens_details={"reasoning_tokens": 1_024},
    ),
    responses(
        "cache reads inside the input", "86 x 1.25 = 107.5; 1920 x 0.125; 3 x 10", 108 + 240 + 30,
        input_tokens=2_006, input_tokens_details={"cached_tokens": 1_920}, output_tokens=3, total_tokens=2_009,
    ),
    responses(
        "served by the flexible tier", "1000 x 0.625; 10 x 5", 625 + 50,
        tier="flex", input_tokens=1_000, output_tokens=10, total_tokens=1_010,
    ),
    responses(
        "searches of the web and of files", "1000 x 1.25; 10 x 10; 2 x 10000; 2500", 1_250 + 100 + 20_000 + 2_500,
        SEARCH, {"type": "web_search_call", "action": {"type": "find_in_page"}}, SEARCH, {"type": "file_search_call"},
        input_tokens=1_000, output_tokens=10, total_tokens=1_010,
    ),
    Invoice(
        "sound both ways", "openai_chat",
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 150, "completion_tokens": 200, "total_tokens": 350,
                "prompt_tokens_details": {"audio_tokens": 100}, "completion_tokens_details": {"audio_tokens": 120},
            },
        },
        AUDIO, "50 x 2.5; 100 x 40; 80 x 10; 120 x 80", 125 + 4_000 + 800 + 9_600,
    ),
)  # fmt: skip


@pytest.mark.parametrize("invoice", INVOICES, ids=str)
def test_a_call_costs_what_a_person_works_out(invoice: Invoice) -> None:
    replies = FORMATS[invoice.format].replies
    usage, bad = replies.usage(invoice.reply)
    assert usage is not None
    assert not bad
    bill = cost(usage, invoice.rates, replies.tier(invoice.reply), replies.used(invoice.reply))
    assert bill.total_usd_micros == invoice.micros, (invoice.worked, bill.lines)
