"""Every command in one table of contents."""

import typer

from gateway.cli import books, keys, node, policy

app = typer.Typer(
    name="comptroller",
    help="A runtime control layer for AI usage: every call is identified, allowed, held against a budget and booked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(node.demo)
app.command()(node.init)
app.command()(node.serve)
app.command()(node.mcp)
app.command()(node.check)
app.command()(node.doctor)
app.command()(books.usage)
app.add_typer(keys.app, name="keys")
app.add_typer(books.limits, name="limits")
app.add_typer(books.sessions, name="sessions")
app.add_typer(policy.app, name="policy")
app.add_typer(books.audit, name="audit")
