"""C8: usage as providers report it, against invoices that were worked out by hand, to the micro-dollar.

Each invoice is written out as a person would: tokens at a price per million, each line rounded half up, then summed.
The shapes are those of servers that speak the chat format; those of other wire formats come with their routes.
"""

import asyncio
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site, keys, model
from tests.support.clients import ask, crowd
from tests.support.gateway import GatewayProcess

MODELS: Mapping[str, dict[str, Any]] = {
    "flat": model(price={"input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10}),
    "cached": model(price={"input_usd_per_mtok": 2.5, "cached_input_usd_per_mtok": 1.25, "output_usd_per_mtok": 10}),
    "writes": model(
        price={
            "input_usd_per_mtok": 3,
            "cached_input_usd_per_mtok": 0.3,
            "cache_write_usd_per_mtok": 3.75,
            "output_usd_per_mtok": 15,
        }
    ),
    "odd": model(price={"input_usd_per_mtok": 0.333, "output_usd_per_mtok": 0.777}),
    "tiny": model(price={"input_usd_per_mtok": 0.02, "output_usd_per_mtok": 0.02}),
    "free": model(price={"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}),
}


@dataclass(frozen=True, slots=True)
class Invoice:
    """`micros` is the sum that was worked out by hand from the lines in `sum`."""

    what: str
    model: str
    usage: Mapping[str, Any]
    sum: str
    micros: int


def usage(prompt: int, completion: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    total_tokens = prompt + completion if total is None else total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total_tokens, **more}


def cached(tokens: int, **more: int) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": tokens, **more}}


def reasoning(tokens: int, **more: int) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": tokens, **more}}


INVOICES = (
    Invoice("a plain reply", "flat", usage(1_117, 46), "2792.5 -> 2793; 460", 3_253),
    Invoice("half a micro is rounded up", "flat", usage(1, 0), "2.5 -> 3", 3),
    Invoice(
        "cache reads are inside the prompt (OpenAI)",
        "cached",
        usage(2_006, 300, **cached(1_920)),
        "86 * 2.5 = 215; 1920 * 1.25 = 2400; 3000",
        5_615,
    ),
    Invoice("the whole prompt from the cache", "cached", usage(4_096, 1, **cached(4_096)), "0; 5120; 10", 5_130),
    Invoice(
        "cache reads without a price of their own",
        "flat",
        usage(2_000, 10, **cached(1_000)),
        "1000 * 2.5; 1000 * 2.5; 100",
        5_100,
    ),
    Invoice(
        "reasoning is inside the completion (OpenAI)",
        "flat",
        usage(75, 1_186, **reasoning(1_024)),
        "187.5 -> 188; 11860",
        12_048,
    ),
    Invoice(
        "reasoning beside the completion, in the total only (xAI)",
        "flat",
        usage(32, 9, 132, **reasoning(91)),
        "80; (9 + 91) * 10 = 1000",
        1_080,
    ),
    Invoice(
        "thoughts in the total only (Gemini behind the chat format)",
        "flat",
        usage(10, 20, 530),
        "25; (20 + 500) * 10 = 5200",
        5_225,
    ),
    Invoice(
        "cache writes at their price (a proxy for Anthropic)",
        "writes",
        usage(10_000, 500, **cached(6_000, cache_write_tokens=3_000)),
        "1000 * 3; 6000 * 0.3 = 1800; 3000 * 3.75 = 11250; 7500",
        23_550,
    ),
    Invoice(
        "hits and misses of DeepSeek, the hits in both places",
        "cached",
        usage(1_000, 100, prompt_cache_hit_tokens=768, prompt_cache_miss_tokens=232, **cached(768)),
        "232 * 2.5 = 580; 768 * 1.25 = 960; 1000",
        2_540,
    ),
    Invoice(
        "audio and text, no price of its own (OpenAI audio)",
        "flat",
        usage(150, 200, **cached(0, audio_tokens=100, text_tokens=50), **reasoning(0, audio_tokens=120)),
        "50 * 2.5 = 125; 100 * 2.5 = 250; 80 * 10; 120 * 10",
        2_375,
    ),
    Invoice(
        "predictions that were rejected are billed inside the completion",
        "flat",
        usage(100, 90, **reasoning(0, accepted_prediction_tokens=30, rejected_prediction_tokens=40)),
        "250; 900",
        1_150,
    ),
    Invoice(
        "a cost that the provider names is not ours to believe (OpenRouter)",
        "flat",
        usage(100, 10, cost=0.00001, is_byok=True),
        "250; 100",
        350,
    ),
    Invoice(
        "details that are null (vLLM)",
        "flat",
        usage(100, 10, prompt_tokens_details=None, completion_tokens_details=None),
        "250; 100",
        350,
    ),
    Invoice(
        "times beside the tokens (Groq)",
        "flat",
        usage(100, 10, queue_time=0.02, prompt_time=0.001, total_time=0.1),
        "250; 100",
        350,
    ),
    Invoice("rates that do not divide", "odd", usage(1_001, 777), "333.333 -> 333; 603.729 -> 604", 937),
    Invoice("each meter is rounded by itself", "tiny", usage(25, 25), "0.5 -> 1; 0.5 -> 1", 2),
    Invoice("below half a micro", "tiny", usage(24, 24), "0.48 -> 0; 0.48 -> 0", 0),
    Invoice(
        "a long context",
        "writes",
        usage(987_654, 4_096, **cached(900_000)),
        "87654 * 3 = 262962; 900000 * 0.3 = 270000; 61440",
        594_402,
    ),
    Invoice("a model that is free", "free", usage(1_000, 1_000), "0; 0", 0),
    Invoice(
        "more from the cache than there was (a fault)",
        "cached",
        usage(1_000, 10, **cached(5_000)),
        "1000 * 1.25 = 1250; 100",
        1_350,
    ),
)


async def run(site: Site) -> Report:
    gateway = site.gateway(keys=keys(1), models=MODELS)
    calls = [(n, invoice, stream) for n, invoice in enumerate(INVOICES) for stream in (False, True)]
    for n, invoice in enumerate(INVOICES):
        site.upstream.script(contains=f"<invoice-{n}>", usage=dict(invoice.usage))
    broken: list[str] = []
    async with crowd(gateway) as clients:
        bodies = [
            ask(
                f"<invoice-{n}>",
                model=invoice.model,
                stream=stream,
                max_tokens=50,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            )
            for n, invoice, stream in calls
        ]
        answers = await asyncio.gather(*(clients.chat(body, key="k0", session="invoices") for body in bodies))
    off = 0
    for (_, invoice, stream), answer in zip(calls, answers, strict=True):
        booked = gateway.call(answer.call_id)["usd_micros"]
        off += abs(booked - invoice.micros)
        broken += differing(f"{invoice.what}{', streamed' if stream else ''}", booked, invoice.micros)
        if not stream:
            told = round(Decimal(answer.headers["x-comptroller-cost-usd"]) * 1_000_000)
            broken += differing(f"{invoice.what}, in the header", told, invoice.micros)
    total = 2 * sum(invoice.micros for invoice in INVOICES)
    broken += _reports(gateway, total)
    figure = f"{len(calls)} calls of {len(INVOICES)} shapes: {off} micro-USD off in {total} by hand"
    return Report(figure, tuple(broken), {"total_micros": total, "off_micros": off})


def _reports(gateway: GatewayProcess, total: int) -> list[str]:
    """Every way to ask what was spent gives the same sum."""
    gateway.quiesce()
    shown = gateway.cli("usage", "--by", "model", "--json").json
    rows = shown["rows"] if isinstance(shown, dict) else shown
    listed = list(csv.DictReader(io.StringIO(gateway.cli("usage", "--by", "user", "--csv").out)))
    sums = {
        "the command": round(sum(Decimal(str(row["cost_usd"])) for row in rows) * 1_000_000),
        "the CSV": round(sum(Decimal(row["cost_usd"]) for row in listed) * 1_000_000),
        "the ledger": gateway.rows("SELECT sum(usd_micros) AS n FROM calls WHERE state = 'settled'")[0]["n"],
        "the metrics": round(gateway.metric("comptroller_cost_usd_total") * 1_000_000),
    }
    return [fault for name, found in sums.items() for fault in differing(f"the sum by {name}", found, total)]
