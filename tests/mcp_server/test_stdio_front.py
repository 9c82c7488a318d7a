"""`comptroller mcp` as a process: the SDK's stdio client on one side, the endpoint on the other."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import ToolListChangedNotification

from tests.mcp_server.serving import ROOT, example, free_port, gateway, raw
from tests.mcp_server.test_calls import until

PROGRAM = (
    "import asyncio, os, sys; from mcp_server.stdio_front import run; "
    "sys.exit(asyncio.run(run(os.environ['URL'], os.environ['KEY'], os.environ.get('SESSION'))))"
)
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
}


def front(url: str, key: str = "secret-a", **more: str) -> Any:
    env = {"URL": url, "KEY": key, "PYTHONPATH": str(ROOT), **more}
    return stdio_client(StdioServerParameters(command=sys.executable, args=["-W", "error", "-c", PROGRAM], env=env))


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_every_era_passes_through(mode: Any) -> None:
    steps: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async with (
        gateway(example(), raw()) as gate,
        Client(front(gate.url, SESSION="run-7"), mode=mode, cache=None) as client,
    ):
        assert "notes__add_note" in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("notes__add_note", {"text": "milk"})
        assert result.structured_content == {"id": 1, "text": "milk"}
        await client.call_tool("raw__count_up", {}, progress_callback=report)
        assert steps == [1, 2, 3]
        assert {outcome.ask.headers["x-comptroller-session"] for outcome in gate.governance.outcomes} == {"run-7"}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_cancelling_passes_through(mode: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway(raw("raw", "--log", str(log))) as gate, Client(front(gate.url), mode=mode, cache=None) as client:
        call = asyncio.create_task(client.call_tool("raw__wait", {}))
        await until(lambda: log.exists() and "call wait" in log.read_text())
        call.cancel()
        await until(lambda: "cancelled" in log.read_text())
        assert [outcome.state for outcome in gate.governance.outcomes] == ["cancelled"]


async def test_notifications_pass_through() -> None:
    changed = asyncio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    async with gateway(raw()) as gate, Client(front(gate.url), mode="legacy", message_handler=hear) as client:
        async with asyncio.timeout(10):
            while not changed.is_set():  # the stream for notifications opens a moment after the handshake
                await client.call_tool("raw__add_tool", {"name": "fresh"})
                await asyncio.wait([asyncio.create_task(changed.wait())], timeout=0.5)


async def test_a_gateway_that_was_restarted_is_found_again_in_a_session() -> None:
    async with gateway(example()) as gate, Client(front(gate.url), mode="legacy", cache=None) as client:
        await client.call_tool("notes__add_note", {"text": "milk"})
        await gate.front.stop()
        await gate.front.start()
        assert not (await client.call_tool("notes__add_note", {"text": "bread"})).is_error


async def spoken(url: str, key: str, *messages: Any) -> tuple[int, list[Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM,
        env={**os.environ, "URL": url, "KEY": key, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    lines = b"".join((m if isinstance(m, bytes) else json.dumps(m).encode()) + b"\n" for m in messages)
    out, err = await process.communicate(lines)
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


async def test_a_wrong_key_is_told_to_the_client_and_to_a_person() -> None:
    async with gateway() as gate:
        status, answers, said = await spoken(gate.url, "wrong-secret", INITIALIZE)
    assert status == 3
    assert answers[0]["id"] == 1
    assert answers[0]["error"]["message"] == "This key is unknown."
    assert answers[0]["error"]["data"]["comptroller"]["code"] == "key_unknown"
    assert said.count("COMPTROLLER_API_KEY") == 1
    assert "wrong-secret" not in said


async def test_an_unreachable_gateway_is_told_to_the_client_and_to_a_person() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    status, answers, said = await spoken(url, "secret-a", INITIALIZE)
    assert status == 3
    assert answers[0]["id"] == 1
    assert "no connection" in answers[0]["error"]["message"]
    assert url in said
    assert "Traceback" not in said


async def test_what_is_no_message_is_answered_and_the_rest_goes_on() -> None:
    async with gateway() as gate:
        status, answers, said = await spoken(gate.url, "secret-a", b"{nonsense", INITIALIZE)
    assert (status, said) == (0, "")
    assert answers[0] == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32700, "message": "not one JSON-RPC message"},
    }
    assert answers[1]["result"]["serverInfo"]["name"] == "comptroller"
