"""comptroller policy: is it sound, does it do what its tests say, and why may somebody do something."""

from typing import Annotated, Any

import typer

from gateway.cli.api import call
from gateway.cli.options import Config, Json, target
from gateway.cli.output import FINDING, print_json, say

app = typer.Typer(help="Who may use which model with which tools.", no_args_is_help=True)


@app.command()
def check(config: Config = None, as_json: Json = False) -> None:
    """Everything that is wrong with the policy files, with file, line, column and fix; exit 1 if anything is."""
    findings = call(target(config), "GET", "/policy/check")["findings"]
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
    results = call(target(config), "GET", "/policy/test")["results"]
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
    subjects: Annotated[list[str], typer.Argument(help="Such as user:alice team:platform agent:reviewer.")],
    model: Annotated[str, typer.Option(help="Model alias, - for none.")] = "-",
    tool: Annotated[str, typer.Option(help="Tool as server__tool, - for none.")] = "-",
    action: Annotated[str, typer.Option(help="model:invoke, tool:list, tool:call")] = "model:invoke",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """May they? By which row, which rows nearly matched, and what Casbin itself says."""
    body: dict[str, Any] = {"subjects": subjects, "model": model, "tool": tool, "action": action}
    found = call(target(config), "POST", "/policy/explain", body=body)
    if as_json:
        print_json(found)
        return
    for line in found["lines"]:
        say(line)


def _finding(finding: dict[str, Any]) -> str:
    at = f"{finding['path']}:{finding['line']}:{finding['column']}"
    return f"{at}: {finding['message']}" + (f" ({finding['fix']})" if finding["fix"] else "")
