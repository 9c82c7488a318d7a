"""comptroller keys: virtual keys for people, apps, services and agents."""

import secrets
from typing import Annotated, Any

import typer

from gateway.cli.api import at, call
from gateway.cli.options import Config, Group, Json, target
from gateway.cli.output import print_json, say, table
from gateway.core.identity import make_secret

app = typer.Typer(cls=Group, help="Virtual keys: make, list, rotate, disable, enable, withdraw.", no_args_is_help=True)
COLUMNS = ("name", "state", "user", "team", "app", "service", "agent", "models", "limits", "expires_at", "id")
RANDOM_BITS = 192
Reference = Annotated[str, typer.Argument(help="The key's name or id.")]
Patterns = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only these (repeat; a trailing * is a prefix).")
]


@app.command()
def generate(as_json: Json = False) -> None:
    """Make a well-formed secret offline, for a key that the configuration declares by reference."""
    secret = make_secret(secrets.randbits(RANDOM_BITS))
    print_json({"secret": secret}) if as_json else print(secret)


@app.command()
def create(
    name: Annotated[str | None, typer.Option(help="Unique name; made from whom it is for if left out.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose key it is.")] = None,
    team: Annotated[str | None, typer.Option(help="Team its calls are booked on.")] = None,
    app_name: Annotated[str | None, typer.Option("--app", help="App that uses it.")] = None,
    service: Annotated[str | None, typer.Option(help="Service that uses it.")] = None,
    agent: Annotated[str | None, typer.Option(help="Agent that uses it.")] = None,
    model: Patterns = None,
    tool: Patterns = None,
    limit: Annotated[list[str] | None, typer.Option(metavar="LIMIT", help="Such as usd=5/day (repeat).")] = None,
    expires: Annotated[str | None, typer.Option(help="Day or instant, such as 2027-01-31.")] = None,
    may_assert_user: Annotated[
        bool, typer.Option("--may-assert-user", help="May name its end user, for attribution.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Register a key and print its secret, once."""
    body: dict[str, Any] = {
        "name": name,
        "user": user,
        "team": team,
        "app": app_name,
        "service": service,
        "agent": agent,
        "models": model or None,
        "tools": tool or None,
        "limits": limit or [],
        "expires_at": expires,
        "may_assert_user": may_assert_user,
    }
    _shown_once(call(target(config), "POST", "/keys", body=body), as_json=as_json)


@app.command("list")
def list_keys(config: Config = None, as_json: Json = False) -> None:
    """All keys, without their secrets."""
    keys = call(target(config), "GET", "/keys")["keys"]
    print_json(keys) if as_json else table(COLUMNS, keys, empty="No keys yet: comptroller keys create")


@app.command()
def rotate(key: Reference, config: Config = None, as_json: Json = False) -> None:
    """Give a key a new secret; the old one stops working at once."""
    _shown_once(_change(key, "rotate", config), as_json=as_json)


@app.command()
def disable(key: Reference, config: Config = None, as_json: Json = False) -> None:
    """Refuse a key from its next call on, until it is enabled."""
    _told(_change(key, "disable", config), "disabled", as_json=as_json)


@app.command()
def enable(key: Reference, config: Config = None, as_json: Json = False) -> None:
    """Let a disabled key work again."""
    _told(_change(key, "enable", config), "enabled", as_json=as_json)


@app.command()
def revoke(key: Reference, config: Config = None, as_json: Json = False) -> None:
    """Withdraw a key for good."""
    _told(_change(key, "revoke", config), "revoked", as_json=as_json)


def _change(key: str, action: str, config: Config) -> dict[str, Any]:
    return call(target(config), "POST", at("keys", key), body={"action": action})


def _shown_once(key: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"id": key["id"], "name": key["name"], "secret": key["secret"]})
        return
    say(f"Key '{key['name']}' ({key['id']}). Its secret is shown only now:")
    print(key["secret"])


def _told(key: dict[str, Any], what: str, *, as_json: bool) -> None:
    shown = {name: value for name, value in key.items() if name != "secret"}
    print_json(shown) if as_json else say(f"Key '{key['name']}' is {what}.")
