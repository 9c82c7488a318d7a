"""What time does to the MCP front door of a running gateway: keys that expire, tool servers that are down."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.conftest import Start
from tests.support.clients import ask
from tests.support.gateway import OPEN_POLICY, ROOT, GatewayProcess, eventually

RAW = ROOT / "tests" / "mcp_server" / "servers" / "raw.py"


def _post(gateway: GatewayProcess, key: str, method: str, params: object, **headers: str) -> httpx2.Response:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    if not method.startswith("notifications/"):
        message["id"] = 1
    sent = {
        "authorization": f"Bearer {gateway.keys[key]}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
        **headers,
    }
    return httpx2.post(f"{gateway.origin}/mcp", json=message, headers=sent, timeout=30)


def _opened(gateway: GatewayProcess, key: str) -> dict[str, str]:
    """The header of a session of the handshake era."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    reply = _post(gateway, key, "initialize", hello)
    session = {"mcp-session-id": reply.headers["mcp-session-id"]}
    _post(gateway, key, "notifications/initialized", {}, **session)
    return session


def test_a_stream_ends_when_its_key_expires(start: Start) -> None:
    gateway = start()
    expires = datetime.now(UTC) + timedelta(seconds=3)
    made = gateway.admin("POST", "/api/v1/keys", {"name": "brief", "user": "alice", "expires_at": expires.isoformat()})
    gateway.keys["brief"] = made.json["secret"]
    session = _opened(gateway, "brief")
    headers = {
        "authorization": f"Bearer {gateway.keys['brief']}",
        "accept": "text/event-stream",
        "mcp-protocol-version": "2025-11-25",
        **session,
    }
    with httpx2.stream("GET", f"{gateway.origin}/mcp", headers=headers, timeout=40) as stream:
        assert stream.status_code == 200
        for _ in stream.iter_lines():
            assert datetime.now(UTC) < expires + timedelta(seconds=10), "the stream outlived its key"
    assert datetime.now(UTC) >= expires - timedelta(seconds=1)
    assert _post(gateway, "brief", "tools/list", {}, **session).status_code == 401


def test_rule_19_reexported_names_keep_their_meaning_while_the_tool_server_is_down(
    start: Start, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    command = [sys.executable, str(RAW), "--die-at-start", str(broken)]
    deny = "p, user:bob, *, raw__echo, model:invoke, , deny\n\n# rows: 4\n"
    gateway = start(
        policy=OPEN_POLICY.replace("\n# rows: 3\n", deny),
        mcp={"servers": {"raw": {"transport": "stdio", "command": command}}},
        loops={"identical_requests": 1000},
    )

    def refused() -> bool:
        tool = {"type": "function", "function": {"name": "mcp_comptroller_raw__echo", "parameters": {"type": "object"}}}
        reply = httpx2.post(
            f"{gateway.base_url}/chat/completions",
            headers={"authorization": f"Bearer {gateway.keys['bob']}"},
            json={**ask("hi"), "tools": [tool]},
        )
        return reply.status_code == 400 and reply.json()["error"]["code"] == "tool_denied"

    eventually(refused, what="the gateway knowing its tools")
    session = _opened(gateway, "alice")
    broken.touch()
    _post(gateway, "alice", "tools/call", {"name": "raw__crash", "arguments": {}}, **session)
    eventually(
        lambda: "comptroller/missing" in _post(gateway, "alice", "tools/list", {}, **session).text,
        what="the tool server being missed",
    )
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        assert refused()
