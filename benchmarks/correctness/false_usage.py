"""C3: providers that report no usage, late, twice, or figures that cannot be true. What is booked is what was reported
where it can be; else what was seen is counted and marked, nothing becomes free, and no counter ever falls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site, keys, model
from benchmarks.correctness.words import name_in, spoken
from tests.support.clients import Crowd, ask, crowd
from tests.support.gateway import GatewayProcess

WORDS = 60
ERROR_MAX = 0.05
LIES: Mapping[str, Any] = {
    "absurd": {"prompt_tokens": 10**13, "completion_tokens": 10**13, "total_tokens": 2 * 10**13},
    "a fraction": {"prompt_tokens": 1.5, "completion_tokens": 2.5, "total_tokens": 4},
    "words": {"prompt_tokens": "12", "completion_tokens": "34", "total_tokens": "46"},
    "true": {"prompt_tokens": True, "completion_tokens": True, "total_tokens": 2},
    "half negative": {"prompt_tokens": 100, "completion_tokens": -(10**6), "total_tokens": 100 - 10**6},
    "a part that is negative": {
        "prompt_tokens": 100,
        "completion_tokens": 60,
        "total_tokens": 160,
        "prompt_tokens_details": {"cached_tokens": -(10**6)},
    },
    "no object": {},
}
KNOWN = ("usual", "missing", "null", "zero", "negative", "double", "in_choice", "each", "late")
STREAMED_ONLY = frozenset({"double", "in_choice", "each", "late"})
REPORTED = frozenset({"usual", "zero", "double", "in_choice", "each"})
EITHER = "late"
"""A report behind the end of the stream may be believed or not: what counts is that nothing else is made of it."""


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    stream: bool

    @property
    def name(self) -> str:
        return f"{self.kind}{', streamed' if self.stream else ''}"

    @property
    def reported(self) -> bool:
        """Whether a report comes that can be true."""
        return self.kind in REPORTED


async def run(site: Site) -> Report:
    cases = [Case(kind, stream) for kind in (*KNOWN, *LIES) for stream in (False, True)]
    cases = [case for case in cases if case.stream or case.kind not in STREAMED_ONLY]
    limit = {"name": "room", "user": "u0", "tokens": 10_000_000, "window": "total"}
    gateway = site.gateway(keys=keys(1), models={"words": model()}, limits=[limit])
    broken: list[str] = []
    rows: dict[str, dict[str, Any]] = {}
    spent = 0
    async with crowd(gateway) as clients:
        for case in cases:
            rows[case.name] = await _booked(gateway, clients, case)
            now = _spent(gateway)
            if now < spent:
                broken.append(f"{case.name}: the counter fell from {spent} to {now}")
            spent = now
    seen = {name_in(row.json["messages"][0]["content"]): row.usage for row in site.upstream.log()}
    for case in cases:
        broken += _wrong(case, rows[case.name], seen[case.name])
    estimates = [rows[case.name] for case in cases if not case.reported]
    worst = max(abs(row["output_tokens"] - WORDS) / WORDS for row in estimates)
    if worst > ERROR_MAX:
        broken.append(f"an estimate is {worst:.1%} off")
    free = sum(row["usd_micros"] == 0 for row in estimates)
    broken += differing("calls that became free", free, 0)
    figure = (
        f"{len(cases)} shapes of reports: {len(cases) - len(estimates)} believed to the token, {len(estimates)} "
        f"counted and marked ({worst:.1%} off at most), {free} became free, no counter fell"
    )
    return Report(figure, tuple(broken), {"rows": rows})


async def _booked(gateway: GatewayProcess, clients: Crowd, case: Case) -> dict[str, Any]:
    report = LIES.get(case.kind, case.kind)
    fields = {"stream_options": {"include_usage": True}} if case.stream else {}
    body = ask(
        spoken(case.name, WORDS, usage=report), model="words", stream=case.stream, max_tokens=2 * WORDS, **fields
    )
    answer = await clients.chat(body, key="k0", session="lies")
    return gateway.call(answer.call_id)


def _wrong(case: Case, row: dict[str, Any], report: dict[str, Any] | None) -> list[str]:
    if not case.reported and not (case.kind == EITHER and row["estimated"] is None):
        found = [] if row["estimated"] else [f"{case.name}: booked without the mark of an estimate"]
        return found if row["input_tokens"] > 0 else [*found, f"{case.name}: no prompt was booked"]
    told = report or {}
    booked = (row["input_tokens"], row["output_tokens"], row["usd_micros"], row["estimated"])
    prompt, output = told.get("prompt_tokens"), told.get("completion_tokens")
    expected = (prompt, output, None if prompt is None or output is None else prompt + 2 * output, None)
    return differing(case.name, booked, expected)


def _spent(gateway: GatewayProcess) -> int:
    gateway.quiesce()
    rows = gateway.admin("GET", "/api/v1/limits").json["limits"]
    return sum(row["spent"] + row["held"] for row in rows if row["name"] == "room")
