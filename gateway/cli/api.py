"""Reaches the admin API: of a running server, or, when none runs, of the same handlers over the opened books.

COMPTROLLER_URL and COMPTROLLER_ADMIN_TOKEN name a server; without them the configuration's address and token are tried.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from gateway.cli.lazy import load
from gateway.cli.output import FINDING, UNAVAILABLE, USAGE, fail

CONFIG_NAME = "comptroller.yaml"
TIMEOUT_S = 60.0
CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where commands go; `config` None = ./comptroller.yaml where it is, else a start without a file."""

    config: Path | None = None


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


def call(
    target: Target,
    method: str,
    path: str,
    *,
    query: Mapping[str, str | None] | None = None,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer's JSON object. Ends the command with the API's message if it refuses."""
    wanted = {name: value for name, value in (query or {}).items() if value is not None}
    full = f"/api/v1{path}" + (f"?{urlencode(wanted)}" if wanted else "")
    url, token, certain = _server(target)
    status, answer = 0, dict[str, Any]()
    if token is not None:
        status, answer = _remote(url, token, method, full, body)
    if status == 0:
        if certain:
            fail(f"no server answers at {url}", UNAVAILABLE)
        status, answer = load("gateway.cli.local").answer(loaded_config(target.config), method, full, body)
    if status >= 400:
        error = answer.get("error", {})
        code = UNAVAILABLE if status in (401, 503) else FINDING if status == 404 else USAGE
        fail(str(error.get("message", f"the server answered {status}")), code)
    return answer


def _server(target: Target) -> tuple[str, str | None, bool]:
    """(address, token, whether the caller named the address)."""
    named, token = os.environ.get("COMPTROLLER_URL"), os.environ.get("COMPTROLLER_ADMIN_TOKEN")
    if named:
        if not token:
            fail("COMPTROLLER_URL is set, but COMPTROLLER_ADMIN_TOKEN is not", USAGE)
        return named.rstrip("/"), token, True
    loaded = loaded_config(target.config)
    settings = loaded.settings
    if token is None and settings.admin.token is not None:
        token = settings.admin.token.reveal()
    host = "127.0.0.1" if settings.server.host in ("0.0.0.0", "::") else settings.server.host
    return f"http://{host}:{settings.server.port}", token, False


def _remote(url: str, token: str, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, dict[str, Any]]:
    """(0, {}) if nothing that is ours answers there."""
    httpx = load("httpx2")
    headers = {"authorization": f"Bearer {token}", "x-comptroller-actor": os.environ.get("USER", "cli")}
    try:
        with httpx.Client(timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S), trust_env=False) as client:
            reply = client.request(method, url + path, headers=headers, json=body)
            answer = reply.json()
    except (httpx.HTTPError, ValueError):
        return 0, {}
    return reply.status_code, answer if isinstance(answer, dict) else {}
