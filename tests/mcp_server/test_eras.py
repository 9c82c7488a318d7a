"""Any client, whatever its era, with any tool server, whatever its era and transport."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.mcp_server.serving import at_port, example, gateway, over_http, raw

MODES = ("auto", "legacy", "2026-07-28")
CHANGING = ["quota_request", "session_open_child", "session_close"]
OWN = ["quota_status", "quota_estimate", "quota_limits", "quota_history", *CHANGING, "models_list", "denial_explain"]


async def config_of(kind: str, stack: AsyncExitStack) -> Any:
    match kind:
        case "stdio modern":
            return example("up")
        case "stdio legacy":
            return raw("up")
        case "http modern":
            return at_port("up", await stack.enter_async_context(over_http()))
        case _:
            return at_port("up", await stack.enter_async_context(over_http("--legacy-only")))


@pytest.mark.parametrize(
    ("kind", "tool", "arguments", "answer"),
    [
        ("stdio modern", "add_note", {"text": "milk"}, {"id": 1, "text": "milk"}),
        ("stdio legacy", "echo", {"a": [1, None]}, {"a": [1, None]}),
        ("http modern", "count", {}, {"count": 1}),
        ("http legacy", "count", {}, {"count": 1}),
    ],
)
@pytest.mark.parametrize("mode", MODES)
async def test_every_client_reaches_every_server(
    kind: str, mode: str, tool: str, arguments: dict[str, Any], answer: dict[str, Any]
) -> None:
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(gateway(await config_of(kind, stack)))
        client = await stack.enter_async_context(gate.client(mode))
        listed = await client.list_tools()
        assert [found.name for found in listed.tools][: len(OWN)] == OWN
        assert f"up__{tool}" in [found.name for found in listed.tools]
        result = await client.call_tool(f"up__{tool}", arguments)
        assert not result.is_error
        assert result.structured_content == answer
        assert result.meta is not None
        assert result.meta["comptroller/call"] == "call-1"
        assert result.meta["comptroller/session"] == "session-of-alice"
        assert result.meta["comptroller/quota"]["remaining"] == 999
        (outcome,) = gate.governance.outcomes
        assert (outcome.state, outcome.ask.server, outcome.ask.tool, outcome.ask.name) == (
            "settled",
            "up",
            tool,
            f"up__{tool}",
        )


@pytest.mark.parametrize("mode", MODES)
async def test_own_tools_answer_with_text_and_structure(mode: str) -> None:
    async with gateway() as gate, gate.client(mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == OWN
        for tool in tools.values():
            assert tool.output_schema is not None
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is (tool.name not in CHANGING)
        asked: dict[str, dict[str, Any]] = {
            "quota_status": {"session": "mine"},
            "denial_explain": {"call_id": "call-1"},
        }
        for name in OWN:
            result = await client.call_tool(name, asked.get(name, {}))
            assert not result.is_error
            assert result.structured_content is not None
            assert result.content[0].text == result.structured_content["summary"]  # type: ignore[union-attr]
        assert gate.governance.outcomes == []  # free: none of them is a tool call of the books


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("denial_explain", {}, "call_id"),
        ("denial_explain", {"call_id": 7}, "call_id"),
        ("quota_status", {"sesion": "x"}, "sesion"),
        ("denial_explain", {"call_id": "another key's"}, "call_id"),
    ],
)
async def test_own_tools_refuse_what_they_do_not_understand(name: str, arguments: dict[str, Any], field: str) -> None:
    async with gateway() as gate, gate.client() as client:
        result = await client.call_tool(name, arguments)
        assert result.is_error
        assert result.structured_content is not None
        assert result.structured_content["comptroller"]["code"] == "request_malformed"
        assert result.structured_content["comptroller"]["field"] == field


async def test_both_eras_are_told_that_tools_may_change() -> None:
    async with gateway() as gate:
        for mode in ("auto", "legacy"):
            async with gate.client(mode) as client:
                assert client.server_capabilities.tools is not None
                assert client.server_capabilities.tools.list_changed is True
                assert client.server_info is not None
                assert client.server_info.name == "comptroller"
