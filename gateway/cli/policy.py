"""comptroller policy: is it sound, does it do what its tests say, and why may somebody do something."""

import json
import os
from typing import Annotated, Any

import typer

from gateway.cli.api import call, loaded_config
from gateway.cli.lazy import load
from gateway.cli.options import Config, Group, Json, target
from gateway.cli.output import FINDING, fail, print_json, say

app = typer.Typer(cls=Group, help="Who may use which model with which tools.", no_args_is_help=True)
Subjects = Annotated[list[str] | None, typer.Argument(help="Such as user:alice team:platform agent:reviewer.")]


@app.command()
def check(config: Config = None, as_json: Json = False) -> None:
    """Everything that is wrong with the policy files, with file, line, column and fix; exit 1 if anything is."""
    findings = _ask_files("policy_findings", "/policy/check", "findings", config)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            say(_finding(finding))
        if not findings:
            say("The policy is sound.")
    if findings:
        raise typer.Exit(FINDING)


@app.command("test")
def run_tests(config: Config = None, as_json: Json = False) -> None:
    """Run policies/tests.yaml; exit 1 if an expectation fails."""
    results = _ask_files("policy_tests", "/policy/test", "results", config)
    failed = [result for result in results if not result["passed"]]
    if as_json:
        print_json(results)
    else:
        for result in failed:
            say(_finding(result["finding"]))
        say(f"{len(results) - len(failed)} of {len(results)} expectations hold.")
    if failed:
        raise typer.Exit(FINDING)


@app.command()
def explain(
    subjects: Subjects = None,
    *,
    key: Annotated[str | None, typer.Option(help="All subjects of this virtual key.")] = None,
    model: Annotated[str, typer.Option(help="Model alias, - for none.")] = "-",
    tool: Annotated[str, typer.Option(help="Tool as server__tool, - for none.")] = "-",
    action: Annotated[str, typer.Option(help="model:invoke, tool:list, tool:call")] = "model:invoke",
    arguments: Annotated[str | None, typer.Option("--args", help="Arguments of the tool call, as JSON.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """May they? By which row, which rows nearly matched, and what Casbin itself says."""
    body: dict[str, Any] = {"subjects": subjects or [], "key": key, "model": model, "tool": tool, "action": action}
    if arguments is not None:
        body["arguments"] = _json_object(arguments)
    found = call(target(config), "POST", "/policy/explain", body=body)
    if as_json:
        print_json(found)
        return
    for line in found["lines"]:
        say(line)


def _ask_files(function: str, path: str, field: str, config: Config) -> list[dict[str, Any]]:
    """The files of this configuration, without a server and without books; a named server looks at its own."""
    if os.environ.get("COMPTROLLER_URL"):
        remote: list[dict[str, Any]] = call(target(config), "GET", path)[field]
        return remote
    found: list[dict[str, Any]] = getattr(load("gateway.wiring.policy_files"), function)(loaded_config(config))
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        fail('--args takes a JSON object, such as \'{"path": "/srv"}\'')
    return value


def _finding(finding: dict[str, Any]) -> str:
    at = f"{finding['path']}:{finding['line']}:{finding['column']}" if finding["line"] else finding["path"]
    return f"{at}: {finding['message']}" + (f"\n    {finding['fix']}" if finding["fix"] else "")
