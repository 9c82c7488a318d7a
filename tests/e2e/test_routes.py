"""Routes: simple calls for a dear model go to a cheaper one by the operator's rule, and it is said and written down."""

from collections.abc import Iterator

import pytest

from tests.support.clients import ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-sdk")

DEAR = {"input_usd_per_mtok": 10, "output_usd_per_mtok": 20}
TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
ROUTES = [
    {
        "name": "small-talk",
        "from": "dear",
        "to": "cheap",
        "when": "call.input_bytes < 2000 and call.tool_count == 0",
    },
    {"name": "nights", "from": ["dear"], "to": "cheap", "when": "call.tags.when == 'night'"},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("routes"),
        upstream.base_url,
        keys=(ALICE, {"name": "narrow", "user": "carol", "models": ["dear"]}),
        models={
            "dear": {"provider": "mock", "model": "mock-dear", "price": DEAR},
            "cheap": {"provider": "mock", "model": "mock-cheap", "price": PRICE},
        },
        routes=ROUTES,
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@pytest.mark.parametrize("stream", [False, True])
def test_a_simple_call_goes_to_the_cheaper_model(gateway, upstream, stream):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(**ask("hi", model="dear", stream=stream))
        assert list(raw.parse())
    assert raw.headers["x-comptroller-routed"] == "route=small-talk;from=dear;to=cheap"
    (row,) = upstream.log()
    assert row.json["model"] == "mock-cheap"
    call = gateway.call(raw.headers["x-comptroller-call"])
    assert call["usd_micros"] == row.usage["prompt_tokens"] + 2 * row.usage["completion_tokens"]
    held = next(doc for doc in gateway.journal("held") if doc["subject"] == raw.headers["x-comptroller-call"])
    assert (held["model"], held["routed_from"]) == ("mock-cheap", "dear")


@pytest.mark.parametrize(
    ("key", "fields", "tags", "model"),
    [
        ("alice", {"tools": [TOOL]}, "", "mock-dear"),
        ("alice", {"tools": [TOOL]}, "when=night", "mock-cheap"),
        ("alice", {"messages": [{"role": "user", "content": "x" * 3000}]}, "", "mock-dear"),
        ("narrow", {}, "", "mock-dear"),
    ],
)
def test_what_no_route_takes_or_the_caller_may_not_use_keeps_its_model(gateway, upstream, key, fields, tags, model):
    headers = {"x-comptroller-tags": tags} if tags else {}
    with sdk(gateway, key, default_headers=headers) as client:
        raw = client.chat.completions.with_raw_response.create(**{**ask(scripted(), model="dear"), **fields})
    assert upstream.log()[0].json["model"] == model
    assert ("x-comptroller-routed" in raw.headers) is (model == "mock-cheap")


def test_a_limit_that_sends_a_routed_call_on_keeps_the_model_that_was_asked_for(start, clean_upstream):
    gateway = start(
        models={
            "dear": {"provider": "mock", "model": "mock-dear", "price": DEAR},
            "cheap": {"provider": "mock", "model": "mock-cheap", "price": PRICE},
            "spare": {"provider": "mock", "model": "mock-spare", "price": PRICE},
        },
        routes=ROUTES[:1],
        limits=[
            {"name": "hop", "model": "cheap", "requests": 1, "window": "total", "action": {"route_to": "spare"}},
        ],
    )
    with sdk(gateway) as client:
        client.chat.completions.create(**ask("hi", model="dear"))
        raw = client.chat.completions.with_raw_response.create(**ask("hi again", model="dear"))
    assert [row.json["model"] for row in clean_upstream.log()] == ["mock-cheap", "mock-spare"]
    held = next(doc for doc in gateway.journal("held") if doc["subject"] == raw.headers["x-comptroller-call"])
    assert (held["model"], held["routed_from"]) == ("mock-spare", "dear")
