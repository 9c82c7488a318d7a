"""`python -m benchmarks.run`: measures what the gateway costs beside other servers, on this machine, in some minutes.

Raw figures go to benchmarks/results/ (not in git); `--write` puts the table into docs/performance.md.
"""

import argparse
import fnmatch
import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.lanes import DIRECT, ROOT, Lane, all_lanes, virtual_key
from benchmarks.measure import Result, Sizes, faults, measure
from benchmarks.report import table, verdicts, write_between_markers

RESULTS = Path(__file__).parent / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
PACKAGES = ("uvicorn", "httptools", "uvloop", "Hypercorn", "aiohttp", "Quart", "comptroller")
QUICK: Final = {"calls": 600, "rounds": 2}


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if sys.platform != "linux":
        print("The benchmarks read /proc and pin processes to cores: they need Linux.", file=sys.stderr)
        return 3
    chosen = _chosen(options.lanes)
    if not chosen:
        names = ", ".join(lane.name for lane in all_lanes())
        print(f"No lane is called that. There are: {names}", file=sys.stderr)
        return 2
    lacking = {lane.name: lane.lacks() for lane in chosen}
    for name, lack in lacking.items():
        if lack:
            print(f"{name}: not measured, {lack}", file=sys.stderr)
    lanes = [lane for lane in chosen if not lacking[lane.name]]
    sizes = Sizes(options.calls, options.rounds, gateway_core=options.gateway_core, load_core=options.load_core)
    started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    directory = RESULTS / started
    directory.mkdir(parents=True)
    result = measure(lanes, sizes, directory, key_for(lanes), _say)
    result |= {"started": started, "machine": _machine(), "versions": _versions()}
    for lane in chosen:
        if lacking[lane.name]:
            result["lanes"][lane.name] = {"title": lane.title, "rounds": [], "missing": lacking[lane.name]}
    (directory / "raw.json").write_text(json.dumps(result))
    text = _text(result)
    print(text)
    if options.write:
        write_between_markers(DOCUMENT, text)
    wrong = faults(result)
    for fault in wrong:
        print(f"FAULT {fault}", file=sys.stderr)
    return 1 if wrong else 0


def key_for(lanes: list[Lane]) -> str:
    """What the loader shows; lanes that are not ours ask for none."""
    return (virtual_key() if any(lane.ours for lane in lanes) else None) or "none"


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--lanes", default="", help="names or patterns with commas, e.g. direct,relay-*,all-uvicorn")
    parser.add_argument("--calls", type=int, help="calls a round and lane (default 4000)")
    parser.add_argument("--rounds", type=int, help="rounds (default 6; an even number is ABBA)")
    parser.add_argument("--quick", action="store_true", help="a rough look: 2 rounds of 600 calls")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--gateway-core", type=int, default=0, help="core of the measured server (default 0)")
    parser.add_argument("--load-core", type=int, default=1, help="core of the loader and the mock upstream (default 1)")
    options = parser.parse_args(arguments)
    options.calls = options.calls or (QUICK["calls"] if options.quick else 4000)
    options.rounds = options.rounds or (QUICK["rounds"] if options.quick else 6)
    return options


def _chosen(patterns: str) -> list[Lane]:
    lanes = all_lanes()
    if not patterns:
        return [lane for lane in lanes if lane.by_default]
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    chosen = [lane for lane in lanes if any(fnmatch.fnmatchcase(lane.name, pattern) for pattern in wanted)]
    # What a lane adds can only be said against the mock itself.
    return [lane for lane in lanes if lane.name == DIRECT or lane in chosen] if chosen else []


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _machine() -> str:
    models = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{len(models) or '?'} cores, {models[0] if models else platform.machine()}"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _text(result: Result) -> str:
    sizes = result["sizes"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    said = (
        f"{result['started'][:4]}-{result['started'][4:6]}-{result['started'][6:8]}, {result['machine']}; {versions}. "
        f"Median of {sizes['rounds']} rounds of {sizes['calls']} calls (lowest-highest)."
    )
    judged = "\n".join(verdict.line() for verdict in verdicts(result))
    return "\n\n".join(part for part in (said, table(result), judged) if part)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
