"""The switch on calls in flight: what runs is ended at once, in good form, and booked; what waits is refused."""

import asyncio
import json
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from openai import APIError

from tests.support.clients import Answer, Counted, Crowd, ask, crowd, parsed, post, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import PRICE, ROOT, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-flights")

RAW = ROOT / "tests" / "mcp_server" / "servers" / "raw.py"
GENEROUS_S = 3.0
"""On a machine that does other things too; what is promised is 100 ms."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    directory: Path = tmp_path_factory.mktemp("flights")
    log = directory / "tools.log"
    with GatewayProcess(
        directory,
        upstream.base_url,
        models={"small": {"provider": "mock", "model": "mock-ok", "price": PRICE, "max_output_tokens": 4096}},
        mcp={"servers": {"raw": {"transport": "stdio", "command": [sys.executable, str(RAW), "--log", str(log)]}}},
    ) as gateway:
        with sdk(gateway) as client:  # its tokens are counted: the tokenizer is loaded by then
            client.chat.completions.create(**ask(scripted(usage="missing")))
        yield gateway


@pytest.fixture
def tool_log(shared: GatewayProcess) -> Callable[[], str]:
    """What reached the tool server."""
    return (shared.directory / "tools.log").read_text


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    yield shared
    for stop in shared.admin("GET", "/api/v1/stops").json["stops"]:
        shared.admin("POST", "/api/v1/stops", {"kind": stop["kind"], "name": stop["name"], "action": "resume"})


SILENT = {"events": 50, "fault": "hang_mid_stream", "fault_after": 3}


@dataclass
class Running:
    """A stream that is under way. `events` as they come; `ended_at` is set when it is over."""

    call_id: str
    session: str
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[str] = field(default_factory=list)
    ended_at: float = 0.0

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    def cut(self) -> dict[str, Any]:
        """The error event with which it ended (rule 32)."""
        assert "[DONE]" not in self.events
        last = self.chunks[-1]
        assert set(last) == {"error"}, last
        error: dict[str, Any] = last["error"]
        assert error["comptroller"]["call"] == self.call_id
        return error


@asynccontextmanager
async def streaming(
    clients: Crowd, session: str, script: dict[str, Any], *, key: str = "alice", **fields: Any
) -> AsyncIterator[tuple[Running, "asyncio.Task[None]"]]:
    """A stream that has begun; leaving the context waits for its end."""
    body = ask(scripted(**script), stream=True, stream_options={"include_usage": True}, **fields)
    url = f"{clients.gateway.base_url}/chat/completions"
    async with clients.session.post(url, json=body, headers=clients.headers(key, session)) as reply:
        assert reply.status == 200, await reply.text()
        running = Running(reply.headers["x-comptroller-call"], reply.headers["x-comptroller-session"])

        async def read() -> None:
            async for line in reply.content:
                if line.startswith(b"data: "):
                    running.events.append(line[6:].strip().decode())
                    if "content" in running.events[-1]:
                        running.begun.set()
            running.ended_at = time.monotonic()

        reading = asyncio.create_task(read())
        await running.begun.wait()
        yield running, reading
        async with asyncio.timeout(10):
            await reading


async def first_call(gateway: GatewayProcess, session: str) -> Answer:
    async with crowd(gateway) as clients:
        return await clients.chat(ask("hello"), session=session)


@asynccontextmanager
async def mcp(gateway: GatewayProcess, *, session: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {gateway.keys['alice']}"}
    if session is not None:
        headers["x-comptroller-session"] = session
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(f"{gateway.origin}/mcp", http_client=http)
        async with Client(transport, mode=mode, cache=None) as client:
            yield client


async def change(gateway: GatewayProcess, session: str, action: str, reason: str = "enough") -> tuple[float, Any]:
    """When it was asked for, and the answer."""
    asked_at = time.monotonic()
    path = f"/api/v1/sessions/{session}"
    reply = await asyncio.to_thread(gateway.admin, "POST", path, {"action": action, "reason": reason})
    assert reply.status == 200, reply.body
    return asked_at, reply.json


@pytest.mark.parametrize(("action", "code"), [("pause", "session_paused"), ("stop", "session_stopped")])
@pytest.mark.parametrize("how", ["silent", "talking"])
async def test_rule_32_a_stream_of_a_session_that_is_held_ends_at_once_and_is_booked(
    gateway, upstream, action, code, how
):
    script = SILENT if how == "silent" else {"events": 10_000, "pace_s": 0.01}
    name = f"{how}-{action}"
    async with crowd(gateway) as clients, streaming(clients, name, script, max_tokens=2000) as (running, reading):
        await asyncio.sleep(0.1)
        asked_at, answer = await change(gateway, running.session, action)
        await reading
    assert answer["ended"] == 1
    assert running.ended_at - asked_at < GENEROUS_S
    error = running.cut()
    assert error["code"] == code
    assert "enough" in error["message"]
    usages = [chunk["usage"] for chunk in running.chunks if chunk.get("usage")]
    assert len(usages) == 1, "usage comes first where it was asked for"
    row = gateway.call(running.call_id)
    assert (row["state"], row["outcome"], row["estimated"]) == ("settled", "cut_by_stop", "cut_by_stop")
    assert row["output_tokens"] == usages[0]["completion_tokens"]
    stats = await upstream.until(lambda stats: stats["in_flight"] == 0)
    assert stats["requests"][-1]["outcome"] == "client_gone", "the provider was told to stop"
    assert gateway.held() == 0


def test_the_sdk_raises_with_the_words_of_the_person_who_stopped_it(gateway):
    with sdk(gateway, session="sdk") as client:
        raw = client.chat.completions.with_raw_response.create(**ask(scripted(**SILENT)), stream=True)
        stream = raw.parse()
        next(iter(stream))
        gateway.cli("sessions", "stop", raw.headers["x-comptroller-session"], "--reason", "runs in circles")
        with pytest.raises(APIError, match="runs in circles"):
            list(stream)


async def test_a_whole_agent_is_stopped_in_all_its_sessions_and_new_ones_until_it_is_let_go_on(gateway):
    async with (
        crowd(gateway) as clients,
        streaming(clients, "first", SILENT) as (first, first_reading),
        streaming(clients, "second", SILENT) as (second, second_reading),
        streaming(clients, "other", SILENT, key="bob") as (other, _),
    ):
        said = await asyncio.to_thread(
            gateway.cli, "sessions", "stop", "--agent", "reviewer", "--reason", "too dear", "--json"
        )
        await asyncio.gather(first_reading, second_reading)
        assert not other.ended_at, "who is not of that agent goes on"
        assert said.json["ended"] == 2
        for running in (first, second):
            assert running.cut()["code"] == "agent_stopped"
            assert "too dear" in running.cut()["message"]
        refused = await clients.chat(ask("a new session"), session="third")
        assert (refused.status, refused.code) == (402, "agent_stopped")
        listed = await asyncio.to_thread(gateway.cli, "sessions", "list", "--held", "--json")
        assert [(row["kind"], row["name"], row["reason"]) for row in listed.json if row["kind"] == "agent"] == [
            ("agent", "reviewer", "too dear")
        ]
        said = await asyncio.to_thread(gateway.cli, "sessions", "resume", "--agent", "reviewer")
        assert said.out.strip() == "Agent reviewer is open."
        assert (await clients.chat(ask("on we go"), session="third")).status == 200
        await change(gateway, other.session, "stop")


def test_a_stop_of_a_user_outlives_a_restart(start):
    gateway = start()
    gateway.cli("sessions", "pause", "--user", "alice")
    gateway.restart()
    with Counted(gateway, "alice") as counted:
        refused = counted.refused(**ask("may I?"))
        assert (refused.status, refused.code, refused.requests) == (402, "agent_stopped", 1)
        gateway.cli("sessions", "resume", "--user", "alice")
        assert counted.chat(**ask("may I?")).choices
    assert gateway.cli("audit", "verify").code == 0


async def test_a_revoked_key_ends_its_streams(gateway):
    made = gateway.admin("POST", "/api/v1/keys", {"name": "brief", "user": "alice"}).json
    gateway.keys["brief"] = made["secret"]
    async with crowd(gateway) as clients, streaming(clients, "s", SILENT, key="brief") as (running, _):
        await asyncio.to_thread(gateway.cli, "keys", "revoke", "brief")
    assert running.cut()["code"] == "key_revoked"
    assert gateway.call(running.call_id)["outcome"] == "cut_by_stop"


async def test_a_key_that_expires_ends_its_streams(gateway):
    expires = datetime.now(UTC) + timedelta(seconds=2)
    made = gateway.admin("POST", "/api/v1/keys", {"name": "until", "user": "alice", "expires_at": expires.isoformat()})
    gateway.keys["until"] = made.json["secret"]
    async with crowd(gateway) as clients, streaming(clients, "s", SILENT, key="until") as (running, _):
        pass
    assert datetime.now(UTC) >= expires
    assert running.cut()["code"] == "key_expired"


async def test_rule_10_a_plain_call_is_refused_at_once_and_booked_with_its_real_usage(gateway, upstream):
    session = (await first_call(gateway, "plain")).headers["x-comptroller-session"]
    async with crowd(gateway) as clients:
        body = ask(scripted(waits=True, events=7))
        calling = asyncio.create_task(clients.chat(body, session="plain"))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
        _, changed = await change(gateway, session, "stop")
        answer = await calling
        assert changed["ended"] == 1
        assert upstream.stats()["in_flight"] == 1, "it did not wait for the provider"
        upstream.release()
    assert (answer.status, answer.code) == (402, "session_stopped")
    assert answer.headers["x-should-retry"] == "false"
    row = gateway.call(answer.json["error"]["comptroller"]["call"])
    assert (row["state"], row["outcome"], row["estimated"]) == ("settled", "cut_by_stop", None)
    assert row["output_tokens"] == 7
    assert gateway.held() == 0


async def test_a_stream_that_has_not_begun_is_refused_and_its_prompt_is_booked(gateway, upstream):
    session = (await first_call(gateway, "early")).headers["x-comptroller-session"]
    async with crowd(gateway) as clients:
        calling = asyncio.create_task(clients.chat(ask(scripted(delay_s=20.0), stream=True), session="early"))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
        await change(gateway, session, "pause")
        answer = await calling
    assert (answer.status, answer.code) == (402, "session_paused")
    row = gateway.call(answer.json["error"]["comptroller"]["call"])
    assert (row["state"], row["outcome"], row["output_tokens"]) == ("settled", "cut_by_stop", 0)
    assert row["input_tokens"] > 0
    await upstream.until(lambda stats: stats["in_flight"] == 0)


def _to_the_end(connection: socket.socket) -> bytes:
    rest = b""
    while not rest.endswith(b"\r\n0\r\n\r\n"):
        part = connection.recv(65536)
        assert part, "the reply broke off"
        rest = rest[-4000:] + part
    return rest


async def test_a_client_that_does_not_read_keeps_neither_upstream_nor_budget(gateway, upstream):
    upstream.script(contains="never read", text=("w" * 4000 + " ") * 5000, obey_cap=False)
    body = json.dumps({**ask("never read"), "stream": True}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(post(gateway, body, headers="x-comptroller-session: lazy\r\n"))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1024)
        headers = parsed(head).headers
        call_id = headers["x-comptroller-call"]
        await asyncio.sleep(1.0)
        assert upstream.stats()["in_flight"] == 1, "it is held up by its reader"
        asked_at, changed = await change(gateway, headers["x-comptroller-session"], "stop")
        assert changed["ended"] == 1
        row = await asyncio.to_thread(gateway.call, call_id)
        assert time.monotonic() - asked_at < GENEROUS_S
        assert row["outcome"] == "cut_by_stop"
        await upstream.until(lambda stats: stats["in_flight"] == 0)
        rest = await asyncio.to_thread(_to_the_end, connection)
    assert b'"code":"session_stopped"' in rest[-3000:]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_held_tool_call_is_cancelled_at_its_server_and_says_why(gateway, mode, tool_log):
    async with mcp(gateway, session=f"tools-{mode}", mode=mode) as client:
        await client.call_tool("raw__echo", {})
        session = (await client.call_tool("raw__echo", {"again": 1})).meta["comptroller/session"]
        before = tool_log().count("cancelled")
        calling = asyncio.create_task(client.call_tool("raw__wait", {}))
        await asyncio.to_thread(
            eventually, lambda: "call wait" in tool_log().rpartition("cancelled")[2], what="the call"
        )
        asked_at, changed = await change(gateway, session, "stop", "it hangs")
        result = await calling
    assert time.monotonic() - asked_at < GENEROUS_S
    assert changed["ended"] == 1
    assert result.is_error
    denial = result.structured_content["comptroller"]
    assert denial["code"] == "session_stopped"
    assert "it hangs" in str(result.content[0])
    await asyncio.to_thread(eventually, lambda: tool_log().count("cancelled") > before, what="the cancellation")
    row = gateway.call(denial["call"])
    assert (row["state"], row["outcome"], row["tool_calls"]) == ("settled", "cut_by_stop", 1)


async def test_a_cut_stream_is_explained_to_its_agent(gateway):
    async with crowd(gateway) as clients, streaming(clients, "explained", SILENT) as (running, _):
        await change(gateway, running.session, "pause", "look at it")
    async with mcp(gateway) as client:
        said = (await client.call_tool("denial_explain", {"call_id": running.call_id})).structured_content
    assert "was ended while it ran: session_paused" in said["summary"]
    assert said["comptroller"]["code"] == "session_paused"


async def test_how_fast_it_is(gateway, record_property):
    """The median of ten, from the request of the switch to the end of the stream at the client; generous here."""
    took = []
    async with crowd(gateway) as clients:
        for number in range(10):
            async with streaming(clients, f"fast-{number}", SILENT) as (running, reading):
                asked_at, _ = await change(gateway, running.session, "stop")
                await reading
            took.append(running.ended_at - asked_at)
    median_ms = statistics.median(took) * 1000
    record_property("stop_to_end_ms", round(median_ms, 1))
    print(f"stop to end: median {median_ms:.1f} ms, worst {max(took) * 1000:.1f} ms")
    assert median_ms < 1000
