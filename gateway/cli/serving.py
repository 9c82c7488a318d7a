"""What `comptroller serve` prints and refuses; the serving itself is `gateway.app`."""

import json
import sys
from functools import partial
from pathlib import Path

from gateway.app import serve
from gateway.cli.api import loaded_config
from gateway.cli.output import FINDING, UNAVAILABLE, USAGE, fail
from gateway.policy.findings import PolicyInvalid
from gateway.serving import CannotListen
from gateway.settings import SettingsError
from gateway.storage.files import BooksRefused
from gateway.wiring.first_run import FirstRun

SERVERS = ("hypercorn", "uvicorn")


def run(
    config: Path | None, *, host: str | None, port: int | None, server: str | None, workers: int, as_json: bool
) -> int:
    """Returns the exit code."""
    if server is not None and server not in SERVERS:
        fail(f"'{server}' is no server: choose {' or '.join(SERVERS)}", USAGE)
    if workers > 1:
        fail("more than one worker is not built yet", USAGE)
    loaded = loaded_config(config)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        return serve(loaded, host=host, port=port, server=server, announce=partial(announce, as_json=as_json))
    except (PolicyInvalid, SettingsError) as error:
        fail("\n".join(str(finding) for finding in error.findings), FINDING)
    except BooksRefused as error:
        fail(str(error), UNAVAILABLE)
    except CannotListen as error:
        fail(f"{error}. Stop what listens there, or choose another address with --host and --port.", UNAVAILABLE)


def announce(made: FirstRun, url: str, *, as_json: bool) -> None:
    """Said once the port is open. Secrets are shown here and nowhere else, once."""
    if as_json:
        told = {"url": url, "admin_token": made.admin_token, "virtual_key": made.virtual_key, "models": made.models}
        print(json.dumps(told), flush=True)
        return
    print(f"Comptroller serves at {url}", flush=True)
    if made.admin_token is not None:
        print(f"\nAdmin token, shown only now:\n  export COMPTROLLER_ADMIN_TOKEN={made.admin_token}", flush=True)
    if made.virtual_key is None:
        return
    model = made.models[0] if made.models else "MODEL"
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    mcp = {
        "mcpServers": {"comptroller": {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": "Bearer KEY"}}}
    }
    print(
        f"\nVirtual key for user 'local', shown only now (models: {', '.join(made.models)}):\n"
        f"  export COMPTROLLER_API_KEY={made.virtual_key}\n\n"
        f'A first call:\n  curl {url}/v1/chat/completions -H "Authorization: Bearer $COMPTROLLER_API_KEY" \\\n'
        f"    -H 'Content-Type: application/json' -d '{body}'\n\n"
        f"For MCP clients, .mcp.json (put the key in place of KEY):\n  {json.dumps(mcp)}",
        flush=True,
    )
