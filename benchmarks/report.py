"""Turns the raw figures into the table of docs/performance.md and says which targets they meet."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Spread, spread
from benchmarks.lanes import DIRECT

BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
CEILING_SHARE = 0.9
COLUMNS = (
    "lane",
    "CPU us per call",
    "added p50 ms",
    "added p99 ms",
    "calls/s, 32 connections",
    "CPU us per event, together",
    "CPU us per event, paced",
    "added to first event ms",
    "MB at rest",
    "MB after",
)
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A lane's figures, each the median over the rounds with the lowest and the highest."""

    name: str
    title: str
    cpu_call_us: Spread | None
    added_p50_us: Spread | None
    added_p99_us: Spread | None
    calls_per_s: Spread | None
    cpu_burst_us: Spread | None
    cpu_paced_us: Spread | None
    added_first_event_us: Spread | None
    rss_rest_bytes: int
    rss_after_bytes: int


def rows(result: Result) -> list[Row]:
    direct = result["lanes"][DIRECT]["rounds"]
    return [_row(name, lane, direct) for name, lane in result["lanes"].items() if lane["rounds"]]


def _row(name: str, lane: Result, direct: list[Result]) -> Row:
    rounds = lane["rounds"]

    def of(phase: str, figure: str) -> Spread | None:
        return spread([round_[phase][figure] for round_ in rounds if round_[phase]["answered"]])

    def added(phase: str, times: str, percent: str) -> Spread | None:
        # Each round against the direct calls of the same round, so that slow drift of the machine falls out.
        pairs = zip(rounds, direct, strict=True)
        both = [(a[phase][times], b[phase][times]) for a, b in pairs if a[phase][times] and b[phase][times]]
        return spread([ours[percent] - (0 if name == DIRECT else base[percent]) for ours, base in both])

    return Row(
        name=name,
        title=lane["title"],
        cpu_call_us=of("calls", "cpu_us_per_call"),
        added_p50_us=added("latency", "latency_us", "p50"),
        added_p99_us=added("latency", "latency_us", "p99"),
        calls_per_s=of("calls", "calls_per_s"),
        cpu_burst_us=of("burst", "cpu_us_per_event"),
        cpu_paced_us=of("paced", "cpu_us_per_event"),
        added_first_event_us=added("paced", "first_event_us", "p50"),
        rss_rest_bytes=lane["rss_rest_bytes"],
        rss_after_bytes=lane["rss_after_bytes"],
    )


def table(result: Result) -> str:
    """Markdown. The latencies of the mock itself are whole ones, those of the lanes what they add to it."""
    measured = rows(result)
    ceiling = next((row.calls_per_s.median for row in measured if row.name == DIRECT and row.calls_per_s), 0.0)
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    for row in measured:
        limited = (
            row.name != DIRECT and row.calls_per_s is not None and row.calls_per_s.median > ceiling * CEILING_SHARE
        )
        cells = [
            row.title + (" (whole times)" if row.name == DIRECT else ""),
            _figure(row.cpu_call_us, _short),
            _figure(row.added_p50_us, _milliseconds),
            _figure(row.added_p99_us, _milliseconds),
            _figure(row.calls_per_s, _short, ranged=False) + (" (limited by the mock)" if limited else ""),
            _figure(row.cpu_burst_us, _short),
            _figure(row.cpu_paced_us, _short),
            _figure(row.added_first_event_us, _milliseconds),
            f"{row.rss_rest_bytes / 1e6:.0f}",
            f"{row.rss_after_bytes / 1e6:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    missing = [lane for lane in result["lanes"].values() if "missing" in lane]
    # Only the first clause: what follows is the log of a program on this machine.
    lines += [f"| {lane['title']} | not measured: {lane['missing'].partition(':')[0]} |" + " |" * 8 for lane in missing]
    return "\n".join(lines)


def _figure(found: Spread | None, shown: Callable[[float], str], *, ranged: bool = True) -> str:
    if found is None:
        return "-"
    around = f" ({shown(found.low)}-{shown(found.high)})" if ranged else ""
    return shown(found.median) + around


def _short(number: float) -> str:
    return f"{number:,.1f}" if abs(number) < 100 else f"{number:,.0f}"


def _milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f}"


@dataclass(frozen=True, slots=True)
class Verdict:
    said: str
    value: float
    most: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.most

    def line(self) -> str:
        state = "met" if self.met else "MISSED"
        return f"- {state}: {self.said}: {self.value:,.2f} {self.unit}, at most {self.most:g}"


def verdicts(result: Result) -> list[Verdict]:
    """The targets of the design, as far as their lanes were measured. Ratios are of one run, so they carry over."""
    by_name = {row.name: row for row in rows(result)}
    found = []
    for server, times_relay, times_less in (("uvicorn", 3.0, 24.0), ("hypercorn", 4.2, 17.0)):
        ours = by_name.get(f"all-{server}")
        if ours is None or ours.cpu_call_us is None:
            continue
        cpu_us = ours.cpu_call_us.median
        relay, litellm = by_name.get("relay-uvicorn"), by_name.get("litellm")
        if relay is not None and relay.cpu_call_us is not None:
            said = f"all governance on {server}, CPU per call against the bare relay on uvicorn"
            found.append(Verdict(said, cpu_us / relay.cpu_call_us.median, times_relay, "times"))
        if litellm is not None and litellm.cpu_call_us is not None:
            said = f"all governance on {server}, CPU per call against LiteLLM without governance"
            found.append(Verdict(said, cpu_us / litellm.cpu_call_us.median, 1 / times_less, "times"))
        if ours.added_p50_us is not None:
            said = f"all governance on {server}, added p50 at one connection"
            found.append(Verdict(said, ours.added_p50_us.median / 1000, 1.0, "ms"))
        found.append(Verdict(f"all governance on {server}, resident at rest", ours.rss_rest_bytes / 1e6, 120, "MB"))
        found += _stream_verdicts(server, ours, by_name.get(f"relay-{server}"))
    return found


def _stream_verdicts(server: str, ours: Row, relay: Row | None) -> list[Verdict]:
    if relay is None:
        return []
    pairs = (("together", ours.cpu_burst_us, relay.cpu_burst_us), ("paced", ours.cpu_paced_us, relay.cpu_paced_us))
    said = f"governed stream on {server}, CPU per event above the bare relay on it"
    return [Verdict(f"{said}, {how}", a.median - b.median, 15.0, "us") for how, a, b in pairs if a and b]


def write_between_markers(path: Path, text: str) -> None:
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name} has no place for the table: {BEGIN} ... {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
