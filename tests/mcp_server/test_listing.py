"""The list of tools: what is in it, what is left out, and how its changes are told."""

import asyncio
from typing import Any

import httpx2
import pytest
from mcp_types import ToolListChangedNotification

from gateway.core.tool_name import NAME_CHARACTERS_MAX, canonical, shorten
from mcp_server.own_tools import DEFINITIONS
from mcp_server.upstream.config import ServerConfig
from tests.mcp_server.governed import TableGovernance
from tests.mcp_server.serving import at_port, example, free_port, gateway, over_http, raw

OURS = len(DEFINITIONS)
NOTES = ["notes__add_note", "notes__search_notes", "notes__delete_note"]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_order_is_that_of_the_configuration_and_of_each_server(mode: str) -> None:
    async with gateway(raw("b"), example(), raw("a", "--pages")) as gate:
        listed = await gate.listed(mode=mode)
        first, notes, last = listed[OURS : OURS + 11], listed[OURS + 11 : OURS + 14], listed[OURS + 14 :]
        assert [{name.partition("__")[0] for name in names} for names in (first, last)] == [{"b"}, {"a"}]
        assert notes == NOTES
        assert [name.partition("__")[2] for name in first] == [name.partition("__")[2] for name in last]
        assert await gate.listed(mode=mode) == listed


async def test_the_list_follows_the_key() -> None:
    governance = TableGovernance(denied={"bob:notes__add_note", "notes__delete_note"})
    async with gateway(example(), governance=governance) as gate:
        assert (await gate.listed())[OURS:] == ["notes__add_note", "notes__search_notes"]
        assert (await gate.listed(key="secret-b"))[OURS:] == ["notes__search_notes"]


@pytest.mark.parametrize("path", ["/mcp/notes", "/mcp/notes/"])
async def test_one_server_has_its_own_names_and_no_tools_of_ours(path: str) -> None:
    governance = TableGovernance(denied={"notes__delete_note"})
    async with gateway(example(), raw(), governance=governance) as gate, gate.client(path=path) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["add_note", "search_notes"]
        assert not (await client.call_tool("add_note", {"text": "x"})).is_error
        assert governance.outcomes[0].ask.name == "notes__add_note"
        for hidden in ("delete_note", "quota_status", "raw__echo", "notes__add_note"):
            assert (await client.call_tool(hidden, {})).is_error


async def test_a_bad_tool_is_left_out_alone() -> None:
    async with gateway(raw("raw", "--bad-tools"), example()) as gate:
        listed = await gate.listed()
        assert listed.count("raw__echo") == 1
        assert [name for name in listed if name.startswith("raw__")][-1] == "raw__broken"
        assert listed[-3:] == NOTES


@pytest.mark.parametrize(
    "dead",
    [
        ServerConfig("dead", "stdio", command=("/nonexistent/program",)),
        ServerConfig("dead", "http", url=f"http://127.0.0.1:{free_port()}/mcp"),
        ServerConfig("dead", "stdio", command=("true",)),
    ],
    ids=["no program", "no listener", "ends at once"],
)
async def test_a_dead_server_is_named_and_hides_nobody(dead: ServerConfig) -> None:
    async with gateway(dead, example()) as gate, gate.client() as client:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools][OURS:] == NOTES
        assert listed.meta is not None
        assert listed.meta["comptroller/missing"] == ["dead"]
        result = await client.call_tool("dead__tool", {})
        assert result.is_error
        assert result.structured_content is not None
        assert result.structured_content["comptroller"]["code"].startswith("upstream_")
        assert "`dead`" in result.content[0].text  # type: ignore[union-attr]


async def test_a_tool_is_described_as_its_server_describes_it() -> None:
    async with gateway(raw()) as gate:
        listed = await post(gate.url, "tools/list", {})
        (echo,) = [tool for tool in listed["result"]["tools"] if tool["name"] == "raw__echo"]
        assert echo == {"name": "raw__echo", "inputSchema": {"type": "object"}, "x-vendor": {"kept": [1, None]}}
        assert listed["result"]["cacheScope"] == "private"
        assert listed["result"]["resultType"] == "complete"


async def test_a_long_name_is_shortened_and_still_called() -> None:
    server = "s" * 60
    async with gateway(example(server)) as gate, gate.client() as client:
        names = [tool.name for tool in (await client.list_tools()).tools][OURS:]
        assert len(names) == len(set(names)) == 3
        assert all(len(name) <= NAME_CHARACTERS_MAX for name in names)
        assert names[0] == shorten(canonical(server, "add_note"))
        assert not (await client.call_tool(names[0], {"text": "x"})).is_error
        assert gate.governance.outcomes[0].ask.name == f"{server}__add_note"


async def test_an_unknown_cursor_is_an_error_of_the_request() -> None:
    async with gateway() as gate:
        assert (await post(gate.url, "tools/list", {"cursor": "x"}))["error"]["code"] == -32602


async def test_legacy_clients_hear_of_changes() -> None:
    changed = asyncio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    async with gateway(raw()) as gate, gate.client("legacy", message_handler=hear) as client:
        await client.list_tools()
        changed.clear()
        async with asyncio.timeout(10):
            while not changed.is_set():  # the stream for notifications opens a moment after the handshake
                await client.call_tool("raw__add_tool", {"name": "fresh"})
                await asyncio.wait([asyncio.create_task(changed.wait())], timeout=0.5)
        assert "raw__fresh" in [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("arguments", [(), ("--legacy-only",)], ids=["modern server", "legacy server"])
async def test_modern_clients_hear_of_changes_of_http_servers(arguments: tuple[str, ...]) -> None:
    async with over_http(*arguments) as port, gateway(at_port("up", port)) as gate, gate.client() as client:
        await client.list_tools()
        async with client.listen(tools_list_changed=True) as events, asyncio.timeout(15):
            await client.call_tool("up__add_tool", {"name": "fresh"})
            await anext(aiter(events))
            assert "up__fresh" in [tool.name for tool in (await client.list_tools()).tools]


async def test_what_policies_allow_may_change_too() -> None:
    async with (
        asyncio.timeout(10),
        gateway() as gate,
        gate.client() as client,
        client.listen(tools_list_changed=True) as events,
    ):
        gate.front.tools_changed()
        await anext(aiter(events))


async def post(url: str, method: str, params: dict[str, Any], path: str = "/mcp", **headers: str) -> Any:
    """One request of the modern era as it is on the wire."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        **params.pop("_meta", {}),
    }
    sent = {
        "authorization": "Bearer secret-a",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        **({"mcp-name": params["name"]} if "name" in params else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    async with httpx2.AsyncClient() as http:
        return (await http.post(f"{url}{path}", json=message, headers=sent)).json()
