"""What costs more than its tokens in a conversation, searches that the provider runs and sound: held before the call
leaves, booked to the micro-dollar, refused without a price."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic, APIStatusError
from google import genai
from google.genai import types
from openai import OpenAI

from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-searches")

PRICED = {**PRICE, "web_search_usd": 0.01, "file_search_usd": 0.0025}
POOR = {"name": "poor", "user": "carol", "agent": "poor"}
WEB = {"type": "web_search_20250305", "name": "web_search"}
KINDS = {"claude": "anthropic", "gpt": "openai", "google": "gemini"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    def model(provider: str, price: dict[str, Any]) -> dict[str, Any]:
        return {"provider": provider, "model": "mock-ok", "price": price, "max_output_tokens": 4096}

    with GatewayProcess(
        tmp_path_factory.mktemp("searches"),
        upstream.base_url,
        keys=(ALICE, BOB, POOR),
        models={
            **{name: model(name, PRICED) for name in KINDS},
            "unpriced": model("claude", PRICE),
            "hears": model("gpt", {**PRICE, "audio_input_usd_per_mtok": 40}),
        },
        providers={
            name: {
                "kind": kind,
                "base_url": upstream.origin if kind == "gemini" else upstream.base_url,
                "api_key": "${PROVIDER_KEY}",
            }
            for name, kind in KINDS.items()
        },
        estimates={"audio_tokens": 500},
        limits=[{"name": "poor-day", "each": "user", "agent": "poor", "usd": 0.25, "window": "day"}],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def booked(gateway: GatewayProcess, call_id: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The call's row, and micro-USD by meter."""
    row = gateway.call(call_id)
    doc = next(doc for doc in gateway.journal("settled") if doc["subject"] == call_id)
    return row, {meter: cost for meter, _, cost in doc["meters"]}


def told(n: int) -> dict[str, Any]:
    return {"input_tokens": 1000, "output_tokens": 5, "server_tool_use": {"web_search_requests": n}}


def claude(gateway: GatewayProcess, key: str = "alice") -> Anthropic:
    return Anthropic(base_url=gateway.origin, api_key=gateway.keys[key], max_retries=0)


@pytest.mark.parametrize("stream", [False, True])
def test_messages_are_booked_by_the_searches_that_the_report_tells(gateway, upstream, stream):
    upstream.script(usage=told(3))
    body: dict[str, Any] = {"model": "claude", "max_tokens": 64, "messages": [{"role": "user", "content": "news?"}]}
    with claude(gateway) as client:
        raw = client.messages.with_raw_response.create(**body, tools=[WEB], stream=stream)
        if stream:
            list(raw.parse())
    assert upstream.log()[0].json["tools"] == [{**WEB, "max_uses": 10}]
    row, meters = booked(gateway, raw.headers["x-comptroller-call"])
    assert row["estimated"] is None
    # By hand: 1000 at 1, 5 at 2 and three searches at a cent.
    assert meters == {"input": 1000, "output": 10, "web_searches": 30_000}
    assert row["usd_micros"] == 31_010


def test_what_the_searches_may_cost_is_held_before_the_call_leaves(gateway, upstream):
    body: dict[str, Any] = {"model": "claude", "max_tokens": 64, "messages": [{"role": "user", "content": "news?"}]}
    with claude(gateway, "poor") as client:
        with pytest.raises(APIStatusError) as caught:
            client.messages.create(**body, tools=[{**WEB, "max_uses": 20}])
        # A search may find 8,000 tokens at a micro-dollar and costs a cent: twenty are 36 cents, two are under 4.
        assert caught.value.body["error"]["comptroller"]["code"] == "budget_exhausted"
        assert upstream.log() == []
        upstream.script(usage=told(2))
        client.messages.create(**body, tools=[{**WEB, "max_uses": 2}])
    assert len(upstream.log()) == 1


def test_a_search_without_a_price_is_refused_and_says_which_is_lacking(gateway, upstream):
    body: dict[str, Any] = {"model": "unpriced", "max_tokens": 64, "messages": [{"role": "user", "content": "news?"}]}
    with claude(gateway) as client, pytest.raises(APIStatusError) as caught:
        client.messages.create(**body, tools=[WEB])
    machine = caught.value.body["error"]["comptroller"]
    assert (machine["code"], machine["field"]) == ("field_unsupported", "tools")
    assert "web_search_usd" in caught.value.body["error"]["message"]
    assert upstream.log() == []


def test_responses_are_booked_by_the_calls_in_their_output(gateway, upstream):
    output = [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": "y"}},
        {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["x"], "results": None},
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "found", "annotations": []}],
        },
    ]
    usage = {"input_tokens": 1000, "output_tokens": 5, "total_tokens": 1005}
    reply = {"id": "resp_1", "object": "response", "status": "completed", "output": output, "usage": usage}
    upstream.script(body=json.dumps(reply), content_type="application/json")
    with OpenAI(base_url=f"{gateway.origin}/v1", api_key=gateway.keys["alice"], max_retries=0) as client:
        raw = client.responses.with_raw_response.create(
            model="gpt",
            input="news?",
            tools=[{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["vs_1"]}],
        )
    assert upstream.log()[0].json["max_tool_calls"] == 10
    row, meters = booked(gateway, raw.headers["x-comptroller-call"])
    assert meters == {"input": 1000, "output": 10, "web_searches": 10_000, "file_searches": 2_500}
    assert row["usd_micros"] == 13_510


def test_gemini_is_booked_by_the_queries_of_its_grounding(gateway, upstream):
    candidate = {
        "content": {"role": "model", "parts": [{"text": "found"}]},
        "finishReason": "STOP",
        "index": 0,
        "groundingMetadata": {
            "webSearchQueries": ["a", "b"],
            "groundingChunks": [{"web": {"uri": "https://x.example"}}],
        },
    }
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 5, "totalTokenCount": 1005}
    upstream.script(
        body=json.dumps({"candidates": [candidate], "usageMetadata": usage}), content_type="application/json"
    )
    client = genai.Client(
        api_key=gateway.keys["alice"], http_options=types.HttpOptions(base_url=gateway.origin, api_version="v1beta")
    )
    config = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])
    answer = client.models.generate_content(model="google", contents="news?", config=config)
    assert answer.sdk_http_response is not None
    headers = answer.sdk_http_response.headers or {}
    row, meters = booked(gateway, {name.lower(): value for name, value in headers.items()}["x-comptroller-call"])
    assert meters == {"input": 1000, "output": 10, "web_searches": 20_000}
    assert row["usd_micros"] == 21_010
    # What it finds is no input that is billed, so nothing is held for it; for Claude it is 8,000 tokens a search.
    held = next(doc["held"] for doc in gateway.journal("held") if doc["subject"] == row["call_id"])
    assert held["input_tokens"] < 2_000
    assert held["usd_micros"] >= 10 * 10_000


def test_sound_in_a_conversation_is_held_at_its_own_price(gateway, upstream):
    usage = {"prompt_tokens": 450, "completion_tokens": 5, "prompt_tokens_details": {"audio_tokens": 400}}
    upstream.script(usage=usage)
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    with OpenAI(base_url=f"{gateway.origin}/v1", api_key=gateway.keys["alice"], max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="hears", messages=[{"role": "user", "content": [sound]}], max_tokens=64
        )
    call_id = raw.headers["x-comptroller-call"]
    row, meters = booked(gateway, call_id)
    assert meters == {"input": 50, "audio_input": 16_000, "output": 10}
    held = next(doc["held"] for doc in gateway.journal("held") if doc["subject"] == call_id)
    assert held["usd_micros"] >= 500 * 40
    assert row["usd_micros"] <= held["usd_micros"]
