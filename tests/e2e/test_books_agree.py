"""With everything switched on, all ways to ask who spent what give the sum of what the provider reported, to the
micro-dollar."""

import asyncio
import csv
import io
from collections import defaultdict
from decimal import Decimal
from typing import Any

from tests.support.clients import ask, crowd, scripted
from tests.support.gateway import ALICE, BOB, OPEN_POLICY, GatewayProcess

DEAR = {"input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10, "cached_input_usd_per_mtok": 0.25}
ODD = {"input_usd_per_mtok": 0.333, "output_usd_per_mtok": 0.777}
LIMITS = [
    {"name": "org-month", "org": "org", "usd": 100, "window": "month"},
    {"name": "team-day", "each": "team", "tokens": 5_000_000, "window": "day"},
    {"name": "user-hours", "each": "user", "usd": 20, "window": "5h"},
    {"name": "agent-rate", "each": "agent", "requests": 6_000, "window": "minute", "burst": 600},
    {"name": "session", "each": "session", "tokens": 500_000},
    {"name": "parallel", "each": "key", "concurrent": 64},
    {"name": "dear-day", "model": "dear", "usd": 50, "window": "day"},
]
POLICY = OPEN_POLICY.replace(
    "# rows: 3",
    "p, role:blocked, *, *, model:invoke, , deny\n"
    "g, user:mallory, role:blocked\n"
    "p, user:bob, dear, *, model:invoke, time.hour > 99, deny\n"
    "# rows: 6",
)


def half_up(tokens: int, usd_per_mtok: float) -> int:
    """Micro-USD of one meter (rule 6)."""
    return int((Decimal(str(usd_per_mtok)) * tokens).quantize(Decimal(1), rounding="ROUND_HALF_UP"))


def price(model: str, usage: dict[str, Any]) -> int:
    known: dict[str, Any] = {"mock-ok": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}, "dear": DEAR, "odd": ODD}
    rates = known[model]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return (
        half_up(usage["prompt_tokens"] - cached, rates["input_usd_per_mtok"])
        + half_up(cached, rates.get("cached_input_usd_per_mtok", rates["input_usd_per_mtok"]))
        + half_up(usage["completion_tokens"], rates["output_usd_per_mtok"])
    )


async def work(gateway: GatewayProcess) -> None:
    """Sixty calls by two people on three models: plain, streams, several choices, cached tokens."""
    async with crowd(gateway) as clients:
        calls = [
            clients.chat(
                ask(
                    scripted(f"{'word ' * n} of {key}", events=n + 1, cached_tokens=n // 2),
                    model=model,
                    stream=n % 2 == 0,
                    n=1 + n % 3 // 2,
                ),
                key=key,
                session=f"{key}-{n % 3}",
            )
            for key in ("alice", "bob")
            for model in ("small", "dear", "odd")
            for n in range(10)
        ]
        answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}


def test_rule_6_every_report_sums_to_what_the_provider_reported(start, upstream):
    model = {"provider": "mock", "max_output_tokens": 4096}
    gateway = start(
        keys=(ALICE, BOB, {"name": "mallory", "user": "mallory"}),
        models={
            "small": {**model, "model": "mock-ok", "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}},
            "dear": {**model, "price": DEAR},
            "odd": {**model, "price": ODD},
        },
        limits=LIMITS,
        policy=POLICY,
    )
    asyncio.run(work(gateway))
    gateway.quiesce()
    expected: dict[tuple[str, str], int] = defaultdict(int)
    tokens: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in upstream.log():
        user = "alice" if "of alice" in row.body else "bob"
        name = {"mock-ok": "small"}.get(row.model or "", row.model or "")
        expected[user, name] += price(row.model or "", row.usage)
        seen = tokens[user, name]
        tokens[user, name] = (seen[0] + row.usage["prompt_tokens"], seen[1] + row.usage["completion_tokens"])
    assert len(expected) == 6

    shown = gateway.cli("usage", "--by", "user,model", "--json").json
    rows = shown["rows"] if isinstance(shown, dict) else shown
    found = {(row["user"], row["model"]): row for row in rows}
    assert {who: round(float(row["cost_usd"]) * 1_000_000) for who, row in found.items()} == dict(expected)
    assert {who: (row["input_tokens"], row["output_tokens"]) for who, row in found.items()} == dict(tokens)
    total = sum(expected.values())
    listed = csv.DictReader(io.StringIO(gateway.cli("usage", "--by", "team", "--csv").out))
    assert sum(Decimal(row["cost_usd"]) for row in listed) * 1_000_000 == total
    assert gateway.rows("SELECT sum(usd_micros) AS n FROM calls WHERE state = 'settled'") == [{"n": total}]
    (org,) = [row for row in gateway.cli("limits", "list", "--json").json if row["name"] == "org-month"]
    assert round(float(org["spent"]) * 1_000_000) == total
    assert round(gateway.metric("comptroller_cost_usd_total") * 1_000_000) == total
    lines = gateway.wait_for_log("call", count=60)
    assert sum(line.get("cost_usd_micros", 0) for line in lines) == total
    assert gateway.cli("audit", "verify", "--json").code == 0
