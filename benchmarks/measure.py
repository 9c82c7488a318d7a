"""Measures the lanes in turn: one upstream and all servers run the whole time, rounds go forward, then backward (ABBA).

A round of a lane is four loads: calls over many connections (CPU per call), calls over one (latency), streams whose
events come together, streams whose events come one by one. CPU time is that of the server's process tree.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.lanes import ROOT, Lane, Site
from benchmarks.load import KEY_VARIABLE, Plan
from benchmarks.processes import NotReady, Server, cpu_ns, free_port, rss_bytes, running
from benchmarks.upstream import event_count

CALLS_PER_SESSION = 20
TRAILING_S = 0.3
STREAM_CONNECTIONS = 8
PACED_CONNECTIONS = 16
# Streams that all start at once would wait for each other, which says nothing about their first event.
PACED_STARTS_PER_S = 50.0
EVENTS_EXPECTED = str(event_count(200))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done a round; a lane's `share` scales it."""

    calls: int
    rounds: int
    connections: int = 32
    gateway_core: int | None = 0
    load_core: int | None = 1


@dataclass(frozen=True, slots=True)
class Target:
    """A lane that is up."""

    lane: Lane
    pid: int
    port: int


Result = dict[str, Any]


def measure(lanes: list[Lane], sizes: Sizes, directory: Path, key: str, say: Callable[[str], None]) -> Result:
    results: dict[str, Result] = {lane.name: {"title": lane.title, "rounds": []} for lane in lanes}
    with ExitStack() as stack:
        upstream_port, upstream_pid = stack.enter_context(upstream(directory, sizes.load_core))
        targets: list[Target] = []
        for lane in lanes:
            try:
                site = Site(directory / lane.name, upstream_port, sizes.gateway_core, key)
                targets.append(_start(stack, lane, site, upstream_pid))
            except NotReady as problem:
                results[lane.name]["missing"] = str(problem)
                say(f"{lane.name}: {problem}")
        _pause(1.0)
        for target in targets:
            results[target.lane.name]["rss_rest_bytes"] = rss_bytes(target.pid)
        for target in targets:
            say(f"warming up {target.lane.name}")
            _warm_up(target, sizes, key)
        for number in range(sizes.rounds):
            for target in list(targets if number % 2 == 0 else reversed(targets)):
                name = target.lane.name
                say(f"round {number + 1} of {sizes.rounds}: {name}")
                try:
                    results[name]["rounds"].append(_round(target, sizes, key, number))
                except FileNotFoundError:  # nothing in /proc
                    targets.remove(target)
                    results[name] |= {"rounds": [], "missing": "it ended while it was measured"}
                    say(f"{name}: ended while it was measured")
        for target in targets:
            results[target.lane.name]["rss_after_bytes"] = rss_bytes(target.pid)
    return {"sizes": asdict(sizes), "lanes": results}


@contextmanager
def upstream(directory: Path, core: int | None) -> Iterator[tuple[int, int]]:
    """Gives the mock's port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    place = directory / "upstream"
    place.mkdir(parents=True, exist_ok=True)
    server = Server(command, port, "/v1/models", {"PYTHONPATH": str(ROOT)}, place, core)
    with running(server) as pid:
        yield port, pid


def _start(stack: ExitStack, lane: Lane, site: Site, upstream_pid: int) -> Target:
    if lane.server is None:
        return Target(lane, upstream_pid, site.upstream_port)
    site.directory.mkdir(parents=True)
    server = lane.server(site)
    return Target(lane, stack.enter_context(running(server)), server.port)


def load(plan: Plan, key: str, core: int | None) -> Result:
    """Runs the loader as a process of its own."""
    command = ["taskset", "--cpu-list", str(core)] if core is not None else []
    command += [sys.executable, "-m", "benchmarks.load"]
    for name, value in asdict(plan).items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            command.append(flag)
        elif value is not False:
            command += [flag, str(value)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, KEY_VARIABLE: key},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=plan.max_s + 60,
        check=True,
    )
    result: Result = json.loads(done.stdout)
    return result


def _warm_up(target: Target, sizes: Sizes, key: str) -> None:
    for phase in ("calls", "burst"):
        load(_plans(target, sizes, -1)[phase], key, sizes.load_core)


def _round(target: Target, sizes: Sizes, key: str, number: int) -> Result:
    phases: Result = {}
    for name, plan in _plans(target, sizes, number).items():
        before_ns = cpu_ns(target.pid)
        result = load(plan, key, sizes.load_core)
        # What a gateway still does after its answers (settling, writing) belongs to the calls.
        _pause(TRAILING_S)
        result["cpu_us"] = (cpu_ns(target.pid) - before_ns) / 1000
        result["cpu_us_per_call"] = result["cpu_us"] / plan.calls
        if plan.stream:
            result["cpu_us_per_event"] = result["cpu_us"] / max(1, result["events"])
        phases[name] = result
    return phases


def _plans(target: Target, sizes: Sizes, number: int) -> dict[str, Plan]:
    share = target.lane.share
    calls = max(20, round(sizes.calls * share))
    streams = max(2, round(sizes.calls * share / 50))
    paced = max(2, round(PACED_CONNECTIONS * share))
    # Sessions that no other round names; ten thousand is more than a load of any size uses.
    first = 10_000 * 4 * (number + 1)
    per_session = CALLS_PER_SESSION if target.lane.ours else 0

    def plan(model: str, calls: int, connections: int, offset: int, *, stream: bool = False, rate: float = 0) -> Plan:
        return Plan(
            port=target.port,
            model=model,
            calls=calls,
            connections=min(connections, calls),
            stream=stream,
            rate=rate,
            calls_per_session=per_session,
            first_session=first + 10_000 * offset,
        )

    return {
        "calls": plan("bench-plain", calls, sizes.connections, 0),
        "latency": plan("bench-plain", max(20, calls // 4), 1, 1),
        "burst": plan("bench-stream-200", streams, STREAM_CONNECTIONS, 2, stream=True),
        "paced": plan("bench-paced-200-5ms", paced, PACED_CONNECTIONS, 3, stream=True, rate=PACED_STARTS_PER_S),
    }


def faults(result: Result) -> list[str]:
    """Calls that failed, and streams in which an event was lost or added."""
    found = []
    for name, lane in result["lanes"].items():
        for number, round_ in enumerate(lane["rounds"], 1):
            for phase, measured in round_.items():
                where = f"{name}, round {number}, {phase}"
                found += [f"{where}: {times} x {error}" for error, times in measured["errors"].items()]
                other = {n: times for n, times in measured["events_per_stream"].items() if n != EVENTS_EXPECTED}
                found += [f"{where}: events per stream {other}, not {EVENTS_EXPECTED}"] if other else []
    return found


def _pause(seconds: float) -> None:
    time.sleep(seconds)
