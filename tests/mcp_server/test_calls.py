"""The call of a proxied tool: governed, relayed unchanged, followed and cancelled."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcp_server.options import FrontOptions
from mcp_server.upstream.config import UpstreamOptions
from tests.mcp_server.governed import TableGovernance
from tests.mcp_server.serving import Gateway, at_port, example, gateway, over_http, raw
from tests.mcp_server.test_listing import post

MODES = ["legacy", "2026-07-28"]


def denial(result: Any) -> dict[str, Any]:
    assert result.is_error
    found = result.structured_content["comptroller"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("mode", MODES)
async def test_unknown_and_forbidden_are_one_answer(mode: str) -> None:
    async with gateway(example(), governance=TableGovernance(denied={"notes__delete_note"})) as gate:
        async with gate.client(mode) as client:
            forbidden = await client.call_tool("notes__delete_note", {"id": 1})
            unknown = await client.call_tool("notes__erase_notes", {"id": 1})
            nowhere = await client.call_tool("nowhere__tool", {"id": 1})
        shown = [json.dumps(denial(result)) for result in (forbidden, unknown, nowhere)]
        assert shown[0] == shown[1] == shown[2]
        texts = [result.content[0].text for result in (forbidden, unknown, nowhere)]  # type: ignore[union-attr]
        assert texts[0].replace("notes__delete_note", "notes__erase_notes") == texts[1]
        assert forbidden.meta == unknown.meta
        assert [outcome.state for outcome in gate.governance.outcomes] == ["denied"]


async def test_a_listed_tool_that_is_denied_says_why() -> None:
    async with gateway(example(), governance=TableGovernance(denied_calls={"notes__delete_note"})) as gate:
        async with gate.client() as client:
            result = await client.call_tool("notes__delete_note", {"id": 1})
        assert denial(result)["rule"] == "p, user:x"
        assert denial(result)["call"] == "call-1"
        assert result.meta is not None
        assert result.meta["comptroller/call"] == "call-1"


async def test_a_spent_budget_stops_before_the_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway(raw("raw", "--log", str(log)), governance=TableGovernance(budget=2)) as gate:
        async with gate.client() as client:
            results = [await client.call_tool("raw__echo", {}) for _ in range(4)]
        assert [result.is_error for result in results] == [False, False, True, True]
        assert denial(results[3])["code"] == "session_budget_exhausted"
        assert denial(results[3])["limit"]["remaining"] == 0
        assert "All tool calls" in results[3].content[0].text  # type: ignore[union-attr]
        assert log.read_text().count("call echo") == 2


async def test_results_pass_unchanged_but_for_the_reserved_meta() -> None:
    async with gateway(raw()) as gate:
        sent = {
            "name": "raw__echo",
            "arguments": {"a": None, "b": [1.5]},
            "_meta": {"vendor/in": 1, "traceparent": "00-1"},
        }
        result = (await post(gate.url, "tools/call", sent))["result"]
        assert result["content"] == [{"type": "text", "text": "echo", "x-vendor": 1}]
        assert result["structuredContent"] == {"a": None, "b": [1.5]}
        assert result["x-vendor"] == {"deep": [None, 1.5]}
        assert result["_meta"]["vendor/trace"] == "t"
        assert result["_meta"]["comptroller/quota"]["limit"] == "calls"
        assert "io.modelcontextprotocol/x" not in result["_meta"]
        assert result["resultType"] == "complete"


async def test_meta_of_vendors_and_traces_goes_on_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway(raw("raw", "--log", str(log))) as gate:
        meta = {"vendor/in": 1, "traceparent": "00-1", "comptroller/x": 1, "progressToken": "mine"}
        await post(gate.url, "tools/call", {"name": "raw__echo", "_meta": meta})
        (line,) = [line for line in log.read_text().splitlines() if line.startswith("call echo")]
        forwarded = json.loads(line.removeprefix("call echo "))
        assert forwarded.pop("progressToken") != "mine"
        assert forwarded == {"vendor/in": 1, "traceparent": "00-1"}


@pytest.mark.parametrize("mode", MODES)
async def test_progress_reaches_the_client_and_only_grows(mode: str) -> None:
    steps: list[tuple[float, float | None, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    async with gateway(raw()) as gate, gate.client(mode) as client:
        await client.call_tool("raw__count_up", {}, progress_callback=report)
        assert steps == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


@pytest.mark.parametrize("mode", MODES)
async def test_cancelling_reaches_a_stdio_server_and_settles(mode: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway(raw("raw", "--log", str(log))) as gate, gate.client(mode) as client:
        await cancelled_call(gate, client, "raw__wait", lambda: log.exists() and "call wait" in log.read_text())
        await until(lambda: "cancelled" in log.read_text())
        assert not (await client.call_tool("raw__echo", {})).is_error


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("arguments", [(), ("--legacy-only",)], ids=["modern server", "legacy server"])
async def test_cancelling_reaches_an_http_server_and_settles(mode: str, arguments: tuple[str, ...]) -> None:
    async with over_http(*arguments) as port, gateway(at_port("up", port)) as gate, gate.client(mode) as client:
        started = asyncio.Event()

        async def report(*_: Any) -> None:
            started.set()

        await cancelled_call(gate, client, "up__wait", started.is_set, progress_callback=report)

        async with asyncio.timeout(10):
            cancelled = 0
            while not cancelled:
                shown = (await client.call_tool("up__show", {})).structured_content
                assert shown is not None
                cancelled = shown["cancelled"]


async def cancelled_call(gate: Gateway, client: Any, tool: str, started: Callable[[], bool], **more: Any) -> None:
    call = asyncio.create_task(client.call_tool(tool, {}, **more))
    await until(started)
    call.cancel()
    async with asyncio.timeout(10):
        await gate.governance.settled.wait()
    assert [outcome.state for outcome in gate.governance.outcomes] == ["cancelled"]
    await asyncio.gather(call, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Waits for another process, which has no event of ours to set."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_call_has_a_time_whatever_its_progress(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with gateway(raw("raw", "--log", str(log), timeout_s=0.3)) as gate, gate.client() as client:
        result = await client.call_tool("raw__wait", {})
        assert denial(result)["code"] == "upstream_timeout"
        await until(lambda: "cancelled" in log.read_text())
        assert [outcome.state for outcome in gate.governance.outcomes] == ["failed"]
        assert not (await client.call_tool("raw__echo", {})).is_error


async def test_a_result_that_is_too_large_fails_its_own_call_only() -> None:
    upstream = UpstreamOptions(message_bytes_max=100_000)
    async with gateway(raw(), upstream=upstream) as gate, gate.client() as client:
        small, huge, echo = await asyncio.gather(
            client.call_tool("raw__huge", {"size": 90_000}),
            client.call_tool("raw__huge", {"size": 300_000}),
            client.call_tool("raw__echo", {}),
        )
        assert not small.is_error
        assert denial(huge)["code"] == "upstream_invalid"
        assert not echo.is_error


@pytest.mark.parametrize(("code", "told"), [(-32602, -32602), (42, 42), (-32020, -32603), (-32601, -32603)])
async def test_an_error_of_the_server_is_told_as_one(code: int, told: int) -> None:
    async with gateway(raw()) as gate, gate.client() as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool("raw__fail", {"code": code})
        assert (raised.value.code, raised.value.error.message, raised.value.error.data) == (told, "no", {"why": 1})
        assert [outcome.state for outcome in gate.governance.outcomes] == ["settled"]


async def test_a_result_that_nobody_could_read_is_the_fault_of_its_server() -> None:
    async with gateway(raw()) as gate, gate.client() as client:
        assert denial(await client.call_tool("raw__broken", {}))["code"] == "upstream_invalid"


async def test_questions_of_a_server_are_answered_by_the_gateway() -> None:
    async with gateway(raw()) as gate, gate.client() as client:
        result = await client.call_tool("raw__ask", {})
        ping, elicit, roots = json.loads(result.content[0].text)  # type: ignore[union-attr]
        assert ping == {"result": {}}
        assert elicit == {"result": {"action": "decline"}}
        assert roots["error"]["code"] == -32601


async def test_headers_that_repeat_arguments_must_repeat_them_truly() -> None:
    async with over_http() as port, gateway(at_port("up", port)) as gate:
        call = {"name": "up__show", "arguments": {"region": "eu"}}
        lying = await post(gate.url, "tools/call", dict(call), mcp_param_region="us")
        assert lying["error"]["code"] == -32020
        assert gate.governance.outcomes == []
        told = await post(gate.url, "tools/call", dict(call), mcp_param_region="eu")
        assert told["result"]["structuredContent"]["seen"][-1]["mcp-param-region"] == "eu"


async def test_the_own_tools_have_a_rate_of_their_own() -> None:
    async with gateway(example(), options=FrontOptions(own_calls_per_s=0.05)) as gate:
        async with gate.client() as client:
            first, second = [await client.call_tool("models_list", {}) for _ in range(2)]
            assert not first.is_error
            assert denial(second)["code"] == "rate_limited"
            assert 0 < denial(second)["retry_after_s"] <= 20
            assert not (await client.call_tool("notes__search_notes", {})).is_error
        async with gate.client(key="secret-b") as other:
            assert not (await other.call_tool("models_list", {})).is_error
