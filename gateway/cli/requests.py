"""comptroller requests: what agents and people asked more of, and the decision about it."""

from typing import Annotated, Any

import typer

from gateway.cli.api import at, call
from gateway.cli.options import ActingAs, Config, Group, Json, person, target
from gateway.cli.output import decimal, print_json, say, table

app = typer.Typer(cls=Group, help="Requests for more of a limit: look at them, decide.", no_args_is_help=True)
COLUMNS = ("request", "state", "limit", "scope", "unit", "amount", "granted", "until", "asked_by", "reason")
Reference = Annotated[str, typer.Argument(help="The request's id (req_...).")]
Note = Annotated[str, typer.Option(help="Told to whoever asked.")]


@app.command("list")
def list_requests(
    state: Annotated[
        str | None, typer.Option(help="pending, approved, denied, withdrawn, lapsed, expired or revoked")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Requests, newest first; grants that nobody asked for too."""
    found = call(target(config), "GET", "/requests", query={"state": state, "limit": str(limit)})["requests"]
    print_json(found) if as_json else table(COLUMNS, found, empty="Nothing was asked for.")


@app.command()
def show(request: Reference, config: Config = None, as_json: Json = False) -> None:
    """One request: who asks for what, why, and what became of it."""
    found = call(target(config), "GET", at("requests", request))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        shown = ", ".join(value) if isinstance(value, list) else decimal(value) if isinstance(value, float) else value
        if shown not in (None, "", 0):
            say(f"{name:<16} {shown}")


@app.command()
def approve(
    request: Reference,
    amount: Annotated[float | None, typer.Option(help="Less than was asked for.")] = None,
    until: Annotated[
        str | None, typer.Option("--for", "--until", help="Sooner than was asked for: 2h, 3d, or an instant.")
    ] = None,
    note: Note = "",
    acting_as: ActingAs = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Grant it, or less of it; sessions that the limit paused go on."""
    body = {"action": "approve", "amount": amount, "until": until, "note": note}
    found = _decide(request, body, acting_as, config)
    print_json(found) if as_json else say(
        f"Request {request} is approved: {found['granted']} {found['unit']} more of '{found['limit']}' for "
        f"{found['scope']} until {found['granted_until']}."
    )


@app.command()
def reject(
    request: Reference, note: Note = "", acting_as: ActingAs = None, config: Config = None, as_json: Json = False
) -> None:
    """Deny it."""
    _told(_decide(request, {"action": "reject", "note": note}, acting_as, config), as_json=as_json)


@app.command()
def withdraw(request: Reference, acting_as: ActingAs = None, config: Config = None, as_json: Json = False) -> None:
    """Drop a pending request, or end the raise that it brought."""
    _told(_decide(request, {"action": "withdraw"}, acting_as, config), as_json=as_json)


def _decide(request: str, body: dict[str, Any], acting_as: str | None, config: Config) -> dict[str, Any]:
    return call(target(config), "POST", at("requests", request), body=body, acting_as=person(acting_as))


def _told(found: dict[str, Any], *, as_json: bool) -> None:
    print_json(found) if as_json else say(f"Request {found['request']} is {found['state']}.")
