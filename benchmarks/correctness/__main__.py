"""`python -m benchmarks.correctness`: drives real gateways where others go wrong; a figure and a verdict for each.

Raw figures go to benchmarks/results/ (not in git); `--write` puts the table into docs/promises.md. Ends by itself:
every benchmark has a time in which it must be done. Exit code 1 = a promise did not hold.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from benchmarks.correctness.benches import BENCHES, Bench
from benchmarks.correctness.report import Report
from benchmarks.correctness.site import Site
from benchmarks.lanes import ROOT
from benchmarks.report import write_between_markers
from benchmarks.run import RESULTS
from tests.support.fixtures import UpstreamProcess

DOCUMENT = ROOT / "docs" / "promises.md"
ROW = re.compile(r"^\| (\w+) \| .+ \| (?:held|\*\*broken\*\*) \| .+ \|$", re.MULTILINE)


class OutOfTime(Exception):
    """A benchmark did not end in its time."""


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    names = [name.upper() for name in options.only.split(",") if name]
    chosen = [bench for bench in BENCHES if not names or bench.name in names]
    if not chosen:
        print(f"There are: {', '.join(bench.name for bench in BENCHES)}", file=sys.stderr)
        return 2
    started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    directory = RESULTS / f"correctness-{started}"
    directory.mkdir(parents=True)
    found = {}
    for bench in chosen:
        report, seconds = _timed(bench, directory, small=options.small)
        found[bench] = report
        raw = {"figure": report.figure, "broken": report.broken, "seconds": seconds, "raw": report.raw}
        (directory / f"{bench.name}.json").write_text(json.dumps(raw, default=str))
        print(f"{bench.name:<4} {'pass' if report.passed else 'FAIL'}  {report.figure}  [{seconds:.0f} s]", flush=True)
        for fault in report.broken[:20]:
            print(f"       {fault}", flush=True)
    for name, why in ELSEWHERE:
        print(f"{name:<4} {why}")
    if options.write:
        day = f"{started[:4]}-{started[4:6]}-{started[6:8]}"
        write_between_markers(DOCUMENT, table(DOCUMENT.read_text(), found, day, small=options.small))
    return 0 if all(report.passed for report in found.values()) else 1


ELSEWHERE = (("C5", "two replicas and a store outage: comes with several nodes, which are not built yet"),)


def run_bench(bench: Bench, directory: Path, *, small: bool) -> Report:
    """In a directory of its own, with a provider of its own; whatever it started has ended afterwards."""
    upstream = UpstreamProcess()
    try:
        with Site(directory / bench.name, upstream, small=small) as site:
            return asyncio.run(bench.run(site))
    finally:
        upstream.stop()


def _timed(bench: Bench, directory: Path, *, small: bool) -> tuple[Report, float]:
    began_s = time.monotonic()
    previous = signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(bench.seconds_max)
    try:
        report = run_bench(bench, directory, small=small)
    except Exception as error:  # noqa: BLE001 - a benchmark that breaks off has proven nothing, and the others go on
        traceback.print_exc()
        report = Report("broke off", (f"{type(error).__name__}: {error}"[:500],), {})
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return report, time.monotonic() - began_s


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise OutOfTime("it did not end in its time")


def table(page: str, found: Mapping[Bench, Report], day: str, *, small: bool) -> str:
    """The table of the page with the rows of what was run now; the others stay as they were."""
    rows = {match[1]: match[0] for match in ROW.finditer(page)}
    for bench, report in found.items():
        verdict, size = "held" if report.passed else "**broken**", "small" if small else "full"
        rows[bench.name] = f"| {bench.name} | {bench.title} | {report.figure} | {verdict} | {day}, {size} |"
    lines = [rows.get(bench.name, f"| {bench.name} | {bench.title} | | not run | |") for bench in BENCHES]
    lines += [f"| {name} | {why} | | not run | |" for name, why in ELSEWHERE]
    return "\n".join(["| | benchmark | figure | | date, size |", "|---|---|---|---|---|", *lines])


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.correctness", description=__doc__)
    parser.add_argument("--only", default="", help="names with commas, e.g. C1,C4")
    parser.add_argument("--small", action="store_true", help="the sizes that the tests run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/promises.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
