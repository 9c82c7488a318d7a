"""C1: many calls at once against a limit with room for exactly K. How far does spending go beyond the limit, and is any
call refused that would have fitted?"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.correctness.explained import refusals, unexplained
from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site, keys, model
from tests.support.clients import Answer, Crowd, ask, crowd
from tests.support.gateway import GatewayProcess

UNITS = ("requests", "tokens", "usd")
ROOM = 20
OUTPUT = 50
PROMPT = "x" * 200
DELAY_S = 0.05
LOOK_EVERY_S = 0.02
EXPLAINED_A_ROUND = 12


@dataclass(frozen=True, slots=True)
class Round:
    key: str
    unit: str
    stream: bool
    callers: int

    @property
    def limit(self) -> str:
        return f"{self.unit}-{'stream' if self.stream else 'plain'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    round: Round
    admitted: int
    over: float
    broken: list[str]


def rounds(site: Site) -> list[Round]:
    """Each with a key and a user of its own, and so with a counter of its own."""
    sizes = (8, 32) if site.small else (1, 2, 4, 8, 16, 32, 64, 128, 256)
    wanted = [(unit, stream, callers) for unit in UNITS for stream in (False, True) for callers in sizes]
    return [Round(f"k{n}", *each) for n, each in enumerate(wanted)]


async def run(site: Site) -> Report:
    races = rounds(site)
    kinds = {race.limit: race for race in races}
    gateway = site.gateway(
        keys=[*keys(len(races)), {"name": "probe", "user": "probe"}], models={name: model() for name in kinds}
    )
    async with crowd(gateway) as racing:
        amounts = {name: await _needed(gateway, racing, race) for name, race in kinds.items()}
        gateway.write_config({**gateway.config, "limits": list(_limits(amounts))})
        gateway.wait_for_log("reloaded")
        for name, (prompt, _) in amounts.items():
            site.upstream.script(contains=f"of {name}.", delay_s=DELAY_S, usage=_usage(prompt))
        outcomes = [await _race(gateway, racing, race) for race in races]
    broken = [fault for outcome in outcomes for fault in outcome.broken]
    sent = len(site.upstream.log()) - len(kinds)
    broken += differing("calls that reached the provider", sent, sum(outcome.admitted for outcome in outcomes))
    broken += differing("calls still held", gateway.held(), 0)
    worst = max(outcome.over for outcome in outcomes)
    largest = max(race.callers for race in races)
    figure = f"overshoot at most {worst:+.4%} over {len(races)} races of up to {largest} callers for {ROOM} places"
    raw = {"rounds": [(o.round.limit, o.round.callers, o.admitted, o.over) for o in outcomes]}
    return Report(figure, tuple(broken), raw)


async def _needed(gateway: GatewayProcess, racing: Crowd, race: Round) -> tuple[int, int]:
    """(prompt tokens, amount of the limit's unit) that one call of this kind holds."""
    await racing.chat(_body(race), key="probe", session=race.limit)
    gateway.quiesce()
    held = gateway.journal("held")[-1]["held"]
    prompt = held["input_tokens"]
    return prompt, {"requests": 1, "tokens": prompt + OUTPUT, "usd": held["usd_micros"]}[race.unit]


def _limits(amounts: dict[str, tuple[int, int]]) -> Iterator[dict[str, Any]]:
    for name, (_, one) in amounts.items():
        unit = name.partition("-")[0]
        amount = ROOM * one / 1_000_000 if unit == "usd" else ROOM * one
        yield {"name": name, "each": "user", "model": name, unit: amount, "window": "total"}


def _usage(prompt: int) -> dict[str, int]:
    """Just what was held: nothing comes back at settlement that could let another one in."""
    return {"prompt_tokens": prompt, "completion_tokens": OUTPUT, "total_tokens": prompt + OUTPUT}


def _body(race: Round) -> dict[str, Any]:
    return ask(f"{PROMPT} of {race.limit}.", model=race.limit, stream=race.stream, max_tokens=OUTPUT)


async def _race(gateway: GatewayProcess, racing: Crowd, race: Round) -> Outcome:
    looking = asyncio.create_task(_look(gateway, race))
    calls = [racing.chat(_body(race), key=race.key, session="race") for _ in range(race.callers)]
    answers: list[Answer] = list(await asyncio.gather(*calls))
    gateway.quiesce()
    looking.cancel()
    seen = [*(await asyncio.gather(looking, return_exceptions=True)), await asyncio.to_thread(_counter, gateway, race)]
    over = max(
        used / amount - 1 for used, amount, _ in [row for rows in seen if isinstance(rows, list) for row in rows]
    )
    admitted = sum(answer.status == 200 for answer in answers)
    machines = refusals(answers)
    broken = differing(f"admitted of {race.callers} on {race.limit}", admitted, min(race.callers, ROOM))
    broken += [f"{race.limit}, {race.callers} callers: {over:+.2%} of the limit"] if over > 0 else []
    broken += _booked(gateway, race, answers)
    broken += await unexplained(gateway, race.key, machines[:: max(1, len(machines) // EXPLAINED_A_ROUND)])
    return Outcome(race, admitted, over, broken)


async def _look(gateway: GatewayProcess, race: Round) -> list[tuple[int, int, int]]:
    """(posted and held, limit, held) again and again while the race goes on."""
    seen: list[tuple[int, int, int]] = []
    try:
        while True:
            seen += await asyncio.to_thread(_counter, gateway, race)
            await asyncio.sleep(LOOK_EVERY_S)
    except asyncio.CancelledError:
        return seen


def _counter(gateway: GatewayProcess, race: Round) -> list[tuple[int, int, int]]:
    scale = 1_000_000 if race.unit == "usd" else 1
    scope = f"user:u{race.key[1:]}"
    rows = gateway.admin("GET", "/api/v1/limits").json["limits"]
    own = [row for row in rows if (row["name"], row["scope"]) == (race.limit, scope)]
    return [
        (round((row["spent"] + row["held"]) * scale), round(row["limit"] * scale), round(row["held"] * scale))
        for row in own
    ]


def _booked(gateway: GatewayProcess, race: Round, answers: list[Answer]) -> list[str]:
    """At rest: nothing held, and the counter is the sum of the ledger's rows."""
    passed = {answer.call_id for answer in answers if answer.status == 200}
    rows = [row for row in gateway.settled() if row["call_id"] in passed]
    booked = {
        "requests": len(rows),
        "tokens": sum(row["input_tokens"] + row["output_tokens"] for row in rows),
        "usd": sum(row["usd_micros"] for row in rows),
    }[race.unit]
    ((used, _, held),) = _counter(gateway, race)
    return differing(f"{race.limit}, {race.callers} callers: (counter, held)", (used, held), (booked, 0))
