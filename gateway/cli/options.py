"""Options that many commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway.cli.api import Target

Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; else COMPTROLLER_CONFIG or ./comptroller.yaml.")
]
_UNCUT = 1_000
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]


ActingAs = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="The user whose right the policy must give; else the administrator."),
]
FOR = "How long, such as 2h or 3d, or until which instant; a day if left out."


class Group(TyperGroup):
    """Lists its commands with their whole first sentence; the usual one cuts it off at the end of the line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, command.get_short_help_str(limit=_UNCUT)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def person(acting_as: str | None) -> str | None:
    """The actor that the admin API takes for a person: `carol` and `user:carol` are the same."""
    return None if acting_as is None else f"user:{acting_as.removeprefix('user:')}"


def target(config: Path | None) -> Target:
    return Target(config)
