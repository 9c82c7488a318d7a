"""Does a noisy tenant move a quiet one? A gateway with shares before a mock provider with a fixed service time.

python -m benchmarks.isolation [--seconds 12] [--rounds 12] [--write]     --write puts the table into docs/capacity.md

The gateway has one core to itself; mock, loaders and the quiet client share the other, and the row `elsewhere` says
what that alone does: the same flood, sent to the mock. Rows are short windows in turn, every other round backwards, and
each row's calls are pooled; the interval is a bootstrap over rounds, so that drift of the machine is in it.
"""

import argparse
import asyncio
import gc
import json
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.figures import percentile, pooled_ratio
from benchmarks.gateway_config import Governance, write_config
from benchmarks.lanes import COMPTROLLER, ROOT
from benchmarks.load import Plan
from benchmarks.measure import load, upstream
from benchmarks.processes import Server, cpu_ns, free_port, running
from benchmarks.report import write_between_markers
from gateway.core.identity import make_secret

PAGE = ROOT / "docs/capacity.md"
SERVICE_MS = 200
MODEL: Final = f"bench-plain-{SERVICE_MS}ms"
SLOTS = 10
SHARES: Final = {"team:noisy": 3, "team:quiet": 1}
QUIET_PER_S = 5.0
"""Half of what its two slots bear: nearer to that, it would wait for its own calls."""
NOISY_PART = 6
ASKED_PER_S = 10 * NOISY_PART * 1000 // SERVICE_MS
"""Ten times what the noisy tenant's part can serve."""
ALLOWED = 1.05
STARTING_S = 2.0
GATEWAY_CORE, LOAD_CORE = 0, 1
ROWS: Final = {
    "alone": "the quiet tenant alone",
    "elsewhere": f"while {ASKED_PER_S} calls a second go to the mock",
    "patient": f"beside {10 * NOISY_PART} callers who wait in line",
    "impatient": f"beside {ASKED_PER_S} calls a second",
}
JUDGED: Final = ("patient", "impatient")
Result = dict[str, Any]


def noise(kind: str, port: int, upstream_port: int, seconds: float) -> Plan | None:
    """What runs beside the quiet tenant, for so long."""
    served_per_s = SLOTS * 1000 // SERVICE_MS
    flood = round(ASKED_PER_S * seconds)
    if kind == "alone":
        return None
    if kind == "elsewhere":
        return Plan(upstream_port, model="bench-plain", calls=flood, rate=ASKED_PER_S, max_s=seconds + 3)
    if kind == "impatient":
        return Plan(port, model=MODEL, calls=flood, connections=600, rate=ASKED_PER_S, max_s=seconds + 3)
    calls = round(served_per_s * seconds)
    return Plan(port, model=MODEL, calls=calls, connections=10 * NOISY_PART, max_s=seconds + 3)


async def quiet(port: int, key: str, seconds: float) -> Result:
    """The quiet tenant's calls, evenly; each is timed, and asked how long it stood in line."""
    took_s: list[float] = []
    in_line_ms: list[float] = []
    calls = round(QUIET_PER_S * seconds)

    async def call(client: aiohttp.ClientSession, number: int, due_s: float) -> None:
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"Call {number}."}]}
        async with client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as reply:
            await reply.read()
            if reply.status == 200 and number >= 0:
                took_s.append(time.perf_counter() - due_s)
                in_line_ms.append(float(reply.headers.get("x-comptroller-waited-ms", 0)))

    bounds = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}, timeout=bounds) as client:
        # Two that are not timed open the connections.
        await asyncio.gather(call(client, -1, 0.0), call(client, -2, 0.0), return_exceptions=True)
        start_s = time.perf_counter()
        due = (call(client, number, start_s + number / QUIET_PER_S) for number in range(calls))
        await asyncio.gather(*due, return_exceptions=True)
    line = percentile(sorted(in_line_ms), 99) if in_line_ms else 0.0
    return {"calls": calls, "took_ms": [took * 1000 for took in took_s], "in_line_p99_ms": line}


@contextmanager
def gateway(directory: Path, upstream_port: int, keys: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """A gateway with the shares; gives its port and process id."""
    place = directory / "gateway"
    place.mkdir()
    path = write_config(place / "configuration", upstream_port, Governance.NONE)
    config = json.loads(path.read_text())
    config["models"] = {MODEL: config["models"]["bench-plain"]}
    config["keys"] = [
        {"name": name, "user": name, "team": name, "secret": f"${{KEY_{name.upper()}}}"} for name in sorted(keys)
    ]
    config["capacity"] = {"providers": {"mock": {"concurrent": SLOTS, "shares": SHARES, "wait": "10s"}}}
    config["loops"] = {"action": "off"}
    path.write_text(json.dumps(config))
    rows = [f"p, user:{name}, *, *, model:invoke, , allow" for name in keys]
    (path.parent / "policies/bench.csv").write_text("\n".join(rows) + "\n")
    expected = [{"as": {"user": name}, "model": MODEL, "expect": "allow", "because": "it is measured"} for name in keys]
    (path.parent / "policies/tests.yaml").write_text(json.dumps(expected))
    port = free_port()
    command = [str(COMPTROLLER), "serve", "--config", str(path), "--port", str(port)]
    environment = {f"KEY_{name.upper()}": secret for name, secret in keys.items()} | {"PYTHONPATH": str(ROOT)}
    with running(Server(command, port, "/readyz", environment, place, GATEWAY_CORE)) as pid:
        yield port, pid


def measure(seconds: float, rounds: int, directory: Path) -> Result:
    """Rounds of all rows in turn; the noise begins before what is measured, and ends after it."""
    results: Result = {kind: [] for kind in ROWS}
    keys = {name: make_secret(secrets.randbits(192)) for name in ("noisy", "quiet")}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    # A collection of the client's own would show as latency of the gateway.
    gc.disable()
    try:
        with (
            upstream(directory, max(cores)) as (upstream_port, _),
            gateway(directory, upstream_port, keys) as (port, pid),
        ):
            asyncio.run(quiet(port, keys["quiet"], 2))
            for number in range(rounds):
                for kind in list(ROWS) if number % 2 == 0 else reversed(ROWS):
                    print(f"round {number + 1} of {rounds}: {kind}", file=sys.stderr, flush=True)
                    plan = noise(kind, port, upstream_port, seconds + STARTING_S + 1)
                    results[kind].append(_window(plan, port, pid, seconds, keys))
                    gc.collect()
    finally:
        gc.enable()
        os.sched_setaffinity(0, cores)
    return results


def _window(plan: Plan | None, port: int, pid: int, seconds: float, keys: Mapping[str, str]) -> Result:
    made: list[Result] = []
    thread = threading.Thread(target=lambda: made.append(load(plan, keys["noisy"], LOAD_CORE)) if plan else None)
    thread.start()
    time.sleep(STARTING_S)
    before_ns, since_s = cpu_ns(pid), time.perf_counter()
    measured = asyncio.run(quiet(port, keys["quiet"], seconds))
    busy = (cpu_ns(pid) - before_ns) / 1e9 / (time.perf_counter() - since_s)
    thread.join()
    return {"quiet": measured, "noisy": made[0] if made else None, "busy": busy}


def table(results: Result) -> str:
    lines = [
        "| | quiet: served | p50 ms | p99 ms | p99 moved (95 %) | in line p99 | noisy: served/s | refused/s | core |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, title in ROWS.items():
        windows = results[kind]
        p50, p99 = (percentile(sorted(_took_ms(windows)), percent) for percent in (50, 99))
        change = "" if kind == "alone" else moved(results, kind)
        loud = [window["noisy"] for window in windows if window["noisy"]] if kind in JUDGED else []
        answered, refused = (f"{_per_s(loud, what):.0f}" if loud else "" for what in (_answered, _refused))
        line = max(window["quiet"]["in_line_p99_ms"] for window in windows)
        busy = sum(window["busy"] for window in windows) / len(windows)
        lines.append(
            f"| {title} | {_served(windows)} | {p50:.1f} | {p99:.1f} | {change} | {line:.0f} | {answered} | {refused} "
            f"| {100 * busy:.0f} % |"
        )
    lines.append(
        f"\n{len(results['alone'])} windows each, in turn, pooled. The gateway has a core to itself. A refused call "
        f"costs it {refused_us(results):.0f} us of CPU: what the last row takes beyond the row of those who wait."
    )
    return "\n".join(lines)


def moved(results: Result, kind: str) -> str:
    """How far the p99 of the quiet tenant stands from that alone."""
    ratio, low, high = _ratio(results, kind)
    return f"{100 * (ratio - 1):+.1f} % ({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f})"


def refused_us(results: Result) -> float:
    """CPU of the gateway for a refused call, in microseconds: the noisy tenant is served as much in both rows."""
    busy = {kind: sum(window["busy"] for window in results[kind]) / len(results[kind]) for kind in JUDGED}
    refused = _per_s([window["noisy"] for window in results["impatient"]], _refused)
    return 1e6 * (busy["impatient"] - busy["patient"]) / refused if refused else 0.0


def faults(results: Result) -> list[str]:
    """What breaks the promise: a call of the quiet tenant that failed, or a p99 that moved by more than 5 %."""
    found = []
    for kind in ROWS:
        failed = sum(window["quiet"]["calls"] - len(window["quiet"]["took_ms"]) for window in results[kind])
        found += [f"{kind}: {failed} calls of the quiet tenant failed"] if failed else []
    for kind in JUDGED:
        ratio, _, _ = _ratio(results, kind)
        found += [f"{kind}: p99 moved by {moved(results, kind)}"] if ratio > ALLOWED else []
    return found


def _ratio(results: Result, kind: str) -> tuple[float, float, float]:
    above, alone = ([window["quiet"]["took_ms"] for window in results[each]] for each in (kind, "alone"))
    return pooled_ratio(above, alone)


def _took_ms(windows: list[Result]) -> list[float]:
    return [took for window in windows for took in window["quiet"]["took_ms"]] or [0.0]


def _answered(loud: Result) -> int:
    return int(loud["answered"])


def _refused(loud: Result) -> int:
    return int(loud["errors"].get("status 429", 0))


def _per_s(loud: list[Result], what: Callable[[Result], int]) -> float:
    return sum(map(what, loud)) / sum(float(one["seconds"]) for one in loud)


def _served(windows: list[Result]) -> str:
    calls = sum(window["quiet"]["calls"] for window in windows)
    answered = sum(len(window["quiet"]["took_ms"]) for window in windows)
    return f"{100 * answered / calls:.2f} % of {calls:,}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a window (default 12)")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of all rows (default 12)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/capacity.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        results = measure(options.seconds, options.rounds, Path(directory))
    print(table(results))
    if options.write:
        write_between_markers(PAGE, table(results))
    found = faults(results)
    print("\n".join(found) or "the promise holds", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
