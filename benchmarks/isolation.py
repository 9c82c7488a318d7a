"""Does a noisy tenant move a quiet one? A gateway with shares before a mock provider with a fixed service time.

python -m benchmarks.isolation [--seconds 30] [--rounds 3] [--write]     --write puts the table into docs/capacity.md
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.figures import percentile, spread, summary_us
from benchmarks.gateway_config import Governance, write_config
from benchmarks.lanes import COMPTROLLER, ROOT
from benchmarks.load import Plan
from benchmarks.measure import load, upstream
from benchmarks.processes import Server, free_port, running
from benchmarks.report import write_between_markers
from gateway.core.identity import make_secret

PAGE = ROOT / "docs/capacity.md"
SERVICE_MS = 200
MODEL: Final = f"bench-plain-{SERVICE_MS}ms"
SLOTS = 10
SHARES: Final = {"team:noisy": 3, "team:quiet": 1}
QUIET_PER_S = 5.0
NOISY_PART = 6
ALLOWED = 1.05
ROWS: Final = {
    "alone": "the quiet tenant alone",
    "patient": f"beside {10 * NOISY_PART} callers who wait in line",
    "impatient": f"beside {10 * NOISY_PART * 1000 // SERVICE_MS} calls a second",
}
Result = dict[str, Any]


def noise(kind: str, port: int, seconds: float) -> Plan | None:
    """Ten times what the noisy tenant's part can serve."""
    if kind == "alone":
        return None
    served_per_s = SLOTS * 1000 // SERVICE_MS
    if kind == "patient":
        connections, rate = 10 * NOISY_PART, 0.0
        calls = round(served_per_s * seconds)
    else:
        rate = 10.0 * NOISY_PART * 1000 / SERVICE_MS
        connections, calls = 600, round(rate * seconds)
    return Plan(port=port, model=MODEL, calls=calls, connections=connections, rate=rate, max_s=seconds + 3)


async def quiet(port: int, key: str, seconds: float) -> Result:
    """The quiet tenant's calls, evenly; each is timed, and asked how long it stood in line."""
    took_s: list[float] = []
    in_line_ms: list[float] = []

    async def call(client: aiohttp.ClientSession, number: int, due_s: float) -> None:
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"Call {number}."}]}
        async with client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as reply:
            await reply.read()
            if reply.status == 200:
                took_s.append(time.perf_counter() - due_s)
                in_line_ms.append(float(reply.headers.get("x-comptroller-waited-ms", 0)))

    calls, start_s = round(QUIET_PER_S * seconds), time.perf_counter()
    bounds = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}, timeout=bounds) as client:
        due = (call(client, number, start_s + number / QUIET_PER_S) for number in range(calls))
        await asyncio.gather(*due, return_exceptions=True)
    line = percentile(sorted(in_line_ms), 99) if in_line_ms else 0.0
    return {"calls": calls, "answered": len(took_s), "latency_us": summary_us(took_s), "in_line_p99_ms": line}


@contextmanager
def gateway(directory: Path, upstream_port: int, keys: Mapping[str, str]) -> Iterator[int]:
    """A gateway with the shares; gives its port."""
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
    with running(Server(command, port, "/readyz", environment, place, None)):
        yield port


def measure(seconds: float, rounds: int, directory: Path) -> Result:
    """Rounds of all rows in turn; the noise begins a second before what is measured, and ends after it."""
    results: Result = {kind: [] for kind in ROWS}
    keys = {name: make_secret(secrets.randbits(192)) for name in ("noisy", "quiet")}
    with upstream(directory, None) as (upstream_port, _), gateway(directory, upstream_port, keys) as port:
        asyncio.run(quiet(port, keys["quiet"], 2))
        for number in range(rounds):
            for kind in ROWS:
                print(f"round {number + 1} of {rounds}: {kind}", file=sys.stderr, flush=True)
                results[kind].append(_round(kind, port, seconds, keys))
    return results


def _round(kind: str, port: int, seconds: float, keys: Mapping[str, str]) -> Result:
    plan = noise(kind, port, seconds + 3)
    made: list[Result] = []
    thread = threading.Thread(target=lambda: made.append(load(plan, keys["noisy"], None)) if plan else None)
    thread.start()
    time.sleep(1.0)
    measured = asyncio.run(quiet(port, keys["quiet"], seconds))
    thread.join()
    return {"quiet": measured, "noisy": made[0] if made else None}


def table(results: Result) -> str:
    lines = [
        "| | quiet: served | p50 ms | p99 ms | moved | p99 in line ms | noisy: served a second | refused |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, title in ROWS.items():
        rounds = results[kind]
        p50, p99 = (_middle(rounds, percent) for percent in ("p50", "p99"))
        moved = "" if kind == "alone" else f"{100 * (p99 / _middle(results['alone'], 'p99') - 1):+.1f} %"
        loud = [round_["noisy"] for round_ in rounds if round_["noisy"]]
        per_s = f"{sum(one['answered'] for one in loud) / sum(one['seconds'] for one in loud):.0f}" if loud else ""
        refused = f"{sum(one['errors'].get('status 429', 0) for one in loud):,}" if loud else ""
        line = max(round_["quiet"]["in_line_p99_ms"] for round_ in rounds)
        served = _served(rounds)
        lines.append(f"| {title} | {served} | {p50:.1f} | {p99:.1f} | {moved} | {line:.0f} | {per_s} | {refused} |")
    count = len(results["alone"])
    lines.append(f"\nMedian of {count} rounds each, interleaved.")
    return "\n".join(lines)


def faults(results: Result) -> list[str]:
    """What breaks the promise: a call of the quiet tenant that failed, or a p99 that moved by more than 5 %."""
    alone = _middle(results["alone"], "p99")
    found = []
    for kind in ROWS:
        failed = sum(round_["quiet"]["calls"] - round_["quiet"]["answered"] for round_ in results[kind])
        found += [f"{kind}: {failed} calls of the quiet tenant failed"] if failed else []
        p99 = _middle(results[kind], "p99")
        found += [f"{kind}: p99 {p99:.1f} ms against {alone:.1f} ms"] if p99 > alone * ALLOWED else []
    return found


def _middle(rounds: list[Result], percent: str) -> float:
    found = spread([round_["quiet"]["latency_us"][percent] for round_ in rounds if round_["quiet"]["answered"]])
    return found.median / 1000 if found is not None else 0.0


def _served(rounds: list[Result]) -> str:
    calls = sum(round_["quiet"]["calls"] for round_ in rounds)
    answered = sum(round_["quiet"]["answered"] for round_ in rounds)
    return f"{100 * answered / calls:.2f} % of {calls:,}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a row in a round (default 30)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all rows (default 3)")
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
