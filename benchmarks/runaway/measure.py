"""Plays traces against a gateway and says what came of each: calls and dollars until it was stopped, and by what."""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runaway.agent import Agent, Stopped
from benchmarks.runaway.players import player

Shape = Callable[[Agent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Run:
    """One trace. `stopped` = the denial's code, "" = it went to its end; `detector` = what found it."""

    name: str
    session_id: str
    calls: int
    warned: int
    stopped: str
    detector: str


async def play(base_url: str, key: str, name: str, shape: Shape, seed: int) -> Run:
    async with player(base_url, key, f"{name}-{seed}") as carried:
        agent = Agent(carried, random.Random(f"{name} {seed}"))
        code = detector = ""
        try:
            await shape(agent)
        except Stopped as stopped:
            code, detector = stopped.code, stopped.detector
        return Run(name, carried.session_id, carried.calls, carried.warned, code, detector)


async def play_all(base_url: str, key: str, traces: Sequence[tuple[str, Shape, int]], at_once: int) -> list[Run]:
    gate = asyncio.Semaphore(at_once)

    async def one(name: str, shape: Shape, seed: int) -> Run:
        async with gate:
            return await play(base_url, key, name, shape, seed)

    return list(await asyncio.gather(*(one(*trace) for trace in traces)))


def chosen(shapes: Mapping[str, Shape], count: int) -> list[tuple[str, Shape, int]]:
    """So many traces of these kinds, each with another seed."""
    names = list(shapes)
    return [(names[n % len(names)], shapes[names[n % len(names)]], n // len(names)) for n in range(count)]


def spent_usd(books: Path) -> Mapping[str, float]:
    """By session id, from the ledger."""
    sql = "SELECT session_id, sum(usd_micros) FROM calls WHERE state = 'settled' GROUP BY session_id"
    with closing(sqlite3.connect(f"file:{books}?mode=ro", uri=True, timeout=10)) as connection:
        return {session: micros / 1_000_000 for session, micros in connection.execute(sql)}
