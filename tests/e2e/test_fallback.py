"""A model with several deployments: the books name the provider that served, and its limits bind before it is asked."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import Counted, ask, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-fallback")

LIMITS: list[dict[str, Any]] = [
    {"name": "each-provider", "each": "provider", "tokens": 1_000_000, "window": "total"},
    {"name": "dead-calls", "provider": "dead", "requests": 100, "window": "total"},
    {"name": "spare-calls", "provider": "spare", "requests": 2, "window": "total"},
    {"name": "places", "provider": "spare", "concurrent": 5},
]


@pytest.fixture
def nobody() -> Iterator[str]:
    """A base URL where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@pytest.fixture
def gateway(start: Any, clean_upstream: UpstreamProcess, nobody: str) -> GatewayProcess:
    kind = {"kind": "openai_compatible", "api_key": "${PROVIDER_KEY}"}
    deployments = [{"provider": "dead", "model": "x"}, {"provider": "spare", "model": "mock-ok"}]
    started: GatewayProcess = start(
        providers={"dead": {**kind, "base_url": nobody}, "spare": {**kind, "base_url": clean_upstream.base_url}},
        models={"small": {"deployments": deployments, "price": PRICE, "max_output_tokens": 500}},
        limits=LIMITS,
    )
    return started


def counters(gateway: GatewayProcess) -> dict[str, tuple[int, int]]:
    """(spent, held) of every live counter that has any."""
    listed = gateway.cli("limits", "list", "--json").json
    return {row["scope"]: (row["spent"], row["held"]) for row in listed if row["name"] == "each-provider"} | {
        row["name"]: (row["spent"], row["held"]) for row in listed if row["name"] != "each-provider"
    }


def by_provider(gateway: GatewayProcess) -> dict[str, int]:
    rows = gateway.cli("usage", "--by", "provider", "--json").json
    return {row["provider"]: row["calls"] for row in rows if row["calls"]}


@pytest.mark.parametrize("stream", [False, True])
def test_rule_11_a_call_is_booked_and_counted_on_the_provider_that_served_it(gateway, upstream, stream):
    with sdk(gateway) as client:
        reply = client.chat.completions.create(**ask(), stream=stream)
        if stream:
            list(reply)
    (row,) = gateway.settled()
    tokens = row["input_tokens"] + row["output_tokens"]
    assert by_provider(gateway) == {"spare": 1}
    live = counters(gateway)
    assert live["provider:spare"] == (tokens, 0)
    assert live["spare-calls"] == (1, 0)
    assert live.get("provider:dead", (0, 0)) == (0, 0)
    assert live.get("dead-calls", (0, 0)) == (0, 0)
    assert live["places"] == (0, 0)
    gateway.restart()
    with sdk(gateway) as client:
        client.chat.completions.create(**ask())
    gateway.quiesce()
    again = counters(gateway)
    assert again["provider:spare"][0] > tokens, "what the ledger says is what was counted"
    assert again["spare-calls"] == (2, 0)
    assert again.get("dead-calls", (0, 0)) == (0, 0)


def test_a_deployment_is_not_asked_beyond_the_limits_of_its_provider(gateway, upstream):
    with sdk(gateway) as client:
        for _ in range(2):
            client.chat.completions.create(**ask())
    with Counted(gateway, "alice", max_retries=0) as counted:
        refused = counted.refused(**ask())
    assert (refused.status, refused.code) == (502, "upstream_failed")
    assert len(upstream.log()) == 2
    gateway.quiesce()
    assert counters(gateway)["spare-calls"] == (2, 0)
    assert counters(gateway)["places"] == (0, 0)
