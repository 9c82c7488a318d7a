"""`python -m benchmarks.soak`: does memory stay flat over thousands of sessions? A day of sessions in some minutes.

Each session makes three calls and two streams; one stream in twenty is left by its client in the middle. Resident
memory is read after each part; the slope over the last three quarters counts. Ends by itself: all parts are bounded.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import slope
from benchmarks.lanes import Lane, Site, all_lanes
from benchmarks.load import Plan
from benchmarks.measure import load, upstream
from benchmarks.processes import NotReady, rss_bytes, running
from benchmarks.run import RESULTS, key_for

CALLS_PER_SESSION = 3
STREAMS_PER_SESSION = 2
LEAVE_EVERY = 20
PARTS = 20
CONNECTIONS = 16
PART_MAX_S = 120.0
SETTLE_S = 0.5
STREAM_MODEL = "bench-paced-40-2ms"


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    lane = next((each for each in all_lanes() if each.name == options.lane and each.server is not None), None)
    lack = f"no lane is called {options.lane}" if lane is None else lane.lacks()
    if lane is None or lack:
        print(f"soak: {lack}", file=sys.stderr)
        return 3
    directory = RESULTS / time.strftime("soak-%Y%m%dT%H%M%SZ", time.gmtime())
    directory.mkdir(parents=True)
    try:
        report = soak(lane, options.sessions, directory)
    except NotReady as problem:
        print(f"soak: {problem}", file=sys.stderr)
        return 3
    (directory / "soak.json").write_text(json.dumps(report))
    print(json.dumps({name: value for name, value in report.items() if name != "samples"}, indent=1))
    flat = report["slope_mb_per_1000_sessions"] <= options.slope_max_mb
    return 0 if flat and not report["errors"] else 1


def soak(lane: Lane, sessions: int, directory: Path) -> dict[str, Any]:
    assert lane.server is not None
    key = key_for([lane])
    errors: list[dict[str, int]] = []
    left = 0
    with upstream(directory, 1) as (upstream_port, _):
        place = directory / lane.name
        place.mkdir()
        server = lane.server(Site(place, upstream_port, 0, key))
        with running(server) as pid:
            samples = [(0, rss_bytes(pid))]
            started_s = time.monotonic()
            for part in range(PARTS):
                for plan in _plans(server.port, part, sessions // PARTS):
                    result = load(plan, key, 1)
                    left += result["left"]
                    if result["errors"]:
                        errors.append(result["errors"])
                time.sleep(SETTLE_S)
                samples.append(((part + 1) * (sessions // PARTS), rss_bytes(pid)))
                print(f"{samples[-1][0]} sessions, {samples[-1][1] / 1e6:.1f} MB", file=sys.stderr, flush=True)
            seconds = time.monotonic() - started_s
    steady = [(done / 1000, rss / 1e6) for done, rss in samples[len(samples) // 4 :]]
    return {
        "lane": lane.name,
        "sessions": samples[-1][0],
        "streams_left_by_the_client": left,
        "errors": errors,
        "seconds": round(seconds, 1),
        "rss_rest_mb": round(samples[0][1] / 1e6, 1),
        "rss_end_mb": round(samples[-1][1] / 1e6, 1),
        "slope_mb_per_1000_sessions": round(slope(steady), 3),
        "samples": samples,
    }


def _plans(port: int, part: int, sessions: int) -> list[Plan]:
    calls = Plan(
        port=port,
        calls=sessions * CALLS_PER_SESSION,
        connections=CONNECTIONS,
        calls_per_session=CALLS_PER_SESSION,
        first_session=part * sessions,
        max_s=PART_MAX_S,
    )
    streams = Plan(
        port=port,
        model=STREAM_MODEL,
        calls=sessions * STREAMS_PER_SESSION,
        connections=CONNECTIONS,
        stream=True,
        calls_per_session=STREAMS_PER_SESSION,
        first_session=part * sessions,
        leave_every=LEAVE_EVERY,
        max_s=PART_MAX_S,
    )
    return [calls, streams]


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--lane", default="all-hypercorn", help="a lane of benchmarks.run (default all-hypercorn)")
    parser.add_argument("--sessions", type=int, default=2000, help="sessions in all (default 2000)")
    parser.add_argument(
        "--slope-max-mb",
        type=float,
        default=2.0,
        help="growth per 1,000 sessions that still counts as flat (default 2)",
    )
    options = parser.parse_args(arguments)
    if options.sessions < PARTS:
        parser.error(f"--sessions must be at least {PARTS}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
