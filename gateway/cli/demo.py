"""`comptroller demo`: a real gateway in a process of its own, agents over HTTP and MCP, and what the books say after.

Exit code 1 if the books do not add up to what the agents were told.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from gateway.cli.demo_gateway import DemoFailed, Gateway, running
from gateway.cli.demo_scenes import SCENES, Scene, Stage, told_cost
from gateway.cli.demo_setup import Ground, lay_out
from gateway.cli.demo_telling import Teller
from gateway.cli.output import FINDING, OK, UNAVAILABLE, decimal, fail, print_json, table

INTERRUPTED = 130
GROUPS = ("user", "agent", "model")
COLUMNS = (*GROUPS, "calls", "denied", "input_tokens", "output_tokens", "cost_usd")


def run(*, port: int | None, keep: Path | None, as_json: bool) -> int:
    """Returns the exit code."""
    started_s = time.monotonic()
    teller = Teller(silent=as_json)
    with ExitStack() as stack:
        directory = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="comptroller-demo-")))
        ground = lay_out(directory)
        try:
            story = asyncio.run(_play(ground, port or 0, teller))
        except DemoFailed as error:
            fail(str(error), UNAVAILABLE)
        except httpx2.HTTPError as error:
            fail(f"the gateway stopped answering: {error}", UNAVAILABLE)
        except KeyboardInterrupt:
            return INTERRUPTED
    story["seconds"] = round(time.monotonic() - started_s, 1)
    if as_json:
        print_json(story)
    else:
        _what_next(teller, keep, story["seconds"])
    return OK if story["books"]["agree"] else FINDING


async def _play(ground: Ground, port: int, teller: Teller) -> dict[str, Any]:
    async with running(ground, port) as gateway:
        status = await gateway.admin("GET", "/status")
        teller.heading(f"Comptroller {status['version']} serves at {gateway.url}")
        teller.paragraph(
            "The provider is simulated: no key is needed, and nothing leaves this machine. Each agent has a key of its "
            "own, and each run of an agent (a session) has a budget in tokens and in money."
        )
        stage, scenes = Stage(ground, gateway), list[Scene]()
        for number, play in enumerate(SCENES, start=1):
            scene = await play(stage)
            _end_if_interrupted()
            scenes.append(scene)
            teller.scene(number, scene)
        books = await _books(gateway, scenes)
        _end_if_interrupted()
    teller.line()
    teller.heading(f"{len(SCENES) + 1}. Who spent what")
    _tell_books(teller, books)
    return {
        "version": status["version"],
        "url": gateway.url,
        "scenes": [{"name": scene.name, "title": scene.title, **scene.facts} for scene in scenes],
        **books,
    }


def _end_if_interrupted() -> None:
    """A library that waited just then may have swallowed the cancellation that Ctrl-C is: `asyncio.wait_for` does on
    Python 3.11 where what it waits for is done in the same turn. It is remembered all the same."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _books(gateway: Gateway, scenes: Sequence[Scene]) -> dict[str, Any]:
    usage = await gateway.usage(GROUPS, sum(scene.answered for scene in scenes))
    audit = await gateway.admin("GET", "/audit/verify")
    booked = sum((Decimal(decimal(row["cost_usd"])) for row in usage), Decimal(0))
    told = told_cost(scenes)
    return {
        "usage": usage,
        "audit": audit,
        "books": {
            "told_to_agents_usd": float(told),
            "booked_usd": float(booked),
            "agree": bool(audit["ok"]) and told == booked,
        },
    }


def _tell_books(teller: Teller, books: Mapping[str, Any]) -> None:
    if not teller.silent:
        table(COLUMNS, books["usage"], empty="Nothing was booked.")
    sums, audit = books["books"], books["audit"]
    verdict = "verifies" if audit["ok"] else "DOES NOT VERIFY"
    teller.line()
    teller.paragraph(
        f"The agents were told costs of {decimal(sums['told_to_agents_usd'])} USD in their replies; the books say "
        f"{decimal(sums['booked_usd'])} USD. The audit log of {audit['rows']} rows {verdict}: each row is chained to "
        "the one before it by a hash, so a changed row would show."
    )


def _what_next(teller: Teller, kept: Path | None, seconds: float) -> None:
    command = _command()
    lines = [
        (f"{command} init my-gateway", "a gateway of your own, to edit and run"),
        (f"{command} serve", "or one without any file, with the provider keys it finds"),
        (f"{command} demo --keep DIR", "this demo, with its files left to look at"),
    ]
    if kept is not None:
        lines[-1] = (f"{command} serve --config {kept / 'comptroller.yaml'}", "go on with what this demo left behind")
    width = max(len(line) for line, _ in lines)
    teller.line()
    teller.heading(f"That took {seconds} s. What next:")
    for line, why in lines:
        teller.line(f"   {line:<{width}}    {why}")


def _command() -> str:
    """The program as this shell would call it."""
    if shutil.which("comptroller"):
        return "comptroller"
    called = Path(sys.argv[0]).absolute()
    if not called.name.startswith("comptroller"):
        return "comptroller"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
