"""Kept answers: the same request again costs nothing and reaches nobody, inside its circle and while it may be made."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError

from tests.e2e.test_anthropic_sdk import sdk as anthropic_sdk
from tests.support.clients import ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-sdk")

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
KEPT = {"provider": "mock", "model": "mock-ok", "price": PRICE, "max_output_tokens": 500}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("cache"),
        upstream.base_url,
        keys=(
            {**ALICE, "team": "red"},
            {"name": "bob", "user": "bob", "team": "red"},
            {"name": "eve", "user": "eve"},
            {"name": "thrifty", "user": "eve"},
            {"name": "tight", "user": "eve"},
        ),
        models={
            "small": {**KEPT, "cache": {"kept_for": "10m"}},
            "team": {**KEPT, "cache": {"shared_by": "team"}},
            "other": {**KEPT, "cache": {}},
            "claude": {**KEPT, "provider": "claude", "cache": {}},
        },
        providers={
            "mock": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"},
            "claude": {"kind": "anthropic", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"},
        },
        limits=[
            {"name": "thrift", "key": "thrifty", "tokens": 2_000, "window": "total"},
            {"name": "tight", "key": "tight", "output_tokens": 450, "window": "total"},
            {"name": "ample", "each": "user", "tokens": 1_000_000, "window": "day"},
        ],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def made(gateway: GatewayProcess, key: str = "alice", headers: dict[str, str] | None = None, **body: Any) -> Any:
    """The raw reply of one chat call, read to its end."""
    with sdk(gateway, key) as client:
        raw = client.chat.completions.with_raw_response.create(**body, extra_headers=headers or {})
        if body.get("stream"):
            raw.words = "".join(c.choices[0].delta.content or "" for c in raw.parse() if c.choices)
        else:
            raw.words = raw.parse().choices[0].message.content
    return raw


def booked(gateway: GatewayProcess, raw: Any) -> dict[str, Any]:
    call = raw.headers["x-comptroller-call"]
    row: dict[str, Any] = eventually(
        lambda: row if (row := gateway.call(call))["state"] == "settled" else None, what="the settlement"
    )
    return row


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_again_is_answered_from_memory_and_charged_at_zero(gateway, upstream, stream):
    body = ask(f"again {stream}", stream=stream)
    first = made(gateway, **body)
    paid = booked(gateway, first)
    second = made(gateway, **body)
    assert len(upstream.log()) == 1
    assert second.words == first.words
    assert (first.headers["x-comptroller-cache"], second.headers["x-comptroller-cache"]) == ("miss", "hit")
    assert paid["usd_micros"] > 0
    assert second.headers["x-comptroller-saved-usd"] == f"{paid['usd_micros'] / 1e6:.6f}"
    free = booked(gateway, second)
    assert (free["usd_micros"], free["input_tokens"], free["output_tokens"]) == (0, 0, 0)
    assert free["call_id"] != paid["call_id"]
    settled = [doc for doc in gateway.journal("settled") if doc["subject"] == free["call_id"]]
    assert settled[0]["meters"] == [["cache_saved_usd_micros", paid["usd_micros"], 0]]
    assert settled[0]["price"] == "cache"


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"max_tokens": 20},
        {"stream": True},
        {"model": "other"},
        {"user": "u"},
        {"messages": [{"role": "user", "content": "other"}]},
    ],
)
def test_any_other_request_is_sent(gateway, upstream, change):
    body = ask(f"differs by {sorted(change)}")
    made(gateway, **body)
    other = made(gateway, **{**body, **change})
    assert other.headers.get("x-comptroller-cache") != "hit"
    assert len(upstream.log()) == 2


def test_an_answer_that_a_budget_made_shorter_is_not_kept(gateway, upstream):
    body = ask("short of room", max_tokens=500)
    for _ in range(2):
        raw = made(gateway, "tight", **body)
        assert raw.headers["x-comptroller-clamped"].startswith("max_tokens=")
        assert "x-comptroller-cache" not in raw.headers
    assert len(upstream.log()) == 2


def test_answers_stay_inside_their_circle(gateway, upstream):
    for model, key, hit in [
        ("small", "alice", False),
        ("small", "bob", False),
        ("team", "alice", False),
        ("team", "bob", True),
        ("team", "eve", False),
    ]:
        raw = made(gateway, key, **ask("who shares", model=model))
        assert (raw.headers["x-comptroller-cache"] == "hit") is hit, (model, key)


def test_tools_and_clients_that_say_so_are_left_out(gateway, upstream):
    body = ask("leave me out")
    for headers, kept in [({"cache-control": "no-store"}, None), ({}, "miss"), ({"cache-control": "no-cache"}, "miss")]:
        assert made(gateway, headers=headers, **body).headers.get("x-comptroller-cache") == kept
    assert made(gateway, **body).headers["x-comptroller-cache"] == "hit"
    for _ in range(2):
        assert "x-comptroller-cache" not in made(gateway, **body, tools=[TOOL]).headers


def test_what_failed_or_was_cut_is_not_kept(gateway, upstream):
    broken = ask(scripted("cut", events=6, fault="close_mid_stream"), stream=True)
    for _ in range(2):
        with sdk(gateway, max_retries=0) as client, pytest.raises(Exception):  # noqa: B017, PT011 - each SDK version's own
            list(client.chat.completions.create(**broken))
    assert len(upstream.log()) == 2


def test_a_hit_needs_no_tokens_but_a_standing_key(gateway, upstream):
    usage = {"prompt_tokens": 1_900, "completion_tokens": 50, "total_tokens": 1_950}
    body = ask(scripted("dear", usage=usage), max_tokens=50)
    made(gateway, "thrifty", **body)
    with sdk(gateway, "thrifty", max_retries=0) as client, pytest.raises(APIStatusError):
        client.chat.completions.create(**ask("x" * 800, max_tokens=50))
    assert made(gateway, "thrifty", **body).headers["x-comptroller-cache"] == "hit"
    gateway.cli("keys", "disable", "thrifty")
    with pytest.raises(APIStatusError) as refused:
        made(gateway, "thrifty", **body)
    assert refused.value.status_code == 401


def test_an_anthropic_client_is_given_its_own_format_again(gateway, upstream):
    with anthropic_sdk(gateway) as client:
        body: dict[str, Any] = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
        words = []
        for _ in range(2):
            with client.messages.stream(**body) as stream:
                words.append(stream.get_final_text())
    assert words[0] == words[1] != ""
    assert len(upstream.log()) == 1


def test_a_reload_forgets_all_answers(gateway, upstream):
    body = ask("forget me")
    made(gateway, **body)
    assert gateway.admin("POST", "/api/v1/reload").status == 200
    assert made(gateway, **body).headers["x-comptroller-cache"] == "miss"
