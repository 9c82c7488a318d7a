"""What the runs say, as the tables of docs/loops.md."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.runaway.measure import Run


def table(lost: Sequence[Run], honest: Sequence[Run], spent: Mapping[str, float]) -> str:
    lines = ["| runaway agent | stopped by | calls until then | USD until then |", "|---|---|---|---|"]
    for run in lost:
        by = run.detector or run.stopped or "**nothing**"
        lines.append(f"| {_words(run.name)} | `{by}` | {run.calls} | {spent.get(run.session_id, 0.0):.4f} |")
    lines += ["", "| honest agents | traces | calls | with a warning | stopped |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(run.name for run in honest):
        lines.append(_honest_row(_words(name), [run for run in honest if run.name == name]))
    lines.append(_honest_row("**all**", honest))
    return "\n".join(lines)


def faults(lost: Iterable[Run], honest: Iterable[Run]) -> list[str]:
    """What must not be."""
    missed = [f"{run.name} was not stopped" for run in lost if not run.stopped]
    return missed + [
        f"{run.name} was stopped after {run.calls} calls: {run.stopped} {run.detector}" for run in honest if run.stopped
    ]


def _honest_row(name: str, runs: Sequence[Run]) -> str:
    calls, warned, stopped = sum(r.calls for r in runs), sum(r.warned for r in runs), sum(1 for r in runs if r.stopped)
    return f"| {name} | {len(runs)} | {calls} | {warned} | {stopped} |"


def _words(name: str) -> str:
    return name.replace("_", " ")
