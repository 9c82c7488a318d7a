"""The HTTP edge of /mcp: who comes in, what is read, and how streams end."""

import asyncio
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from mcp_server.options import FrontOptions
from tests.mcp_server.governed import TableGovernance
from tests.mcp_server.serving import Gateway, at_port, example, gateway, over_http, raw
from tests.mcp_server.test_calls import until
from tests.mcp_server.test_listing import post

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
}
BOTH = {"accept": "application/json, text/event-stream"}
ALICE = {**BOTH, "authorization": "Bearer secret-a"}
BOB = {**BOTH, "authorization": "Bearer secret-b"}


async def opened(http: httpx2.AsyncClient, gate: Gateway, headers: dict[str, str]) -> dict[str, str]:
    """The headers of a legacy session."""
    reply = await http.post(f"{gate.url}/mcp", json=INITIALIZE, headers=headers)
    assert reply.status_code == 200
    within = {**headers, "mcp-session-id": reply.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post(f"{gate.url}/mcp", json=initialized, headers=within)).status_code == 202
    return within


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/mcp/notes"])
@pytest.mark.parametrize(("headers", "code"), [({}, "key_missing"), ({"authorization": "Bearer wrong"}, "key_unknown")])
async def test_every_verb_needs_a_key(method: str, path: str, headers: dict[str, str], code: str) -> None:
    async with gateway() as gate, httpx2.AsyncClient() as http:
        reply = await http.request(method, f"{gate.url}{path}", headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        if method != "HEAD":
            error = reply.json()["error"]
            assert error["comptroller"]["code"] == error["data"]["comptroller"]["code"] == code


async def test_a_key_is_asked_for_again_within_a_session() -> None:
    async with gateway() as gate, httpx2.AsyncClient() as http:
        within = await opened(http, gate, ALICE)
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await http.post(f"{gate.url}/mcp", json=ping, headers=within)).status_code == 200
        del gate.governance.keys["secret-a"]
        for method in ("POST", "GET", "DELETE"):
            assert (await http.request(method, f"{gate.url}/mcp", json=ping, headers=within)).status_code == 401


async def test_a_session_belongs_to_its_key() -> None:
    async with gateway() as gate, httpx2.AsyncClient() as http:
        within = await opened(http, gate, ALICE)
        stolen = {**within, **BOB}
        for method in ("POST", "GET", "DELETE"):
            reply = await http.request(
                method, f"{gate.url}/mcp", json={"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers=stolen
            )
            assert reply.status_code == 404
        unknown = {**within, "mcp-session-id": "0" * 32}
        assert (await http.get(f"{gate.url}/mcp", headers=unknown)).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"accept": "text/html"}, 406),
    ],
)
async def test_foreign_hosts_origins_and_formats_are_turned_away(headers: dict[str, str], status: int) -> None:
    async with gateway() as gate, httpx2.AsyncClient() as http:
        assert (await http.post(f"{gate.url}/mcp", json=INITIALIZE, headers={**ALICE, **headers})).status_code == status


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', 400, "request_malformed"),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', 400, "request_malformed"),
        (b'{"jsonrpc":"2.0","id":1,"method":"p\\ud800"}', 400, "request_malformed"),
        (b"[" * 1000, 400, "request_malformed"),
        (b"", 400, "request_malformed"),
        (b'"' + b"x" * 2000 + b'"', 413, "request_too_large"),
    ],
)
async def test_what_is_read_is_read_strictly(body: bytes, status: int, code: str) -> None:
    async with gateway(options=FrontOptions(body_bytes_max=1_000)) as gate, httpx2.AsyncClient() as http:
        headers = {**ALICE, "content-type": "application/json"}
        reply = await http.post(f"{gate.url}/mcp", content=body, headers=headers)
        assert (reply.status_code, reply.json()["error"]["comptroller"]["code"]) == (status, code)


@pytest.mark.parametrize(("path", "status"), [("/mcpx", 418), ("/", 418), ("/mcp/a/b", 418), ("/mcp/unknown", 404)])
async def test_other_paths_are_not_ours(path: str, status: int) -> None:
    async with gateway() as gate, httpx2.AsyncClient() as http:
        assert (await http.post(f"{gate.url}{path}", json=INITIALIZE, headers=ALICE)).status_code == status


async def test_nothing_of_a_client_reaches_a_tool_server_but_its_call() -> None:
    canaries = {
        "cookie": "session=canary",
        "x-forwarded-for": "canary",
        "x-api-key": "canary",
        "x-comptroller-session": "canary",
        "x-custom": "canary",
        "user-agent": "canary",
    }
    async with over_http() as port, over_http() as other_port:
        configs = at_port("up", port, bearer="of-up"), at_port("other", other_port, bearer="of-other")
        async with gateway(*configs) as gate:
            for mode in ("legacy", "2026-07-28"):
                async with gate.client(mode, headers=canaries) as client:
                    for name, own in (("up", "of-up"), ("other", "of-other")):
                        shown = (await client.call_tool(f"{name}__show", {})).structured_content
                        assert shown is not None
                        for headers in shown["seen"]:
                            assert headers["authorization"] == f"Bearer {own}"
                            assert "canary" not in str(headers)
                            assert "secret-a" not in str(headers)
            assert [outcome.ask.headers["x-custom"] for outcome in gate.governance.outcomes] == ["canary"] * 4
            asked = str([outcome.ask.headers for outcome in gate.governance.outcomes])
            assert "secret-a" not in asked
            assert "session=canary" not in asked


async def test_revoking_a_key_ends_its_streams_in_good_form() -> None:
    async with gateway(raw()) as gate, httpx2.AsyncClient(timeout=10) as http:
        alice, bob = await opened(http, gate, ALICE), await opened(http, gate, BOB)
        async with (
            http.stream("GET", f"{gate.url}/mcp", headers=alice) as ended,
            http.stream("GET", f"{gate.url}/mcp", headers=bob) as kept,
        ):
            await until(lambda: len(gate.front.streams) == 2)
            assert gate.front.close_streams("id-alice") == 1
            await ended.aread()  # raises where a chunked body is cut in the middle
            await until(lambda: len(gate.front.streams) == 1)
            assert gate.front.close_streams("id-bob") == 1
            await kept.aread()


async def test_revoking_a_key_ends_its_calls_of_the_modern_era() -> None:
    async with gateway(raw()) as gate, gate.client("2026-07-28") as client:
        call = asyncio.create_task(client.call_tool("raw__wait", {}))
        await until(lambda: bool(gate.governance.outcomes))
        gate.front.close_streams("id-alice")
        with pytest.raises(MCPError):
            await call
        assert gate.governance.outcomes[0].state == "cancelled"


async def test_stopping_ends_streams_first_and_lets_calls_finish() -> None:
    async with gateway(example()) as gate, httpx2.AsyncClient(timeout=10) as http:
        within = await opened(http, gate, ALICE)
        async with (
            gate.client() as client,
            client.listen(tools_list_changed=True) as events,
            http.stream("GET", f"{gate.url}/mcp", headers=within) as stream,
        ):
            await until(lambda: len(gate.front.streams) == 2)
            await gate.front.drain(grace_s=5.0)
            await stream.aread()
            assert [event async for event in events] == []  # ended by its last message, not by an error
            assert len(gate.front.streams) == 0
            reply = await http.post(f"{gate.url}/mcp", json=INITIALIZE, headers=ALICE)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


async def test_a_key_has_a_bounded_number_of_sessions() -> None:
    async with gateway(options=FrontOptions(sessions_per_key_max=2)) as gate, httpx2.AsyncClient() as http:
        first = await opened(http, gate, ALICE)
        await opened(http, gate, ALICE)
        refused = await http.post(f"{gate.url}/mcp", json=INITIALIZE, headers=ALICE)
        assert refused.status_code == 429
        assert refused.json()["error"]["comptroller"]["code"] == "concurrency_limited"
        await opened(http, gate, BOB)
        assert (await http.delete(f"{gate.url}/mcp", headers=first)).status_code == 200
        await opened(http, gate, ALICE)


async def test_it_starts_again_after_it_stopped() -> None:
    governance = TableGovernance()
    async with gateway(example(), governance=governance) as gate:
        await gate.front.stop()
        assert (await post(gate.url, "tools/list", {}))["error"]["comptroller"]["code"] == "overloaded"
        await gate.front.start()
        result: Any = await post(gate.url, "tools/call", {"name": "notes__search_notes"})
        assert result["result"]["isError"] is False
