"""Every command in one table of contents."""

from typing import Annotated

import typer

from gateway.cli import alerts, books, keys, node, policy, requests
from gateway.cli.lazy import load
from gateway.cli.options import Group

app = typer.Typer(
    name="comptroller",
    cls=Group,
    help="A runtime control layer for AI usage: every call is identified, allowed, held against a budget and booked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"comptroller {load('importlib.metadata').version('comptroller')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


app.command()(node.demo)
app.command()(node.init)
app.command()(node.serve)
app.command()(node.mcp)
app.command()(node.connect)
app.command()(node.check)
app.command()(node.doctor)
app.command()(books.usage)
app.add_typer(keys.app, name="keys")
app.add_typer(books.limits, name="limits")
app.add_typer(books.sessions, name="sessions")
app.add_typer(requests.app, name="requests")
app.add_typer(alerts.app, name="alerts")
app.add_typer(policy.app, name="policy")
app.add_typer(books.audit, name="audit")
