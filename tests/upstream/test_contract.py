"""One suite over both HTTP adapters, against a real provider process: what every adapter must do the same way."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.core.upstream import (
    Phase,
    Timeouts,
    UpstreamError,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamRequest,
    UpstreamTimeout,
)
from gateway.ports import Upstream
from gateway.upstream.aiohttp_client import AiohttpUpstream
from gateway.upstream.http1_client import Http1Upstream
from gateway.upstream.httpx_client import HttpxUpstream
from tests.support.fixtures import UpstreamProcess

CANARY = "Bearer sk-canary-5d3f"
CLIENTS: dict[str, Callable[[], Upstream]] = {
    "http1": Http1Upstream,
    "aiohttp": AiohttpUpstream,
    "httpx": HttpxUpstream,
    "httpx-http2": lambda: HttpxUpstream(http2=True),
}


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    client = CLIENTS[request.param]()
    yield client
    await client.close()


def chat(
    upstream: UpstreamProcess,
    model: str = "mock-ok",
    *,
    stream: bool = False,
    timeouts: Timeouts | None = None,
    reply_bytes_max: int = 64 * 1024 * 1024,
    **fields: object,
) -> UpstreamRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream, **fields}
    return UpstreamRequest(
        method="POST",
        url=f"{upstream.base_url}/chat/completions",
        headers=(("authorization", CANARY), ("content-type", "application/json")),
        body=json.dumps(body).encode(),
        timeouts=timeouts or Timeouts(),
        reply_bytes_max=reply_bytes_max,
    )


async def exchange(client: Upstream, request: UpstreamRequest, *, chunked: bool) -> tuple[int, bytes]:
    """One whole call, read at once or chunk by chunk."""
    reply = await client.send(request)
    try:
        body = b"".join([chunk async for chunk in reply.chunks()]) if chunked else await reply.read()
    finally:
        await reply.close()
    return reply.status, body


async def test_a_reply_arrives_whole(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    status, body = await exchange(client, chat(clean_upstream), chunked=False)
    assert status == 200
    assert json.loads(body)["usage"] == clean_upstream.log()[0].usage


async def test_a_stream_arrives_event_by_event(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(events=5, pace_s=0.02)
    reply = await client.send(chat(clean_upstream, stream=True))
    chunks = [chunk async for chunk in reply.chunks()]
    await reply.close()
    assert len(chunks) >= 5
    body = b"".join(chunks)
    assert body.endswith(b"data: [DONE]\n\n")
    assert body.count(b'"content":"word') == 5


@pytest.mark.parametrize(
    "model", ["mock-400", "mock-401", "mock-403", "mock-429", "mock-500", "mock-503", "mock-redirect"]
)
async def test_a_reply_of_any_status_is_a_reply(client: Upstream, clean_upstream: UpstreamProcess, model: str) -> None:
    status, _ = await exchange(client, chat(clean_upstream, model), chunked=False)
    assert status == (302 if model == "mock-redirect" else int(model.removeprefix("mock-")))
    assert len(clean_upstream.log()) == 1


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("mock-html", b"<!doctype html>"),
        ("mock-empty", b""),
        ("mock-bad-json", b'{"id": "x", "choices": ['),
        ("mock-wrong-json", b'["not", "a", "completion"]'),
    ],
)
async def test_a_body_is_passed_on_as_it_is(
    client: Upstream, clean_upstream: UpstreamProcess, model: str, expected: bytes
) -> None:
    status, body = await exchange(client, chat(clean_upstream, model), chunked=False)
    assert status == 200
    assert body.startswith(expected)


async def test_only_what_was_asked_for_is_sent(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    request = chat(clean_upstream)
    await exchange(client, request, chunked=False)
    row = clean_upstream.log()[0]
    sent = {name.lower(): value for name, value in row.headers}
    assert len(sent) == len(row.headers)
    assert sent.pop("host") == f"127.0.0.1:{clean_upstream.port}"
    assert sent.pop("content-length") == str(len(request.body))
    assert sent.pop("accept-encoding") == "identity"
    assert sent.pop("connection", "keep-alive") == "keep-alive"
    assert sent == dict(request.headers)
    assert row.body.encode() == request.body
    assert row.target == "/v1/chat/completions"


async def test_the_target_keeps_its_escapes_and_query(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    target = "/v1/models/a%2Fb%20c:x?key=k%2B1&alt=sse"
    request = UpstreamRequest("GET", clean_upstream.origin + target, (), b"", Timeouts())
    await exchange(client, request, chunked=False)
    row = clean_upstream.log()[0]
    assert (row.method, row.target, row.body) == ("GET", target, "")
    assert row.header("content-type") is None
    assert row.header("user-agent") is None


async def test_no_cookie_comes_back(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    for _ in range(2):
        await exchange(client, chat(clean_upstream, "mock-cookies"), chunked=False)
    assert [row.header("cookie") for row in clean_upstream.log()] == [None, None]


async def test_reply_headers_are_lower_case_and_joined(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(headers=[["X-Request-ID", "req_1"], ["Warning", "a"], ["warning", "b"]])
    reply = await client.send(chat(clean_upstream))
    assert reply.headers["x-request-id"] == "req_1"
    assert reply.headers["warning"] == "a, b"
    await reply.close()


@pytest.mark.parametrize("key", ["NO_PROXY", "HTTP_PROXY", "ALL_PROXY"])
async def test_the_environment_reroutes_nothing(
    client: Upstream, clean_upstream: UpstreamProcess, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(key, "http://127.0.0.1:9")
    status, _ = await exchange(client, chat(clean_upstream), chunked=False)
    assert status == 200


TIMEOUTS: dict[str, tuple[str, bool, Timeouts, Phase]] = {
    "hangs before headers": ("mock-hang", False, Timeouts(first_byte_s=0.1), Phase.FIRST_BYTE),
    "hangs within the head": ("mock-head-hang", False, Timeouts(first_byte_s=0.1), Phase.FIRST_BYTE),
    "hangs before headers, total first": ("mock-hang", False, Timeouts(total_s=0.1), Phase.TOTAL),
    "hangs mid-stream": ("mock-hang-mid", True, Timeouts(idle_s=0.1), Phase.IDLE),
    "hangs mid-body": ("mock-hang-mid", False, Timeouts(idle_s=0.1), Phase.IDLE),
    "drips for ever": ("mock-drip", False, Timeouts(idle_s=5, total_s=0.2), Phase.TOTAL),
    "drips a stream for ever": ("mock-drip", True, Timeouts(idle_s=5, total_s=0.2), Phase.TOTAL),
    "never ends": ("mock-endless", True, Timeouts(idle_s=5, total_s=0.2), Phase.TOTAL),
}


@pytest.mark.parametrize("case", TIMEOUTS)
async def test_each_bound_ends_the_call(client: Upstream, clean_upstream: UpstreamProcess, case: str) -> None:
    model, stream, timeouts, phase = TIMEOUTS[case]
    clean_upstream.script(model="mock-head-hang", fault="head_hang")
    with pytest.raises(UpstreamTimeout) as caught:
        await exchange(client, chat(clean_upstream, model, stream=stream, timeouts=timeouts), chunked=stream)
    assert (caught.value.phase, caught.value.sent) == (phase, True)
    await clean_upstream.until(lambda stats: stats["in_flight"] == 0 and stats["connections_open"] == 0)
    assert clean_upstream.log()[0].outcome == "client_gone"


async def test_a_first_byte_may_take_longer_than_a_pause(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(delay_s=0.3)
    request = chat(clean_upstream, stream=True, timeouts=Timeouts(first_byte_s=5, idle_s=0.1))
    status, _ = await exchange(client, request, chunked=True)
    assert status == 200


async def test_a_pause_may_take_longer_than_a_first_byte(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(events=2, pace_s=0.3)
    request = chat(clean_upstream, stream=True, timeouts=Timeouts(first_byte_s=0.1, idle_s=5))
    status, body = await exchange(client, request, chunked=True)
    assert status == 200
    assert body.endswith(b"[DONE]\n\n")


async def test_a_connection_that_is_never_made_was_not_sent(client: Upstream) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for other in waiting:  # fills the backlog, so that the kernel drops the next SYN
            other.setblocking(False)
            other.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}/v1/chat/completions"
        with pytest.raises(UpstreamTimeout) as caught:
            await client.send(UpstreamRequest("POST", url, (), b"{}", Timeouts(connect_s=0.2)))
        for other in waiting:
            other.close()
    assert (caught.value.phase, caught.value.sent) == (Phase.CONNECT, False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{closed}/v1", "http://no-such-host.invalid/v1", "http:///v1", "ftp://x/v1"]
)
async def test_an_unreachable_provider_was_not_sent_anything(client: Upstream, url: str) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can take it meanwhile
        taken.bind(("127.0.0.1", 0))
        closed = url.format(closed=taken.getsockname()[1])
        with pytest.raises(UpstreamFailed) as caught:
            await client.send(UpstreamRequest("POST", closed, (), b"{}", Timeouts()))
    assert not caught.value.sent


@pytest.mark.parametrize("value", ["a\r\nx-forged: 1", "a\nb", "a\x00b"])
async def test_a_header_with_a_line_break_is_never_sent(
    client: Upstream, clean_upstream: UpstreamProcess, value: str
) -> None:
    url = f"{clean_upstream.base_url}/models"
    with pytest.raises(UpstreamFailed) as caught:
        await client.send(UpstreamRequest("POST", url, (("x-note", value),), b"{}", Timeouts()))
    assert not caught.value.sent
    assert clean_upstream.log() == []


BREAKS = [
    ("mock-close", False),
    ("mock-rst", False),
    ("mock-garbage", False),
    ("mock-head-half", False),
    ("mock-huge-headers", False),
    ("mock-rst-mid", True),
    ("mock-close-mid", True),
    ("mock-half-close", True),
    ("mock-truncated-chunk", True),
    ("mock-bad-chunk", True),
    ("mock-rst-mid", False),
    ("mock-close-mid", False),
    ("mock-half-close", False),
]


@pytest.mark.parametrize("chunked", [False, True], ids=["read", "chunks"])
@pytest.mark.parametrize(("model", "stream"), BREAKS)
async def test_a_break_is_never_a_short_reply(
    client: Upstream, clean_upstream: UpstreamProcess, model: str, stream: bool, chunked: bool
) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await exchange(client, chat(clean_upstream, model, stream=stream), chunked=chunked)
    assert caught.value.sent
    await clean_upstream.until(lambda stats: stats["connections_open"] == 0)
    assert len(clean_upstream.log()) == 1


async def test_what_came_before_the_break_is_delivered(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(fault="rst_mid_stream", fault_after=4)
    reply = await client.send(chat(clean_upstream, stream=True))
    seen = bytearray()

    async def relay() -> None:
        async for chunk in reply.chunks():
            seen.extend(chunk)

    with pytest.raises(UpstreamFailed):
        await relay()
    await reply.close()
    assert seen.count(b'"content":"word') == 3


async def test_a_post_on_a_stale_connection_is_not_repeated(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    await exchange(client, chat(clean_upstream, "mock-rst-next"), chunked=False)
    with pytest.raises(UpstreamFailed) as caught:
        await exchange(client, chat(clean_upstream), chunked=False)
    assert caught.value.sent
    stats = clean_upstream.stats()
    assert (stats["count"], stats["resets_unread"]) == (1, 1)
    status, _ = await exchange(client, chat(clean_upstream), chunked=False)
    assert status == 200


async def test_a_connection_that_the_provider_closed_is_not_used_again(
    client: Upstream, clean_upstream: UpstreamProcess
) -> None:
    for _ in range(3):
        status, _ = await exchange(client, chat(clean_upstream, "mock-close-after"), chunked=False)
        assert status == 200
        await clean_upstream.until(lambda stats: stats["connections_open"] == 0)


@pytest.mark.parametrize("chunked", [False, True], ids=["read", "chunks"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_has_a_size_limit(
    client: Upstream, clean_upstream: UpstreamProcess, chunked: bool, stream: bool
) -> None:
    request = chat(clean_upstream, "mock-huge-line", stream=stream, reply_bytes_max=1_000_000)
    with pytest.raises(UpstreamInvalid):
        await exchange(client, request, chunked=chunked)
    await clean_upstream.until(lambda stats: stats["connections_open"] == 0)


async def test_a_huge_line_within_the_limit_passes(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    _, body = await exchange(client, chat(clean_upstream, "mock-huge-line", stream=True), chunked=True)
    assert len(body) > 10 * 1024 * 1024


async def test_an_encoded_reply_is_refused(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    with pytest.raises(UpstreamInvalid):
        await client.send(chat(clean_upstream, "mock-gzip"))


async def test_rule_10_closing_a_stream_stops_the_provider_at_once(
    client: Upstream, clean_upstream: UpstreamProcess
) -> None:
    clean_upstream.script(fault="endless", pace_s=0.005)
    reply = await client.send(chat(clean_upstream, stream=True))
    await anext(reply.chunks())
    closed_us = time.time_ns() // 1000
    await reply.close()
    await reply.close()
    await clean_upstream.until(lambda stats: stats["in_flight"] == 0)
    row = clean_upstream.log()[0]
    assert row.outcome == "client_gone"
    assert row.ended_us is not None
    assert row.ended_us - closed_us < 100_000


@pytest.mark.parametrize("model", ["mock-hang", "mock-hang-mid"])
async def test_cancelling_a_call_drops_its_connection(
    client: Upstream, clean_upstream: UpstreamProcess, model: str
) -> None:
    task = asyncio.create_task(exchange(client, chat(clean_upstream, model, stream=True), chunked=True))
    await clean_upstream.until(lambda stats: stats["in_flight"] == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clean_upstream.until(lambda stats: stats["connections_open"] == 0)


async def test_two_hundred_cancelled_streams_leave_no_connection(
    client: Upstream, clean_upstream: UpstreamProcess
) -> None:
    clean_upstream.script(fault="endless", pace_s=0.01)

    async def left_early(number: int) -> None:
        reply = await client.send(chat(clean_upstream, stream=True))
        chunks = reply.chunks()
        for _ in range(number % 3):
            await anext(chunks)
        await reply.close()

    for start in range(0, 200, 50):
        await asyncio.gather(*(left_early(number) for number in range(start, start + 50)))
    await clean_upstream.until(lambda stats: stats["connections_open"] == 0)
    assert len(clean_upstream.log()) == 200
    clean_upstream.reset()
    status, _ = await exchange(client, chat(clean_upstream), chunked=False)
    assert status == 200


async def test_calls_are_not_queued_behind_each_other(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    clean_upstream.script(delay_s=0.5)
    replies = await asyncio.gather(*(exchange(client, chat(clean_upstream), chunked=False) for _ in range(150)))
    assert {status for status, _ in replies} == {200}
    assert clean_upstream.stats()["in_flight_max"] == 150


async def test_connections_are_kept_and_used_again(client: Upstream, clean_upstream: UpstreamProcess) -> None:
    for stream in (False, True, False, True):
        await exchange(client, chat(clean_upstream, stream=stream), chunked=stream)
    assert len({row.connection for row in clean_upstream.log()}) == 1


@pytest.mark.parametrize("model", ["mock-close", "mock-hang", "mock-hang-mid", "mock-garbage", "mock-gzip"])
async def test_no_error_holds_a_credential(client: Upstream, clean_upstream: UpstreamProcess, model: str) -> None:
    request = chat(clean_upstream, model, timeouts=Timeouts(first_byte_s=0.1, idle_s=0.1))
    keyed = UpstreamRequest("POST", request.url + "?key=canary-5d3f", request.headers, request.body, request.timeouts)
    with pytest.raises(UpstreamError) as caught:
        await exchange(client, keyed, chunked=False)
    assert "canary" not in str(caught.getrepr(style="native"))
