"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.api import Target

Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; else COMPTROLLER_CONFIG or ./comptroller.yaml.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]


def target(config: Path | None) -> Target:
    return Target(config)
