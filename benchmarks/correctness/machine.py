"""M: the ledger, the limiter and a tree of sessions against a plain model, for many thousand steps in one run."""

import asyncio

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.correctness.report import Report
from benchmarks.correctness.site import Site
from tests.proofs.ledger_and_limits import LedgerAndLimits

STEPS_A_RUN = 100
STEPS_MIN = 20_000


async def run(site: Site) -> Report:
    """The steps are taken in a thread, as each has an event loop of its own."""
    examples = site.size(300, 5)
    LedgerAndLimits.steps = 0
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS_A_RUN,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    broken: list[str] = []
    try:
        await asyncio.to_thread(run_state_machine_as_test, LedgerAndLimits, settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever it is, the ledger and the model differ
        broken.append(f"{type(error).__name__}: {error}"[:1000])
    steps = LedgerAndLimits.steps
    if not site.small and steps < STEPS_MIN:
        broken.append(f"only {steps:,} steps")
    figure = f"{steps:,} steps of calls, crashes, full disks, reloads and edges: {len(broken)} differences to the model"
    return Report(figure, tuple(broken), {"steps": steps, "examples": examples})
