"""Clients and upstreams that leave, linger or contradict themselves: over both servers, both lanes, both clients."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.clients import Counted, ask, crowd, parsed, post, raw, read_reply, scripted
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-hostile")

GOOD = json.dumps(ask()).encode()
WORD = 'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\n'
USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}\n\n'
DONE = "data: [DONE]\n\n"
UPGRADE = (
    "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "sec-websocket-version: 13\r\n"
)


@pytest.fixture(scope="module")
def shared(
    lane: tuple[str, bool], tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess
) -> Iterator[GatewayProcess]:
    server, fast_path = lane
    model = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096}
    names = ("lingers", "in-one-piece", "mock-401", "mock-403", "mock-redirect", "mock-html")
    with GatewayProcess(
        tmp_path_factory.mktemp("hostile"),
        upstream.base_url,
        server=server,
        fast_path=fast_path,
        keys=(ALICE, BOB),
        models={"small": {**model, "model": "mock-ok"}, **dict.fromkeys(names, model)},
        upstream={"client": "aiohttp" if fast_path else "httpx"},
        timeouts={"connect": "1s", "first_byte": "20m", "idle": "20m", "total": "1h"},
        loops={"identical_requests": 5, "identical_tool_calls": 6, "action": "pause"},
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    clean_upstream.script(
        model="lingers", raw=[WORD, USAGE, DONE, ": never sent\n\n"], fault="hang_mid_stream", fault_after=3
    )
    clean_upstream.script(
        model="in-one-piece",
        content_type="application/json",
        body=json.dumps(
            {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "all"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 300, "total_tokens": 305},
            }
        ),
    )
    return shared


async def test_rule_10_a_stream_left_before_its_first_byte_ends_upstream_at_once_and_is_booked(gateway, upstream):
    body = json.dumps(ask(scripted(waits=True), stream=True)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(post(gateway, body))
        await upstream.until(lambda stats: stats["in_flight"] == 1)
    await upstream.until(lambda stats: stats["in_flight"] == 0, timeout_s=60)
    assert [row.outcome for row in upstream.log()] == ["client_gone"]
    gateway.quiesce()
    (row,) = gateway.rows("SELECT * FROM calls ORDER BY seq DESC LIMIT 1")
    assert (row["state"], row["outcome"], row["estimated"]) == ("settled", "cut_by_client", "cut_by_client")
    assert row["input_tokens"] > 0
    assert row["output_tokens"] == 0


async def test_rule_10_streams_left_while_they_begin_leave_no_hold(gateway, upstream):
    async with crowd(gateway) as racing:
        text = scripted(delay_s=0.05, events=50, pace_s=0.02)
        calls = [asyncio.create_task(racing.chat(ask(text, stream=True))) for _ in range(24)]
        for at, call in enumerate(calls):
            await asyncio.sleep(0.005)
            call.cancel() if at % 2 else asyncio.get_running_loop().call_later(0.05, call.cancel)
        await asyncio.gather(*calls, return_exceptions=True)
    gateway.quiesce()
    await upstream.until(lambda stats: stats["in_flight"] == 0)
    assert sum(counter["held"] for counter in gateway.cli("limits", "list", "--json").json) == 0


def test_an_answer_is_complete_at_done_even_if_the_upstream_lingers(gateway):
    body = json.dumps(ask(model="lingers", stream=True)).encode()
    received = raw(gateway, post(gateway, body), timeout_s=60)  # the gateway's own limits are far beyond
    assert DONE.encode() in received
    assert received.rstrip().endswith(b"0"), "a clean end"
    assert b'"error"' not in received
    row = gateway.settled()[-1]
    assert (row["outcome"], row["output_tokens"], row["estimated"]) == ("ok", 3, None)


def test_rule_23_hanging_up_at_done_does_not_hide_a_loop(gateway):
    with Counted(gateway, "bob", session=f"lingers-{gateway.port}") as counted:
        for _ in range(4):
            list(counted.client.chat.completions.create(**ask(model="lingers"), stream=True))
            gateway.quiesce()
        refused = counted.refused(**ask(model="lingers"), stream=True)
    assert (refused.status, refused.code) == (402, "loop_detected")


@pytest.mark.parametrize(
    ("model", "code"),
    [("mock-401", "upstream_failed"), ("mock-403", "upstream_failed"), ("mock-redirect", "upstream_invalid")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_that_only_an_administrator_can_mend_reaches_the_caller_after_one_request(
    gateway, upstream, model, code, stream
):
    with Counted(gateway, "alice") as counted:
        refused = counted.refused(**ask(model=model), stream=stream)
    assert (refused.status, refused.code, refused.requests) == (502, code, 1)
    assert "administrator" in refused.shown
    assert len(upstream.log()) == 1
    gateway.quiesce()
    assert gateway.rows("SELECT state FROM calls ORDER BY seq DESC LIMIT 1") == [{"state": "voided"}]


def test_an_upstream_that_does_not_stream_is_booked_with_its_report_and_said_so(gateway, upstream):
    with Counted(gateway, "alice") as counted:
        refused = counted.refused(**ask(model="in-one-piece"), stream=True)
    assert (refused.status, refused.code, refused.requests) == (502, "upstream_invalid", 1)
    row = gateway.settled()[-1]
    assert (row["output_tokens"], row["estimated"]) == (300, None)


@pytest.mark.parametrize(("filler", "status"), [(24_000, 200), (40_000, 413)])
def test_headers_count_by_their_size_however_they_arrive(gateway, filler, status):
    """The bound is 32 KiB, also where a server would rather stop at 16 KiB of a head that is not whole."""
    request = post(gateway, GOOD, headers=f"x-filler: {'f' * filler}\r\n")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(request), 6_000):
            connection.sendall(request[at : at + 6_000])
            time.sleep(0.05)
        answer = parsed(read_reply(connection))
    assert answer.status == status
    assert status == 200 or answer.code == "request_too_large"


def pour(connection: socket.socket, line: bytes) -> None:
    for _ in range(2_000):
        connection.sendall(line)


@pytest.mark.parametrize("line", [b"x-a: " + b"f" * 8_000 + b"\r\n", b"f" * 8_000], ids=["many", "one endless"])
def test_headers_without_end_are_cut_off(gateway, line):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-b: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            pour(connection, line)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/mcp"])
def test_a_websocket_is_told_to_use_http(gateway, path):
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateway.keys['alice']}\r\n{UPGRADE}\r\n"
    answer = parsed(raw(gateway, head.encode()))
    assert answer.status == 426
    assert answer.json["error"]["message"]


@pytest.mark.parametrize(
    "name", ["x-api-key", "api-key", "x-goog-api-key", "x-comptroller-session", "x-comptroller-tags"]
)
def test_rule_31_two_values_where_one_would_be_dropped_are_refused(gateway, upstream, name):
    twice = f"{name}: {gateway.keys['bob']}\r\n{name}: {gateway.keys['alice']}\r\n"
    assert parsed(raw(gateway, post(gateway, GOOD, headers=twice))).status == 400
    assert upstream.log() == []


def test_rule_31_a_key_that_comes_twice_in_the_query_is_refused(gateway, upstream):
    path = f"/v1/chat/completions?key={gateway.keys['bob']}&key={gateway.keys['alice']}"
    assert parsed(raw(gateway, post(gateway, GOOD, path=path))).status in (400, 401)
    assert upstream.log() == []
