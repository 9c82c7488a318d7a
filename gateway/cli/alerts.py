"""comptroller alerts: what operators were told, what could not be delivered, a test of every way out."""

from typing import Annotated, Any

import typer

from gateway.cli.api import at, call
from gateway.cli.options import Config, Json, target
from gateway.cli.output import FINDING, print_json, say, table

app = typer.Typer(help="Alerts: list them, test the ways out, try again.", no_args_is_help=True)
COLUMNS = ("at", "severity", "kind", "subject", "count", "sent", "text", "id")


@app.command("list")
def list_alerts(
    state: Annotated[str | None, typer.Option(help="waiting, sent or dead (given up)")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Alerts and how far they got, newest first."""
    found = call(target(config), "GET", "/alerts", query={"state": state, "limit": str(limit)})["alerts"]
    if as_json:
        print_json(found)
        return
    table(COLUMNS, [{**alert, "sent": _ways(alert)} for alert in found], empty="No alerts.")


@app.command("test")
def send_test(config: Config = None, as_json: Json = False) -> None:
    """Send a test by every way out; exit 1 if one does not take it, or there is none."""
    _told(call(target(config), "POST", "/alerts"), as_json=as_json)


@app.command("retry")
def retry(
    alert: Annotated[str, typer.Argument(help="The alert's id (alert_...).")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Try an alert anew that was given up or waits; exit 1 if it is not taken."""
    _told(call(target(config), "POST", at("alerts", alert), body={"action": "retry"}), as_json=as_json)


def _told(alert: dict[str, Any], *, as_json: bool) -> None:
    deliveries = alert["deliveries"]
    if as_json:
        print_json(alert)
    elif not deliveries:
        say("There is no way out: configure alerts.webhook, alerts.slack or alerts.smtp.")
    else:
        for each in deliveries:
            say(f"{each['channel']:<8} {each['state']}{': ' + each['error'] if each['error'] else ''}")
    if not deliveries or any(each["state"] != "sent" for each in deliveries):
        raise typer.Exit(FINDING)


def _ways(alert: dict[str, Any]) -> str:
    return ", ".join(f"{each['channel']} {each['state']}" for each in alert["deliveries"]) or "-"
