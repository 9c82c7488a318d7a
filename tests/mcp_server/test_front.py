"""The endpoint is loaded for the first request: a gateway that nobody asks over MCP does without the SDK."""

import asyncio
import subprocess
import sys

import httpx2

from mcp_server.front import McpFront
from tests.mcp_server.governed import TableGovernance
from tests.mcp_server.serving import Gateway, example, gateway
from tests.mcp_server.test_edge import ALICE, INITIALIZE
from tests.tidy.tree import ROOT

SDK = ("mcp", "mcp_types", "starlette")


def test_a_gateway_that_nobody_asks_over_mcp_does_not_load_the_sdk() -> None:
    script = (
        "import sys, gateway.app; print([name for name in ('mcp', 'mcp_types', 'starlette') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def is_open(gate: Gateway) -> bool:
    return gate.front.running is not None


async def test_without_tool_servers_the_first_requests_open_it_together() -> None:
    async with gateway() as gate, httpx2.AsyncClient(timeout=30) as http:
        assert not is_open(gate)
        refused = await http.post(f"{gate.url}/mcp", json=INITIALIZE)
        assert refused.status_code == 401
        assert not is_open(gate), "a stranger's request opens nothing"
        replies = await asyncio.gather(
            *(http.post(f"{gate.url}/mcp", json=INITIALIZE, headers=ALICE) for _ in range(5))
        )
        assert [reply.status_code for reply in replies] == [200] * 5
        running = gate.front.running
        assert running is not None
        assert (await http.post(f"{gate.url}/mcp", json=INITIALIZE, headers=ALICE)).status_code == 200
        assert gate.front.running is running


async def test_tool_servers_are_connected_to_at_the_start() -> None:
    async with gateway(example()) as gate:
        assert is_open(gate)


async def test_a_first_request_that_is_given_up_leaves_it_open_for_the_next() -> None:
    front = McpFront(TableGovernance())
    await front.start()
    given_up = asyncio.create_task(front.opened())
    await asyncio.sleep(0)
    given_up.cancel()
    assert await front.opened() is not None
    await front.stop()


async def test_stopping_waits_for_what_is_being_opened_and_leaves_nothing_running() -> None:
    front = McpFront(TableGovernance())
    await front.start()
    asked = asyncio.create_task(front.opened())
    await asyncio.sleep(0)
    await front.stop()
    assert await asked is None
    assert await front.opened() is None
    await front.start()
    assert await front.opened() is not None
    await front.stop()
