"""comptroller demo, init, serve, mcp, connect, check, doctor: a node's own life, and how programs reach it."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.lazy import load
from gateway.cli.options import Config, Json

Port = Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")]


def demo(
    port: Port = None,
    keep: Annotated[Path | None, typer.Option(help="Leave configuration and books in this directory.")] = None,
    as_json: Json = False,
) -> None:
    """Good and runaway agents on a simulated provider: what was stopped, and why. Needs no key and no network."""
    raise typer.Exit(load("gateway.cli.demo").run(port=port, keep=keep, as_json=as_json))


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a commented configuration, a policy with its tests and a first admin token; runnable at once."""
    raise typer.Exit(load("gateway.cli.initialise").run(directory, as_json=as_json))


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Port = None,
    server: Annotated[str | None, typer.Option(help="hypercorn or uvicorn.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than 1 is not built yet.")] = 1,
    as_json: Json = False,
) -> None:
    """Serve until told to stop; without a configuration, the providers found in the environment."""
    run = load("gateway.cli.serving").run
    raise typer.Exit(run(config, host=host, port=port, server=server, workers=workers, as_json=as_json))


def mcp(
    url: Annotated[str | None, typer.Option(help="The gateway; else COMPTROLLER_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Standard output is JSON-RPC in any case.")] = False,
) -> None:
    """Stdio front door for MCP clients that speak only stdio. Takes the key from COMPTROLLER_API_KEY."""
    raise typer.Exit(load("gateway.cli.stdio").run(url))


def connect(
    client: Annotated[str, typer.Argument(help="claude-code, codex, gemini-cli, opencode, cursor, openai ...")],
    url: Annotated[str | None, typer.Option(help="The gateway; else COMPTROLLER_URL.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to start with; else the first that the key may use.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the files; settings that are there stay.")] = False,
    directory: Annotated[Path, typer.Option(help="The project that files belong to.")] = Path(),
    as_json: Json = False,
) -> None:
    """What a coding agent or library needs to go through this gateway: environment, files, a first command."""
    run = load("gateway.cli.connecting").run
    raise typer.Exit(run(client, url, model, directory, write=write, as_json=as_json))


def check(config: Config = None, as_json: Json = False) -> None:
    """Everything that a start checks, with file, line and column of each fault; exit 1 if there is any."""
    raise typer.Exit(load("gateway.cli.checking").run(config, as_json=as_json))


def doctor(config: Config = None, as_json: Json = False) -> None:
    """Versions, fsync speed, clock, ports, permissions, reachability; each with its fix."""
    raise typer.Exit(load("gateway.cli.diagnosis").run(config, as_json=as_json))
