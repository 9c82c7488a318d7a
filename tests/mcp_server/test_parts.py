"""Rates, back-off and open streams by themselves, with a clock that is moved by hand."""

from typing import Any

import pytest

from gateway.core.upstream import UpstreamFailed
from gateway.pipeline.key_rate import KeyRate
from mcp_server.streams import Streams
from mcp_server.upstream.backoff import Backoff
from mcp_server.upstream.listing import ToolDefinition, deeper_than, read_tool


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_lets_a_burst_through_and_then_its_rate() -> None:
    clock = Clock()
    rate = KeyRate(10.0, 3, clock)
    assert [rate.retry_after_s("a") for _ in range(3)] == [None] * 3
    assert rate.retry_after_s("a") == pytest.approx(0.1)
    assert rate.retry_after_s("b") is None
    clock.now += 0.1
    assert rate.retry_after_s("a") is None
    assert rate.retry_after_s("a") == pytest.approx(0.1)
    clock.now += 60
    assert [rate.retry_after_s("a") is None for _ in range(4)] == [True, True, True, False]


def test_back_off_doubles_up_to_its_end_and_forgets_at_success() -> None:
    clock = Clock()
    backoff = Backoff("x", 0.5, 3.0, clock)
    backoff.check()
    waits = []
    for _ in range(5):
        backoff.failed()
        waits.append(backoff.wait_s)
        with pytest.raises(UpstreamFailed, match="`x`"):
            backoff.check()
        clock.now += backoff.wait_s
        backoff.check()
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.succeeded()
    assert (backoff.failing, backoff.wait_s) == (False, 0)


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(("depth", "deeper"), [(3, False), (4, False), (5, True), (500, True)])
def test_depth_is_measured_without_depth(depth: int, deeper: bool) -> None:
    assert deeper_than(nested(depth), 4) is deeper


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"inputSchema": {"type": "object"}}, "name"),
        ({"name": "a b", "inputSchema": {"type": "object"}}, "name"),
        ({"name": "x" * 129, "inputSchema": {"type": "object"}}, "name"),
        ("no object", "name"),
        ({"name": "x"}, "specification"),
        ({"name": "x", "inputSchema": {"type": "string"}}, "specification"),
        ({"name": "x", "inputSchema": {"type": "object", "description": "x" * 300_000}}, "larger"),
        ({"name": "x", "inputSchema": {"type": "object", "properties": nested(100)}}, "deeper"),
        (
            {
                "name": "x",
                "inputSchema": {"type": "object", "properties": {"a": {"type": "object", "x-mcp-header": "A"}}},
            },
            "x-mcp-header",
        ),
    ],
)
def test_a_tool_that_is_none_is_refused_by_name(raw: Any, fault: str) -> None:
    found: dict[str, ToolDefinition] = {}
    refused: list[tuple[str, str]] = []
    read_tool(raw, found, refused)
    assert found == {}
    assert fault in refused[0][1]


def test_an_output_schema_of_the_modern_era_is_kept_from_older_clients() -> None:
    found: dict[str, ToolDefinition] = {}
    raw = {"name": "x", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}, "x-vendor": 1}
    read_tool(raw, found, [])
    assert found["x"].raw is raw
    assert found["x"].legacy == {"name": "x", "inputSchema": {"type": "object"}, "x-vendor": 1}


async def test_streams_are_counted_by_key() -> None:
    async def send(message: Any) -> None: ...

    streams = Streams(per_key_max=1)
    first = streams.open("a", send, lambda _: None, lasting=True)
    assert first is not None
    assert streams.open("a", send, lambda _: None, lasting=True) is None
    assert streams.open("b", send, lambda _: None, lasting=True) is not None
    assert len(streams) == 2
    assert not await streams.none_open(0.0)
    streams.forget(first)
    assert streams.open("a", send, lambda _: None, lasting=True) is not None
