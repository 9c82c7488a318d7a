"""C9 and C10, which have benchmarks of their own: runaway agents (docs/loops.md), and tenants that do not feel each
other (docs/capacity.md)."""

import asyncio
import secrets
import sys

from benchmarks import isolation
from benchmarks.correctness.report import Report
from benchmarks.correctness.site import Site
from benchmarks.processes import Server, free_port, running
from benchmarks.runaway.gateway_files import write_files
from benchmarks.runaway.honest import HONEST
from benchmarks.runaway.measure import chosen, play_all, spent_usd
from benchmarks.runaway.provider import Provider
from benchmarks.runaway.runaways import RUNAWAYS
from benchmarks.runaway.table import faults
from gateway.core.identity import make_secret
from tests.support.gateway import ROOT

AT_ONCE = 4


async def runaways(site: Site) -> Report:
    """Every shape of a runaway agent and honest agents, at the defaults of a gateway."""
    key, port, directory = make_secret(secrets.randbits(192)), free_port(), site.place()
    shapes, traces = site.size(len(RUNAWAYS), 3), site.size(100, 3)
    with Provider() as provider:
        config = write_files(directory, provider.port)
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(config), "--port", str(port)]
        environment = {"BENCH_KEY": key, "PYTHONPATH": str(ROOT)}
        with running(Server(command, port, "/readyz", environment, directory, None)):
            url = f"http://127.0.0.1:{port}"
            lost = await play_all(url, key, chosen(RUNAWAYS, shapes), AT_ONCE)
            honest = await play_all(url, key, chosen(HONEST, traces), AT_ONCE)
        spent = spent_usd(directory / "books.db")
    stopped = [run for run in lost if run.stopped]
    dearest = max(spent.get(run.session_id, 0.0) for run in lost)
    figure = (
        f"{len(stopped)} of {len(lost)} runaways stopped after at most {max(run.calls for run in lost)} calls and "
        f"{dearest:.4f} USD; {sum(bool(run.stopped) for run in honest)} of {len(honest)} honest traces stopped"
    )
    raw = {"lost": [(run.name, run.calls, run.detector) for run in lost], "honest": len(honest)}
    return Report(figure, tuple(faults(lost, honest)), raw)


async def tenants(site: Site) -> Report:
    """A quiet tenant alone, and beside one at ten times its share."""
    results = await asyncio.to_thread(isolation.measure, site.size(12, 3), site.size(12, 1), site.place())
    patient, impatient = (isolation.moved(results, kind) for kind in isolation.JUDGED)
    figure = (
        f"p99 of a quiet tenant moved by {patient} beside a noisy one who waits, by {impatient} beside one who floods; "
        f"a refused call costs {isolation.refused_us(results):.0f} us of CPU"
    )
    return Report(figure, tuple(isolation.faults(results)), {"results": results})
