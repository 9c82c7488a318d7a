"""comptroller usage, limits, sessions, audit: what the books say, and the switch for sessions."""

from typing import Annotated, Any

import typer

from gateway.cli.api import at, call
from gateway.cli.journal import COLUMNS as JOURNAL_COLUMNS
from gateway.cli.journal import told
from gateway.cli.moments import moment
from gateway.cli.options import FOR, ActingAs, Config, Group, Json, person, target
from gateway.cli.output import FINDING, USAGE, csv_line, decimal, fail, print_json, say, table

limits = typer.Typer(cls=Group, help="Live counters of every limit.", no_args_is_help=True)
sessions = typer.Typer(cls=Group, help="Runs of agents: look at them, pause, resume, stop.", no_args_is_help=True)
audit = typer.Typer(cls=Group, help="The journal: search it, verify its hash chain.", no_args_is_help=True)
FIGURES = ("calls", "denied", "input_tokens", "output_tokens", "tool_calls", "cost_usd")
LIMIT_COLUMNS = ("name", "scope", "unit", "limit", "granted", "spent", "held", "remaining", "window", "resets_at")
SESSION_COLUMNS = (
    *("id", "parent", "state", "key", "agent", "calls", "denied", "cost_usd", "tree_cost_usd", "last_active_at"),
    "reason",
)
Session = Annotated[str, typer.Argument(help="The session's id (ses_...).")]
Reason = Annotated[str, typer.Option(help="Why; the agent is told.")]


def usage(
    by: Annotated[str, typer.Option(help="user,team,app,service,agent,session,model,provider,tool,key,tag")] = "user",
    since: Annotated[
        str | None, typer.Option(help="Day, instant (UTC) or such as 7d, 12h ago; else from the beginning.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Day or instant (UTC), not included.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Who spent what, from the ledger."""
    if csv and as_json:
        fail("--csv and --json: choose one", USAGE)
    answer = call(target(config), "GET", "/usage", query={"by": by, "since": moment(since), "until": moment(until)})
    rows, groups = answer["rows"], tuple(answer["by"])
    if as_json:
        print_json(rows)
    elif csv:
        columns = (*groups, *FIGURES, "cached_input_tokens", "reasoning_tokens", "estimated_calls")
        print(csv_line(columns))
        for row in rows:
            print(csv_line([row[column] for column in columns]))
    else:
        table((*groups, *FIGURES), rows, empty="Nothing was booked in that time.")


@limits.command("list")
def list_limits(config: Config = None, as_json: Json = False) -> None:
    """One line for every live counter."""
    found = call(target(config), "GET", "/limits")["limits"]
    print_json(found) if as_json else table(LIMIT_COLUMNS, found, empty="No counter is live: nothing was called yet.")


@limits.command("show")
def show_limit(
    name: Annotated[str, typer.Argument(help="The limit's name.")], config: Config = None, as_json: Json = False
) -> None:
    """One limit: its rule and its live counters."""
    found = call(target(config), "GET", at("limits", name))
    if as_json:
        print_json(found)
        return
    _fields({name: value for name, value in found["rule"].items() if value not in (None, {})})
    table(LIMIT_COLUMNS, found["limits"], empty="No counter of it is live.")


@limits.command("grant")
def grant(
    name: Annotated[str, typer.Argument(help="The limit's name.")],
    scope: Annotated[str, typer.Option(help="Which counter, such as user:alice; as limits list shows it.")],
    add: Annotated[float, typer.Option(help="How much more, in the limit's unit; usd in dollars.")],
    reason: Annotated[str, typer.Option(help="Why; kept beside the grant.")],
    until: Annotated[str | None, typer.Option("--for", "--until", help=FOR)] = None,
    acting_as: ActingAs = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Raise one limit for one scope for a time; the raise ends by itself."""
    body = {"scope": scope, "amount": add, "reason": reason, "until": until}
    found = call(target(config), "POST", at("limits", name, "grants"), body=body, acting_as=person(acting_as))
    print_json(found) if as_json else say(
        f"Limit '{name}' has {found['granted']} {found['unit']} more for {scope} until {found['granted_until']}. "
        f"To end it before: comptroller requests withdraw {found['request']}"
    )


@sessions.command("list")
def list_sessions(
    state: Annotated[str | None, typer.Option(help="open, paused, stopped or closed")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key's, by name or id.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Sessions, newest first."""
    query = {"state": state, "key": key, "limit": str(limit)}
    found = call(target(config), "GET", "/sessions", query=query)["sessions"]
    print_json(found) if as_json else table(SESSION_COLUMNS, found, empty="No sessions.")


@sessions.command("show")
def show_session(session: Session, config: Config = None, as_json: Json = False) -> None:
    """One session with its limits."""
    found = call(target(config), "GET", at("sessions", session))
    if as_json:
        print_json(found)
        return
    _fields({name: value for name, value in found.items() if name not in ("limits", "denials", "descendants")})
    table(LIMIT_COLUMNS, found["limits"], empty="No limit counts this session alone.")
    if found["descendants"]:
        table(("id", "parent", "depth", "state"), found["descendants"], empty="")
    if found["denials"]:
        table(("at", "code", "call", "limit"), [_denial(each) for each in found["denials"]], empty="")


@sessions.command("pause")
def pause(
    session: Session, reason: Reason = "by an administrator", config: Config = None, as_json: Json = False
) -> None:
    """Refuse the session's calls until it is resumed."""
    _change(session, "pause", reason, config, as_json=as_json)


@sessions.command("resume")
def resume(session: Session, config: Config = None, as_json: Json = False) -> None:
    """Let a paused or stopped session go on; loop counting starts anew."""
    _change(session, "resume", "", config, as_json=as_json)


@sessions.command("stop")
def stop(
    session: Session, reason: Reason = "by an administrator", config: Config = None, as_json: Json = False
) -> None:
    """End a session; only a person can resume it."""
    _change(session, "stop", reason, config, as_json=as_json)


@sessions.command("close")
def close(
    session: Session, reason: Reason = "by an administrator", config: Config = None, as_json: Json = False
) -> None:
    """End a session and all below it; it opens again when its client comes back, a child does not."""
    _change(session, "close", reason, config, as_json=as_json)


@audit.command("search")
def search(
    text: Annotated[str | None, typer.Option(help="Text in the row.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="held, raised, settled, voided, denied, session, key, request ...")
    ] = None,
    call_id: Annotated[str | None, typer.Option("--call", help="Rows of this call.")] = None,
    session: Annotated[str | None, typer.Option(help="Rows of this session.")] = None,
    since: Annotated[str | None, typer.Option(help="Day, instant (UTC) or such as 7d, 12h ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Day or instant (UTC), not included.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Rows of the journal, newest first."""
    query = {
        "text": text,
        "kind": kind,
        "call": call_id,
        "session": session,
        "since": moment(since),
        "until": moment(until),
        "limit": str(limit),
    }
    rows: list[dict[str, Any]] = call(target(config), "GET", "/audit", query=query)["rows"]
    if as_json:
        print_json(rows)
        return
    table(JOURNAL_COLUMNS, [told(row) for row in rows], empty="No row matches.")


@audit.command("verify")
def verify(config: Config = None, as_json: Json = False) -> None:
    """Walk the whole hash chain and recount what is derived from it; exit 1 if anything differs."""
    found = call(target(config), "GET", "/audit/verify")
    if as_json:
        print_json(found)
    else:
        for fault in found["faults"]:
            say(f"row {fault['seq']}: {fault['what']}")
        for each in found["drift"]:
            say(f"{each['table']} {each['key']} differs from its ledger rows")
        state = "agree" if found["ok"] else "DO NOT AGREE"
        segments = f"{found['segments']} segment{'' if found['segments'] == 1 else 's'}"
        say(f"{found['rows']} rows in {segments}; the chain and the books {state}. Head {found['head'][:16]}…")
    if not found["ok"]:
        raise typer.Exit(FINDING)


def _change(session: str, action: str, reason: str, config: Config, *, as_json: bool) -> None:
    body: dict[str, Any] = {"action": action, **({"reason": reason} if reason else {})}
    found = call(target(config), "POST", at("sessions", session), body=body)
    print_json(found) if as_json else say(f"Session {found['id']} is {found['state']}.")


def _fields(values: dict[str, Any]) -> None:
    for name, value in values.items():
        shown = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else value
        say(f"{name:<16} {decimal(shown) if isinstance(shown, float) else '-' if shown == '' else shown}")


def _denial(denial: dict[str, Any]) -> dict[str, Any]:
    limit = denial.get("limit") or {}
    return {**denial, "limit": limit.get("name")}
