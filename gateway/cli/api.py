"""Reaches the admin API: of a running server, or, when none runs, of the same handlers over the opened books.

COMPTROLLER_URL and COMPTROLLER_ADMIN_TOKEN name a server; without them the configuration's address and token are tried.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from gateway.cli.lazy import load
from gateway.cli.output import FINDING, UNAVAILABLE, USAGE, fail, patience

CONFIG_NAME = "comptroller.yaml"
TIMEOUT_S = 600.0
CONNECT_S = 2.0
NO_ANSWER = 0
_ACTOR = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where commands go; `config` None = ./comptroller.yaml where it is, else a start without a file."""

    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that may be there. `named` = by the caller, so that nothing else will do."""

    url: str
    token: str | None
    named: bool


def config_path(given: Path | None) -> Path | None:
    """The configuration that is meant. None = there is none."""
    if given is not None:
        return given
    named = os.environ.get("COMPTROLLER_CONFIG")
    if named:
        return Path(named)
    here = Path(CONFIG_NAME)
    return here if here.exists() else None


def loaded_config(given: Path | None) -> Any:
    """The loaded configuration; ends with every fault at its place."""
    settings = load("gateway.settings")
    path = config_path(given)
    if path is None:
        return load("gateway.cli.without_file").without_file(dict(os.environ))
    try:
        return settings.load(path, dict(os.environ))
    except settings.SettingsError as error:
        fail("\n".join(str(finding) for finding in error.findings), FINDING)


def at(*parts: str) -> str:
    """The path below /api/v1; names as they are, whatever stands in them."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def call(
    target: Target,
    method: str,
    path: str,
    *,
    query: Mapping[str, str | None] | None = None,
    body: Mapping[str, Any] | None = None,
    acting_as: str | None = None,
) -> dict[str, Any]:
    """The answer's JSON object. Ends the command with the API's message if it refuses. `acting_as` names the person
    (`user:carol`) who does this, where its own right counts; else it is the administrator."""
    wanted = {name: value for name, value in (query or {}).items() if value is not None}
    full = f"/api/v1{path}" + (f"?{urlencode(wanted)}" if wanted else "")
    server = _server(target)
    with patience():
        status, answer = NO_ANSWER, dict[str, Any]()
        if server.token is not None:
            status, answer = _remote(server.url, server.token, method, full, body, acting_as or actor())
        if status == NO_ANSWER:
            if server.named:
                fail(f"no Comptroller answers at {server.url}", UNAVAILABLE)
            status, answer = _from_books(target, server.url, method, full, body, acting_as or actor())
    if status >= 400:
        error = answer.get("error", {})
        fail(str(error.get("message", f"the server answered {status}")), _exit_code(status))
    return answer


def ask_running(target: Target, path: str) -> dict[str, Any] | None:
    """What a server that runs says; None where none answers, or where there is no token for it. Ends nothing."""
    settings = loaded_config(target.config).settings
    if not os.environ.get("COMPTROLLER_ADMIN_TOKEN") and settings.admin.token is None:
        return None
    server = _server(target)
    if server.token is None:
        return None
    status, answer = _remote(server.url, server.token, "GET", f"/api/v1{path}", None, actor())
    return answer if status == 200 else None


def actor() -> str:
    """Whom the journal names for a change."""
    name = os.environ.get("COMPTROLLER_ACTOR") or os.environ.get("USER") or ""
    return name if _ACTOR.fullmatch(name) else "cli"


def _exit_code(status: int) -> int:
    if status in (401, 403) or status >= 500:
        return UNAVAILABLE
    return FINDING if status == 404 else USAGE


def _server(target: Target) -> Server:
    named, token = os.environ.get("COMPTROLLER_URL"), os.environ.get("COMPTROLLER_ADMIN_TOKEN")
    if named and token:
        return Server(named.rstrip("/"), token, named=True)
    if named and config_path(target.config) is None:
        fail("COMPTROLLER_URL is set, but COMPTROLLER_ADMIN_TOKEN is not", UNAVAILABLE)
    settings = loaded_config(target.config).settings
    if token is None and settings.admin.token is not None:
        token = settings.admin.token.reveal()
    if named:
        if token is None:
            fail("COMPTROLLER_URL is set, but there is no admin token: set COMPTROLLER_ADMIN_TOKEN", UNAVAILABLE)
        return Server(named.rstrip("/"), token, named=True)
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.server.host, settings.server.host)
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return Server(f"http://{shown}:{settings.server.port}", token, named=False)


def _from_books(
    target: Target, url: str, method: str, path: str, body: Mapping[str, Any] | None, acting: str
) -> tuple[int, dict[str, Any]]:
    loaded = loaded_config(target.config)
    books = loaded.resolve(loaded.settings.storage.sqlite_path)
    if not loaded.file and not books.exists():
        text = (
            f"no Comptroller answers at {url}, and there is neither {CONFIG_NAME} nor {books} here: go to where they "
            "are, or name the server in COMPTROLLER_URL"
        )
        fail(text, UNAVAILABLE)
    found: tuple[int, dict[str, Any]] = load("gateway.cli.local").answer(loaded, method, path, body, acting)
    return found


def _remote(
    url: str, token: str, method: str, path: str, body: Mapping[str, Any] | None, acting: str
) -> tuple[int, dict[str, Any]]:
    """(NO_ANSWER, {}) if nothing that is ours answers there."""
    httpx = load("httpx2")
    headers = {"authorization": f"Bearer {token}", "x-comptroller-actor": acting}
    try:
        with httpx.Client(timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S), trust_env=False) as client:
            reply = client.request(method, url + path, headers=headers, json=body)
            answer = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return NO_ANSWER, {}
    if not isinstance(answer, dict):
        return NO_ANSWER, {}
    return reply.status_code, answer
