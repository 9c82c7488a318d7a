"""C1 over a tree of sessions: a parent, two children with parts of its budget and a grandchild race for the same room.

What is spent below counts on every ancestor, a part is never passed, as many calls are let in as the tree has room for,
and each refusal tells the counter that was full.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.correctness.explained import refusals, unexplained
from benchmarks.correctness.report import Report, differing
from benchmarks.correctness.site import Site, keys, model
from tests.support.clients import Answer, Crowd, ask, crowd
from tests.support.gateway import GatewayProcess

ROOM, PART, PART_BELOW, REQUESTS = 20, 6, 3, 5
OUTPUT = 50
PROMPT = "x" * 200 + "."
DELAY_S = 0.05
EXPLAINED_A_RACE = 12
PLACES = ("root", "child", "below", "other")
SPENT_BY_SESSION = """
SELECT session_id, count(*) AS calls, sum(input_tokens + output_tokens) AS tokens
FROM calls WHERE state = 'settled' GROUP BY session_id
"""
NOTHING: Final = {"calls": 0, "tokens": 0}
Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Race:
    key: str
    stream: bool
    callers: int

    @property
    def admitted(self) -> int:
        """How many the tree has room for, in whatever order they come: a quarter of them in each place."""
        each = self.callers // len(PLACES)
        return min(ROOM, each + min(PART, each + min(PART_BELOW, each)) + min(REQUESTS, each))


async def run(site: Site) -> Report:
    sizes = (32,) if site.small else (8, 32, 64, 256)
    races = [Race(f"k{n}", *each) for n, each in enumerate((s, size) for s in (False, True) for size in sizes)]
    gateway = site.gateway(keys=[*keys(len(races)), {"name": "probe", "user": "probe"}], models={"small": model()})
    async with crowd(gateway) as clients:
        await clients.chat(_body(stream=False), key="probe")
        gateway.quiesce()
        prompt = gateway.journal("held")[-1]["held"]["input_tokens"]
        one = prompt + OUTPUT
        limit = {"name": "room", "each": "session", "tokens": ROOM * one}
        gateway.write_config({**gateway.config, "limits": [limit]})
        gateway.wait_for_log("reloaded")
        usage = {"prompt_tokens": prompt, "completion_tokens": OUTPUT, "total_tokens": one}
        site.upstream.script(model="mock-ok", delay_s=DELAY_S, usage=usage)
        found = [await _race(gateway, clients, race, one) for race in races]
    broken = [fault for faults in found for fault in faults] + differing("calls still held", gateway.held(), 0)
    admitted = sum(race.admitted for race in races)
    figure = (
        f"{len(races)} races of up to {max(sizes)} callers in trees of four sessions: {admitted} let in, as many as "
        f"had room; no part and no ancestor passed"
    )
    return Report(figure, tuple(broken), {"races": [(race.stream, race.callers, race.admitted) for race in races]})


def _body(*, stream: bool) -> dict[str, Any]:
    return ask(PROMPT, stream=stream, max_tokens=OUTPUT)


async def _race(gateway: GatewayProcess, clients: Crowd, race: Race, one: int) -> list[str]:
    tree = await _grown(gateway, race.key, one)
    marks = {"root": "race", **{name: child["token"] for name, child in tree.items()}}
    calls = [
        clients.chat(_body(stream=race.stream), key=race.key, session=marks[PLACES[n % len(PLACES)]])
        for n in range(race.callers)
    ]
    answers: list[Answer] = list(await asyncio.gather(*calls))
    gateway.quiesce()
    what = f"{race.callers} callers{', streams' if race.stream else ''}"
    admitted = sum(answer.status == 200 for answer in answers)
    broken = differing(f"{what}: let in", admitted, race.admitted)
    broken += [f"{what}: {fault}" for fault in _counters(gateway, tree, one)]
    machines = refusals(answers)
    sample = machines[:: max(1, len(machines) // EXPLAINED_A_RACE)]
    return broken + [f"{what}: {fault}" for fault in await unexplained(gateway, race.key, sample)]


async def _grown(gateway: GatewayProcess, key: str, one: int) -> Tree:
    """A child with a part in tokens, one below it, and one with a part in requests."""
    child = await _open(gateway, key, "race", tokens=PART * one)
    below = await _open(gateway, key, child["token"], tokens=PART_BELOW * one)
    other = await _open(gateway, key, "race", requests=REQUESTS)
    return {"child": child, "below": below, "other": other}


async def _open(gateway: GatewayProcess, key: str, parent: str, **part: int) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {gateway.keys[key]}", "x-comptroller-session": parent}
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(f"{gateway.origin}/mcp", http_client=http)
        async with Client(transport, mode="auto", cache=None) as client:
            result = await client.call_tool("session_open_child", dict(part))
    opened: dict[str, Any] = result.structured_content or {}
    if result.is_error:
        raise AssertionError(f"no child was opened: {opened}")
    return opened


def _counters(gateway: GatewayProcess, tree: Tree, one: int) -> list[str]:
    """Every counter of the tree is what the ledger has for that session and all below it, and within its limit."""
    ids = {"root": tree["child"]["parent"], **{name: child["session"] for name, child in tree.items()}}
    below = {"root": list(ids), "child": ["child", "below"], "below": ["below"], "other": ["other"]}
    used = {row["session_id"]: row for row in gateway.rows(SPENT_BY_SESSION)}
    spent = {name: [used.get(ids[each], NOTHING) for each in names] for name, names in below.items()}
    rows = gateway.admin("GET", "/api/v1/limits").json["limits"]
    broken = []
    for row in rows:
        name = next((name for name, session in ids.items() if row["scope"] == f"session:{session}"), None)
        if name is None:
            continue
        booked = sum(each["calls" if row["unit"] == "requests" else "tokens"] for each in spent[name])
        at = f"{row['name']} of {name}"
        broken += differing(f"{at}: (spent, held)", (row["spent"], row["held"]), (booked, 0))
        broken += [f"{at}: {booked} of {row['limit']}"] if booked > row["limit"] else []
    return broken
