"""comptroller usage, limits, sessions, audit: what the books say, and the switch for sessions."""

from typing import Annotated, Any, NamedTuple

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
FIGURES = ("calls", "denied", "would_deny", "input_tokens", "output_tokens", "tool_calls", "cost_usd")
LIMIT_COLUMNS = ("name", "scope", "unit", "limit", "granted", "spent", "held", "remaining", "window", "resets_at")
LIVE_COLUMNS = (*LIMIT_COLUMNS, "at the end")
SESSION_COLUMNS = (
    *("id", "parent", "state", "key", "agent", "calls", "denied", "cost_usd", "tree_cost_usd", "last_active_at"),
    "reason",
)
HELD_COLUMNS = ("kind", "name", "state", "reason", "actor", "at")
HELD_MAX = 1_000
OneSession = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id (ses_...).")]
Session = Annotated[str | None, typer.Argument(help="The session's id (ses_...).")]
Agent = Annotated[str | None, typer.Option(help="All sessions of this agent, new ones too.")]
Key = Annotated[str | None, typer.Option(help="All sessions of this key, by name or id.")]
User = Annotated[str | None, typer.Option(help="All sessions of this user.")]
Team = Annotated[str | None, typer.Option(help="All sessions of this team.")]
Reason = Annotated[str, typer.Option(help="Why; the agent is told.")]


class _Whom(NamedTuple):
    """Exactly one of these is meant."""

    session: str | None
    agent: str | None = None
    key: str | None = None
    user: str | None = None
    team: str | None = None


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
    if as_json:
        print_json(found)
    else:
        table(LIVE_COLUMNS, [_live(each) for each in found], empty="No counter is live: nothing was called yet.")


@limits.command("show")
def show_limit(
    name: Annotated[str, typer.Argument(help="The limit's name.")], config: Config = None, as_json: Json = False
) -> None:
    """One limit: its rule and its live counters."""
    found = call(target(config), "GET", at("limits", name))
    if as_json:
        print_json(found)
        return
    _fields({name: value for name, value in found["rule"].items() if value not in (None, {}, [])})
    table(LIVE_COLUMNS, [_live(each) for each in found["limits"]], empty="No counter of it is live.")


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
    held: Annotated[
        bool, typer.Option("--held", help="What is paused or stopped: agents, keys, users, teams and single sessions.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Sessions, newest first."""
    if held:
        rows = _held(config)
        print_json(rows) if as_json else table(HELD_COLUMNS, rows, empty="Nothing is held.")
        return
    query = {"state": state, "key": key, "limit": str(limit)}
    found = call(target(config), "GET", "/sessions", query=query)["sessions"]
    print_json(found) if as_json else table(SESSION_COLUMNS, found, empty="No sessions.")


@sessions.command("show")
def show_session(session: OneSession, config: Config = None, as_json: Json = False) -> None:
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
    session: Session = None,
    agent: Agent = None,
    key: Key = None,
    user: User = None,
    team: Team = None,
    reason: Reason = "by an administrator",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """End the calls of a session, or of all of somebody's, and refuse its next ones until it is resumed."""
    _change(_Whom(session, agent, key, user, team), "pause", reason, config, as_json=as_json)


@sessions.command("resume")
def resume(
    session: Session = None,
    agent: Agent = None,
    key: Key = None,
    user: User = None,
    team: Team = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let go on what is paused or stopped; loop counting of a session starts anew."""
    _change(_Whom(session, agent, key, user, team), "resume", "", config, as_json=as_json)


@sessions.command("stop")
def stop(
    session: Session = None,
    agent: Agent = None,
    key: Key = None,
    user: User = None,
    team: Team = None,
    reason: Reason = "by an administrator",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """End a session, or all of somebody's, and its calls in flight; only a person can resume it."""
    _change(_Whom(session, agent, key, user, team), "stop", reason, config, as_json=as_json)


@sessions.command("close")
def close(
    session: OneSession, reason: Reason = "by an administrator", config: Config = None, as_json: Json = False
) -> None:
    """End a session and all below it; it opens again when its client comes back, a child does not."""
    _change(_Whom(session), "close", reason, config, as_json=as_json)


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
    would_deny: Annotated[
        bool, typer.Option("--would-deny", help="Only calls that limits and rows in observe mode would refuse.")
    ] = False,
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
        "would_deny": "true" if would_deny else None,
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


def _change(whom: _Whom, action: str, reason: str, config: Config, *, as_json: bool) -> None:
    named = {kind: name for kind, name in whom._asdict().items() if name is not None}
    if len(named) != 1:
        fail(f"name one to {action}: a session, or --agent, --key, --user or --team", USAGE)
    ((kind, name),) = named.items()
    body: dict[str, Any] = {"action": action, **({"reason": reason} if reason else {})}
    if kind == "session":
        found = call(target(config), "POST", at("sessions", name), body=body)
    else:
        found = call(target(config), "POST", "/stops", body={**body, "kind": kind, "name": name})
    if as_json:
        print_json(found)
        return
    ended = found["ended"]
    calls = (
        ""
        if not ended
        else f" {ended} call{'' if ended == 1 else 's'} in flight {'was' if ended == 1 else 'were'} ended."
    )
    say(f"{kind.capitalize()} {found.get('id') or found['name']} is {found['state']}.{calls}")


def _held(config: Config) -> list[dict[str, Any]]:
    whole = call(target(config), "GET", "/stops")["stops"]
    single: list[dict[str, Any]] = []
    for state in ("paused", "stopped"):
        rows = call(target(config), "GET", "/sessions", query={"state": state, "limit": str(HELD_MAX)})["sessions"]
        single += [
            {"kind": "session", "name": row["id"], **{c: row.get(c) for c in ("state", "reason")}} for row in rows
        ]
    return [{**dict.fromkeys(HELD_COLUMNS), **row} for row in (*whole, *single)]


def _fields(values: dict[str, Any]) -> None:
    for name, value in values.items():
        shown = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else value
        say(f"{name:<16} {decimal(shown) if isinstance(shown, float) else '-' if shown == '' else shown}")


def _live(counter: dict[str, Any]) -> dict[str, Any]:
    """What happens at the end of a limit, and what of it is kept for whom."""
    observes = "would deny" if counter["would_deny"] else "observe"
    kept = [f"{decimal(part['kept'])} kept for {subject}" for subject, part in counter["reserved"].items()]
    return {
        **counter,
        "at the end": "; ".join([observes if counter["mode"] == "observe" else counter["action"], *kept]),
    }


def _denial(denial: dict[str, Any]) -> dict[str, Any]:
    limit = denial.get("limit") or {}
    return {**denial, "limit": limit.get("name")}
