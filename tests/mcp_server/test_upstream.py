"""Tool servers that end, hang, come back and keep state: none of it harms another, and nothing is left behind."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.core.upstream import UpstreamTimeout
from mcp_server.upstream.config import ServerConfig, UpstreamOptions
from mcp_server.upstream.tool_server import ToolServer
from tests.mcp_server.serving import QUICK, at_port, free_port, gateway, over_http, raw
from tests.mcp_server.test_calls import denial, until


async def succeeding(client: Any, tool: str) -> None:
    """Calls until the server is back; what waits between the calls is its back-off."""
    async with asyncio.timeout(20):
        while (await client.call_tool(tool, {})).is_error:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def test_a_server_that_crashes_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway(raw("raw", "--log", str(log))) as gate, gate.client() as client:
        assert not (await client.call_tool("raw__echo", {})).is_error
        assert denial(await client.call_tool("raw__crash", {}))["code"] == "upstream_failed"
        await succeeding(client, "raw__echo")
        assert log.read_text().count("start") == 2
        assert "raw__echo" in [tool.name for tool in (await client.list_tools()).tools]


async def test_a_server_that_was_never_there_is_taken_up_when_it_comes(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    async with gateway(raw("raw", "--die-at-start", str(broken))) as gate, gate.client() as client:
        missing = (await client.list_tools()).meta
        assert missing is not None
        assert missing["comptroller/missing"] == ["raw"]
        broken.unlink()
        async with asyncio.timeout(20):
            while "raw__echo" not in [tool.name for tool in (await client.list_tools()).tools]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_an_http_server_that_was_restarted_is_found_again() -> None:
    port = free_port()
    async with gateway(at_port("up", port)) as gate, gate.client() as client:
        for arguments in ((), ("--legacy-only",), ("--legacy-only",)):
            async with over_http(*arguments, "--port", str(port)):
                await succeeding(client, "up__count")
            dead = await client.call_tool("up__count", {})
            assert denial(dead)["code"] in {"upstream_failed", "tool_denied"}


async def test_while_a_server_is_away_its_calls_fail_at_once(tmp_path: Path) -> None:
    log, broken = tmp_path / "log", tmp_path / "broken"
    broken.touch()
    slow = UpstreamOptions(backoff_first_s=30.0, stop_grace_s=0.5)
    config = raw("raw", "--log", str(log), "--die-at-start", str(broken))
    async with gateway(config, upstream=slow) as gate, gate.client() as client:
        await client.list_tools()
        results = [await client.call_tool("raw__echo", {}) for _ in range(20)]
        assert {denial(result)["code"] for result in results} == {"upstream_failed"}
        assert "tried again in" in text_of(results[0])
        assert log.read_text().count("start") == 1


async def test_nothing_is_left_of_a_server_and_its_children() -> None:
    async with gateway(raw()) as gate, gate.client() as client:
        pids = [int(pid) for pid in text_of(await client.call_tool("raw__spawn", {})).split()]
        assert all(running(pid) for pid in pids)
    assert [pid for pid in pids if running(pid)] == []


async def test_children_of_a_crashed_server_do_not_outlive_it() -> None:
    async with gateway(raw()) as gate, gate.client() as client:
        pids = [int(pid) for pid in text_of(await client.call_tool("raw__spawn", {})).split()]
        await client.call_tool("raw__crash", {})
        await until(lambda: not any(running(pid) for pid in pids))


def running(pid: int) -> bool:
    """A process that ended but was not waited for yet (its parent is gone) runs no more."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_a_server_sees_the_declared_environment_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    config = raw("raw", env={"DECLARED": "yes"}, cwd=str(tmp_path))
    async with gateway(config) as gate, gate.client() as client:
        seen = (await client.call_tool("raw__environment", {})).structured_content
        assert seen is not None
        assert seen["DECLARED"] == "yes"
        assert seen["CWD"] == str(tmp_path)
        assert "canary" not in str(seen)
        assert set(seen) <= {"DECLARED", "CWD", "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"}


async def test_a_command_is_no_shell_command(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    config = ServerConfig("sh", "stdio", command=("true", ";", "touch", str(touched), f"$(touch {touched})"))
    async with gateway(config) as gate:
        await gate.listed()
    assert not touched.exists()


async def test_a_server_that_keeps_state_keeps_it_for_each_client_apart() -> None:
    async with over_http("--legacy-only") as port, gateway(at_port("up", port)) as gate:
        async with gate.client("legacy") as one, gate.client("legacy") as other:
            counts = [await count(one), await count(one), await count(other), await count(one)]
            assert counts == [1, 2, 1, 3]
        async with gate.client("2026-07-28") as alice, gate.client("2026-07-28", key="secret-b") as bob:
            assert [await count(alice), await count(bob), await count(alice)] == [1, 1, 2]
        async with gate.client("2026-07-28", headers={"x-comptroller-session": "run-2"}) as run:
            assert await count(run) == 1


async def count(client: Any) -> int:
    return int((await client.call_tool("up__count", {})).structured_content["count"])


async def test_many_calls_of_many_clients_do_not_mix() -> None:
    async with gateway(raw()) as gate, gate.client("legacy") as one, gate.client("2026-07-28") as other:
        wanted = [(client, number) for number in range(50) for client in (one, other)]
        results = await asyncio.gather(*(client.call_tool("raw__echo", {"n": n}) for client, n in wanted))
        assert [result.structured_content for result in results] == [{"n": n} for _, n in wanted]
        assert {outcome.state for outcome in gate.governance.outcomes} == {"settled"}


async def test_a_call_that_ran_out_of_time_while_connecting_was_not_sent() -> None:
    """So its hold is given back: a server that hangs while it starts costs nothing."""
    silent = ServerConfig(
        "silent", "stdio", command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout_s=0.3
    )
    server = ToolServer(silent, QUICK, lambda: None)
    try:
        with pytest.raises(UpstreamTimeout) as caught:
            await server.call("echo", {}, {}, lane="", on_progress=None)
        assert not caught.value.sent
    finally:
        await server.close()
    hanging = ToolServer(raw("raw", timeout_s=1.0), QUICK, lambda: None)
    try:
        with pytest.raises(UpstreamTimeout) as caught:
            await hanging.call("wait", {}, {}, lane="", on_progress=None)
        assert caught.value.sent
    finally:
        await hanging.close()
