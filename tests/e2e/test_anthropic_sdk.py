"""The anthropic SDK as people use it, on the default server: what it gets, what the provider gets, what is booked."""

import contextlib
import json
from collections import deque
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic, AnthropicVertex, APIStatusError

from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-anthropic")

DEARER = {**PRICE, "cached_input_usd_per_mtok": 0.5, "cache_write_usd_per_mtok": 3, "cache_write_1h_usd_per_mtok": 5}
LOOKUP = {"name": "lookup", "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}}}
POOR = {"name": "poor", "user": "carol", "agent": "poor"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    models = {
        "small": {"provider": "claude", "model": "mock-ok", "price": DEARER, "max_output_tokens": 4096},
        "chatty": {"provider": "mock", "model": "mock-ok", "price": PRICE},
    }
    with GatewayProcess(
        tmp_path_factory.mktemp("anthropic"),
        upstream.base_url,
        keys=(ALICE, BOB, POOR),
        models=models,
        providers={
            "claude": {"kind": "anthropic", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"},
            "mock": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
        },
        limits=[
            {"name": "poor-run", "each": "session", "agent": "poor", "tokens": 1000},
            {"name": "all-day", "each": "user", "tokens": 1_000_000_000, "window": "day"},
        ],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@contextlib.contextmanager
def sdk(gateway: GatewayProcess, key: str = "alice", session: str | None = None) -> Iterator[Anthropic]:
    headers = {} if session is None else {"x-comptroller-session": session}
    with Anthropic(base_url=gateway.origin, api_key=gateway.keys[key], default_headers=headers) as client:
        yield client


def ask(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "small", "max_tokens": 64, "messages": [{"role": "user", "content": text}], **fields}


def booked(gateway: GatewayProcess, call_id: str) -> dict[str, Any]:
    row: dict[str, Any] = eventually(
        lambda: row if (row := gateway.call(call_id))["state"] == "settled" else None, what="the settlement"
    )
    return row


def test_a_plain_call_is_answered_and_booked_as_the_provider_reported(gateway, upstream):
    with sdk(gateway, session="plain") as client:
        raw = client.beta.messages.with_raw_response.create(
            **ask("how much is it?", system="be brief", extra_body={"top_k": 3}, extra_query={"beta": "true"}),
            betas=["context-1m-2025-08-07"],
        )
    reply = raw.parse()
    assert reply.content[0].text == "word0 word1 word2 word3 word4 "
    (row,) = upstream.log()
    assert row.target == "/v1/messages?beta=true"
    assert row.json["model"] == "mock-ok"
    assert (row.json["top_k"], row.json["system"], row.json["max_tokens"]) == (3, "be brief", 64)
    assert row.header("x-api-key") == gateway.provider_key
    assert row.header("authorization") is None
    assert row.header("anthropic-beta") == "context-1m-2025-08-07"
    assert row.header("anthropic-version") == "2023-06-01" or row.header("anthropic-version").startswith("20")
    call = booked(gateway, raw.headers["x-comptroller-call"])
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["input_tokens"], 5)
    assert call["usd_micros"] == row.usage["input_tokens"] + 2 * 5
    assert raw.headers["anthropic-ratelimit-tokens-limit"] == "1000000000"
    assert raw.headers["anthropic-ratelimit-tokens-reset"].endswith("T00:00:00Z")
    assert "x-ratelimit-limit-tokens" not in raw.headers


def test_caches_are_added_up_and_priced_apart(gateway, upstream):
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    upstream.script(usage=usage)
    with sdk(gateway) as client:
        raw = client.messages.with_raw_response.create(**ask())
    call = booked(gateway, raw.headers["x-comptroller-call"])
    assert (call["input_tokens"], call["cached_input_tokens"], call["output_tokens"]) == (1310, 1000, 7)
    # By hand: 10 at 1, 1000 at 0.5, 100 at 3, 200 at 5, 7 at 2 micro-USD a token.
    assert call["usd_micros"] == 10 + 500 + 300 + 1000 + 14


def test_a_stream_is_relayed_as_it_comes_and_booked(gateway, upstream):
    with sdk(gateway, session="streamed") as client, client.messages.stream(**ask("go on")) as stream:
        words = list(stream.text_stream)
        message = stream.get_final_message()
        headers = stream.response.headers
    assert words == [f"word{n} " for n in range(5)]
    assert message.stop_reason == "end_turn"
    call = booked(gateway, headers["x-comptroller-call"])
    assert (call["input_tokens"], call["output_tokens"], call["outcome"]) == (message.usage.input_tokens, 5, "ok")


def test_a_stream_that_tells_its_output_but_never_its_input_is_estimated(gateway, upstream):
    upstream.script(usage={"output_tokens": 40})
    with sdk(gateway) as client, client.messages.stream(**ask("how much is it?")) as stream:
        stream.until_done()
        headers = stream.response.headers
    call = booked(gateway, headers["x-comptroller-call"])
    assert (call["estimated"], call["output_tokens"], call["outcome"]) == ("no_usage", 40, "ok")
    assert call["input_tokens"] > 0
    assert call["usd_micros"] == call["input_tokens"] + 2 * 40


def test_tools_pass_both_ways_and_are_seen(gateway, upstream):
    upstream.script(tool_calls=[{"name": "lookup", "arguments": {"query": "x"}}])
    with sdk(gateway) as client, client.messages.stream(**ask(tools=[LOOKUP])) as stream:
        message = stream.get_final_message()
    use: Any = message.content[0]
    assert (use.name, use.input) == ("lookup", {"query": "x"})
    assert upstream.log()[0].json["tools"] == [LOOKUP]


def test_unknown_fields_and_bytes_pass_through(gateway, upstream):
    with sdk(gateway) as client:
        raw = client.messages.with_raw_response.create(**ask(), extra_body={"context_management": {"edits": []}})
    assert raw.http_response.json()["x_unknown_reply_field"] == {"kept": True}
    assert upstream.log()[0].json["context_management"] == {"edits": []}


def refused(gateway: GatewayProcess, key: str = "alice", session: str | None = None, **fields: Any) -> APIStatusError:
    with sdk(gateway, key, session) as client, pytest.raises(APIStatusError) as caught:
        client.messages.create(**ask(**fields))
    return caught.value


def test_a_spent_budget_stops_the_sdk_after_one_request(gateway, upstream):
    with sdk(gateway, "poor", "spent") as client:
        client.messages.create(**ask(max_tokens=64))
    upstream.reset()
    before = gateway.calls_seen()
    error = refused(gateway, "poor", "spent", text="x" * 8000)
    assert error.status_code == 402
    assert error.type == "billing_error"
    assert error.response.headers["x-should-retry"] == "false"
    machine = error.body["error"]["comptroller"]
    assert machine["code"] == "session_budget_exhausted"
    assert machine["limit"]["name"] == "poor-run"
    assert error.body["request_id"] == machine["call"]
    assert gateway.calls_seen() == before + 1
    assert upstream.log() == []


@pytest.mark.parametrize(
    ("fields", "status", "kind", "code"),
    [
        ({"model": "nobody"}, 403, "permission_error", "model_unknown"),
        ({"extra_body": {"mcp_servers": [{"type": "url"}]}}, 403, "permission_error", "field_unsupported"),
        ({"extra_body": {"speed": "fast"}}, 403, "permission_error", "field_unsupported"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            403,
            "permission_error",
            "field_unsupported",
        ),
        ({"max_tokens": 0}, 400, "invalid_request_error", "request_malformed"),
    ],
)
def test_refusals_have_the_shape_of_the_format(gateway, upstream, fields, status, kind, code):
    error = refused(gateway, **fields)
    assert (error.status_code, error.type) == (status, kind)
    assert error.body["error"]["comptroller"]["code"] == code
    assert upstream.log() == []


def test_an_unknown_key_and_an_unknown_path_have_it_too(gateway):
    with Anthropic(base_url=gateway.origin, api_key="cptr_sk_nobody") as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            client.messages.create(**ask())
        assert caught.value.type == "authentication_error"
        with pytest.raises(anthropic.NotFoundError) as missing:
            client.messages.batches.list()
        assert missing.value.type == "not_found_error"


def test_models_and_counts_are_free(gateway, upstream):
    before = len(gateway.settled())
    with sdk(gateway) as client:
        assert [model.id for model in client.models.list()] == ["small", "chatty"]
        assert client.models.retrieve("small").display_name == "small"
        counted = [
            client.messages.count_tokens(
                model="small", messages=[{"role": "user", "content": "word " * n}]
            ).input_tokens
            for n in (10, 1000)
        ]
    assert 10 <= counted[0] < 60
    assert 1000 <= counted[1] < 2500
    assert upstream.log() == []
    assert len(gateway.settled()) == before


def test_our_own_cut_is_an_error_event_that_the_sdk_raises(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with sdk(gateway, session="paused") as client:
        with client.messages.stream(**ask(max_tokens=4000)) as stream:
            words = iter(stream.text_stream)
            assert next(words) == "word0 "
            gateway.cli("sessions", "pause", stream.response.headers["x-comptroller-session"], "--reason", "looked odd")
            with pytest.raises(APIStatusError) as caught:
                deque(words, maxlen=0)
        call_id = stream.response.headers["x-comptroller-call"]
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert caught.value.body["error"]["comptroller"]["code"] == "session_paused"
    row = booked(gateway, call_id)
    assert row["outcome"] == "cut_by_stop"
    assert row["output_tokens"] > 0
    assert row["input_tokens"] > 0


def test_a_client_that_leaves_ends_the_provider_and_is_charged_for_what_it_got(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with sdk(gateway, session="left") as client, client.messages.stream(**ask(max_tokens=4000)) as stream:
        for _ in zip(range(5), stream.text_stream, strict=False):
            pass
        call_id = stream.response.headers["x-comptroller-call"]
    row = booked(gateway, call_id)
    assert row["outcome"] == "cut_by_client"
    assert 5 <= row["output_tokens"] <= upstream.log()[0].events * 4
    eventually(lambda: upstream.stats()["in_flight"] == 0, what="the provider's end")


def test_the_providers_own_refusal_is_passed_on(gateway, upstream):
    body = '{"type":"error","error":{"type":"invalid_request_error","message":"messages: too long"}}'
    upstream.script(status=400, body=body)
    error = refused(gateway)
    assert (error.status_code, error.body["error"]["message"]) == (400, "messages: too long")


def test_a_provider_out_of_money_is_final(gateway, upstream):
    message = "You have reached your specified API usage limits. You will regain access on 2026-12-01."
    error_body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    upstream.script(status=400, body=json.dumps(error_body))
    error = refused(gateway)
    assert (error.status_code, error.type) == (402, "billing_error")
    assert error.body["error"]["comptroller"]["code"] == "upstream_quota"
    assert len(upstream.log()) == 1


def test_thinking_is_held_whole_and_its_budget_is_left_to_it(gateway, upstream):
    with sdk(gateway, session="thinks") as client:
        client.messages.create(**ask(max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 2000}))
    assert upstream.log()[0].json["max_tokens"] == 3000
    held = gateway.journal("held")[-1]
    assert held["held"]["output_tokens"] == 3000
    assert not held["sliced"]


VERTEX = "/vertex/projects/p/locations/eu/publishers/anthropic/models"


def vertex(gateway: GatewayProcess, call: str, **fields: Any) -> httpx2.Response:
    body = {"anthropic_version": "vertex-2023-10-16", **ask(**fields)}
    del body["model"]
    headers = {"authorization": f"Bearer {gateway.keys['alice']}"}
    return httpx2.post(f"{gateway.origin}{VERTEX}/{call}", json=body, headers=headers, timeout=30)


def test_vertex_paths_lead_to_the_same_messages(gateway, upstream):
    whole = vertex(gateway, "small:rawPredict", extra="kept", anthropic_beta=["b1", "b2"])
    streamed = vertex(gateway, "small:streamRawPredict")
    assert whole.json()["content"][0]["text"] == "word0 word1 word2 word3 word4 "
    assert streamed.text.startswith("event: message_start")
    assert "event: message_stop" in streamed.text
    first, second = upstream.log()
    assert (first.target, first.json["model"], first.json["extra"]) == ("/v1/messages", "mock-ok", "kept")
    assert "anthropic_version" not in first.json
    assert (first.header("anthropic-beta"), first.header("anthropic-version")) == ("b1,b2", "2023-06-01")
    assert second.json["stream"] is True
    assert booked(gateway, whole.headers["x-comptroller-call"])["output_tokens"] == 5


@pytest.mark.parametrize(
    ("call", "status", "kind"),
    [
        ("nobody:rawPredict", 403, "permission_error"),
        ("small:predict", 404, "not_found_error"),
        ("small", 404, "not_found_error"),
    ],
)
def test_vertex_refusals_have_the_shape_of_the_format(gateway, upstream, call, status, kind):
    answer = vertex(gateway, call)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert upstream.log() == []


@pytest.mark.parametrize("beta", ["b1", [1], ["b1\r\nx-api-key: another"], ["\u00fc"]])
def test_vertex_beta_features_that_no_header_can_hold_are_refused(gateway, upstream, beta):
    answer = vertex(gateway, "small:rawPredict", anthropic_beta=beta)
    assert (answer.status_code, answer.json()["error"]["comptroller"]["code"]) == (400, "request_malformed")
    assert upstream.log() == []


def test_the_vertex_client_itself_is_answered_and_counts(gateway, upstream):
    address = {"base_url": f"{gateway.origin}/vertex", "project_id": "p", "region": "eu"}
    with AnthropicVertex(**address, access_token=gateway.keys["alice"]) as client:
        reply = client.beta.messages.create(**ask(extra_body={"anthropic_beta": ["b2"]}), betas=["b1"])
        counted = client.messages.count_tokens(model="small", messages=[{"role": "user", "content": "word " * 50}])
    assert reply.content[0].text == "word0 word1 word2 word3 word4 "
    assert upstream.log()[0].header("anthropic-beta") == "b1,b2"
    assert 50 <= counted.input_tokens < 150
    assert len(upstream.log()) == 1
