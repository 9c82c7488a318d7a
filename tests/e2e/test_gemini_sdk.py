"""The google-genai SDK as people use it: what it gets, what the provider gets, what is booked."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-gemini")

CHEAPER_CACHE = {**PRICE, "cached_input_usd_per_mtok": 0.5}
LOOKUP = {"name": "lookup", "parameters": {"type": "OBJECT", "properties": {"query": {"type": "STRING"}}}}
POOR = {"name": "poor", "user": "carol", "agent": "poor"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    served = {"price": CHEAPER_CACHE, "max_output_tokens": 4096}
    with GatewayProcess(
        tmp_path_factory.mktemp("gemini"),
        upstream.base_url,
        keys=(ALICE, BOB, POOR),
        models={
            "small": {"provider": "google", "model": "mock-ok", **served},
            "org/odd:name": {"provider": "google", "model": "tuned/mock ok", **served},
            "chatty": {"provider": "mock", "model": "mock-ok", "price": PRICE},
        },
        providers={
            "google": {"kind": "gemini", "base_url": upstream.origin, "api_key": "${PROVIDER_KEY}"},
            "mock": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
        },
        limits=[{"name": "poor-run", "each": "session", "agent": "poor", "tokens": 1000}],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@contextlib.contextmanager
def sdk(gateway: GatewayProcess, key: str = "alice", session: str | None = None) -> Iterator[genai.Client]:
    headers = {} if session is None else {"x-comptroller-session": session}
    options = types.HttpOptions(base_url=gateway.origin, headers=headers)
    with genai.Client(api_key=gateway.keys.get(key, key), http_options=options) as client:
        yield client


def booked(gateway: GatewayProcess, call_id: str) -> dict[str, Any]:
    row: dict[str, Any] = eventually(
        lambda: row if (row := gateway.call(call_id))["state"] == "settled" else None, what="the settlement"
    )
    return row


def call_of(response: types.GenerateContentResponse) -> str:
    assert response.sdk_http_response is not None
    assert response.sdk_http_response.headers is not None
    return response.sdk_http_response.headers["x-comptroller-call"]


def test_a_plain_call_is_answered_and_booked_as_the_provider_reported(gateway, upstream):
    config = types.GenerateContentConfig(system_instruction="be brief", temperature=0.5, max_output_tokens=64)
    with sdk(gateway, session="plain") as client:
        reply = client.models.generate_content(model="small", contents="how much is it?", config=config)
    assert reply.text == "word0 word1 word2 word3 word4 "
    (row,) = upstream.log()
    assert row.target == "/v1beta/models/mock-ok:generateContent"
    assert row.header("x-goog-api-key") == gateway.provider_key
    assert row.header("authorization") is None
    assert row.json["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 64}
    assert row.json["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert not {"model", "stream"} & row.json.keys()
    call = booked(gateway, call_of(reply))
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["promptTokenCount"], 5)
    assert call["usd_micros"] == row.usage["promptTokenCount"] + 2 * 5


def test_thoughts_and_what_tools_fed_back_are_billed_and_caches_priced_apart(gateway, upstream):
    usage = {
        "promptTokenCount": 1010,
        "cachedContentTokenCount": 1000,
        "toolUsePromptTokenCount": 20,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 1067,
    }
    upstream.script(usage=usage)
    with sdk(gateway) as client:
        reply = client.models.generate_content(model="small", contents="think")
    call = booked(gateway, call_of(reply))
    assert (call["input_tokens"], call["cached_input_tokens"], call["output_tokens"]) == (1030, 1000, 37)
    # By hand: 30 at 1, 1000 at 0.5, 37 at 2 micro-USD a token.
    assert call["usd_micros"] == 30 + 500 + 74


def test_a_stream_is_relayed_as_it_comes_and_booked(gateway, upstream):
    upstream.script(reasoning_tokens=11)
    with sdk(gateway, session="streamed") as client:
        chunks = list(client.models.generate_content_stream(model="small", contents="go on"))
    assert "".join(chunk.text or "" for chunk in chunks) == "word0 word1 word2 word3 word4 "
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    (row,) = upstream.log()
    assert row.target == "/v1beta/models/mock-ok:streamGenerateContent?alt=sse"
    call = booked(gateway, call_of(chunks[0]))
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["promptTokenCount"], 5 + 11)
    assert call["outcome"] == "ok"


def test_tools_pass_both_ways_and_are_seen(gateway, upstream):
    upstream.script(tool_calls=[{"name": "lookup", "arguments": {"query": "x"}}])
    config = {"tools": [{"function_declarations": [LOOKUP]}], "automatic_function_calling": {"disable": True}}
    with sdk(gateway) as client:
        whole = client.models.generate_content(model="small", contents="hello", config=config)
        *_, last = client.models.generate_content_stream(model="small", contents="hello", config=config)
    for reply in (whole, last):
        (use,) = reply.function_calls
        assert (use.name, use.args) == ("lookup", {"query": "x"})
    declared = upstream.log()[0].json["tools"][0]["functionDeclarations"]
    assert [function["name"] for function in declared] == ["lookup"]


def http(gateway: GatewayProcess, path: str, body: object, key: str = "alice", **options: Any) -> httpx.Response:
    headers = options.pop("headers", {"x-goog-api-key": gateway.keys[key]})
    return httpx.post(f"{gateway.origin}{path}", json=body, headers=headers, timeout=30, **options)


HELLO = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


def test_unknown_fields_pass_and_a_json_array_comes_where_no_events_were_asked_for(gateway, upstream):
    whole = http(gateway, "/v1beta/models/small:generateContent", {**HELLO, "unknown": {"kept": 1}})
    assert whole.json()["xUnknownReplyField"] == {"kept": True}
    assert upstream.log()[0].json["unknown"] == {"kept": 1}
    streamed = http(gateway, "/v1beta/models/small:streamGenerateContent", HELLO)
    assert streamed.headers["content-type"] == "application/json"
    texts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in streamed.json()]
    assert "".join(texts) == "word0 word1 word2 word3 word4 "


def test_names_arrive_percent_encoded_and_a_key_in_the_query_goes_no_further(gateway, upstream):
    key = gateway.keys["alice"]
    path = f"/v1beta/models/org%2Fodd%3Aname:streamGenerateContent?alt=sse&key={key}"
    reply = http(gateway, path, HELLO, headers={})
    assert reply.status_code == 200
    (row,) = upstream.log()
    assert row.target == "/v1beta/models/tuned%2Fmock%20ok:streamGenerateContent?alt=sse"
    assert all(key not in value for _, value in row.headers)
    gateway.quiesce()
    assert key not in gateway.output()


def test_no_spelling_slips_past_the_cap(gateway, upstream):
    body = {**HELLO, "generation_config": {"max_output_tokens": 50_000}}
    reply = http(gateway, "/v1beta/models/small:generateContent", body, "poor")
    assert reply.status_code == 200
    sent = upstream.log()[0].json
    assert "generation_config" not in sent
    cap = sent["generationConfig"]["maxOutputTokens"]
    assert 0 < cap < 1000
    assert reply.headers["x-comptroller-clamped"] == f"maxOutputTokens={cap}"
    twice = {**body, "generationConfig": {"maxOutputTokens": 5}}
    assert http(gateway, "/v1beta/models/small:generateContent", twice).status_code == 400


def refused(gateway: GatewayProcess, key: str = "alice", session: str | None = None, **call: Any) -> errors.APIError:
    with sdk(gateway, key, session) as client, pytest.raises(errors.APIError) as caught:
        client.models.generate_content(**{"model": "small", "contents": "hello", **call})
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_budget_stops_the_sdk_after_one_request(gateway, upstream, stream):
    before = gateway.calls_seen()
    with sdk(gateway, "poor", f"spent-{stream}") as client:
        call = client.models.generate_content_stream if stream else client.models.generate_content
        with pytest.raises(errors.ClientError) as caught:
            list(call(model="small", contents="x" * 8000))
    assert (caught.value.code, caught.value.status) == (402, "RESOURCE_EXHAUSTED")
    machine = caught.value.details["error"]["comptroller"]
    assert machine["code"] == "session_budget_exhausted"
    assert machine["limit"]["name"] == "poor-run"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert gateway.calls_seen() == before + 1
    assert upstream.log() == []


@pytest.mark.parametrize(
    ("call", "status", "name", "code"),
    [
        ({"model": "nobody"}, 403, "PERMISSION_DENIED", "model_unknown"),
        ({"config": {"tools": [{"google_maps": {}}]}}, 400, "INVALID_ARGUMENT", "field_unsupported"),
        ({"config": {"response_modalities": ["IMAGE"]}}, 400, "INVALID_ARGUMENT", "field_unsupported"),
        ({"config": {"candidate_count": 99}}, 400, "INVALID_ARGUMENT", "request_malformed"),
    ],
)
def test_refusals_have_the_shape_of_the_format(gateway, upstream, call, status, name, code):
    error = refused(gateway, **call)
    assert (error.code, error.status) == (status, name)
    assert error.details["error"]["comptroller"]["code"] == code
    assert upstream.log() == []


def test_an_unknown_key_and_an_unknown_path_have_it_too(gateway):
    error = refused(gateway, "cptr_sk_nobody")
    assert (error.code, error.status) == (401, "UNAUTHENTICATED")
    missing = http(gateway, "/v1beta/models/small:predict", HELLO)
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
    broken = http(gateway, "/v1beta/models/small:generateContent", {**HELLO, "model": "models/other"})
    assert (broken.status_code, broken.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_models_and_counts_are_free(gateway, upstream):
    before = len(gateway.settled())
    with sdk(gateway) as client:
        assert [model.name for model in client.models.list()] == [
            "models/small",
            "models/org/odd:name",
            "models/chatty",
        ]
        assert client.models.get(model="small").display_name == "small"
        counted = [client.models.count_tokens(model="small", contents="word " * n).total_tokens for n in (10, 1000)]
    assert 10 <= counted[0] < 60
    assert 1000 <= counted[1] < 2500
    inner = {"generateContentRequest": {"model": "models/small", **HELLO}}
    assert http(gateway, "/v1beta/models/small:countTokens", inner).json()["totalTokens"] > 0
    assert upstream.log() == []
    assert len(gateway.settled()) == before


def test_our_own_cut_is_a_last_chunk_with_text_and_a_finish_reason(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with sdk(gateway, session="paused") as client:
        stream = client.models.generate_content_stream(
            model="small", contents="hello", config={"max_output_tokens": 4000}
        )
        first = next(stream)
        assert first.text == "word0 "
        session = first.sdk_http_response.headers["x-comptroller-session"]
        gateway.cli("sessions", "pause", session, "--reason", "looked odd")
        *_, last = stream
    assert last.candidates[0].finish_reason == types.FinishReason.OTHER
    assert "looked odd" in last.text
    assert last.usage_metadata.candidates_token_count > 0
    row = booked(gateway, call_of(first))
    assert row["outcome"] == "cut_by_stop"
    assert row["output_tokens"] == last.usage_metadata.candidates_token_count


def test_an_upstream_that_breaks_off_ends_the_stream_in_good_form(gateway, upstream):
    upstream.script(fault="close_mid_stream", fault_after=2)
    with sdk(gateway, session="broken") as client:
        chunks = list(client.models.generate_content_stream(model="small", contents="hello"))
    assert [chunk.text for chunk in chunks[:2]] == ["word0 ", "word1 "]
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.OTHER
    row = booked(gateway, call_of(chunks[0]))
    assert (row["outcome"], row["output_tokens"]) == ("cut_by_upstream", 2)


def test_a_client_that_leaves_ends_the_provider_and_is_charged_for_what_it_got(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    path = f"{gateway.origin}/v1beta/models/small:streamGenerateContent"
    headers = {"x-goog-api-key": gateway.keys["alice"], "x-comptroller-session": "left"}
    with httpx.stream("POST", path, json=HELLO, headers=headers, params={"alt": "sse"}, timeout=30) as reply:
        lines = reply.iter_lines()
        for _ in range(10):
            next(lines)
    row = booked(gateway, reply.headers["x-comptroller-call"])
    assert row["outcome"] == "cut_by_client"
    assert 3 <= row["output_tokens"] <= upstream.log()[0].events
    eventually(lambda: upstream.stats()["in_flight"] == 0, what="the provider's end")


@pytest.mark.parametrize(
    ("status", "reason", "told", "code"),
    [
        (402, "RESOURCE_EXHAUSTED", 402, "upstream_quota"),
        (400, "API_KEY_INVALID", 502, "upstream_failed"),
        (403, "PERMISSION_DENIED", 502, "upstream_failed"),
        (503, "UNAVAILABLE", 502, "upstream_failed"),
    ],
)
def test_what_becomes_of_a_failing_provider(gateway, upstream, status, reason, told, code):
    body = {"error": {"code": status, "message": "no", "status": "X", "details": [{"reason": reason}]}}
    upstream.script(status=status, body=json.dumps(body, separators=(",", ":")))
    error = refused(gateway)
    assert error.code == told
    assert error.details["error"]["comptroller"]["code"] == code


def test_the_providers_own_refusal_is_passed_on(gateway, upstream):
    body = '{"error":{"code":400,"message":"contents: too long","status":"INVALID_ARGUMENT"}}'
    upstream.script(status=400, body=body)
    error = refused(gateway)
    assert (error.code, error.message) == (400, "contents: too long")


def test_thinking_is_held_whole_and_its_budget_is_left_to_it(gateway, upstream):
    config = {"max_output_tokens": 3000, "thinking_config": {"thinking_budget": 2000}}
    with sdk(gateway, session="thinks") as client:
        client.models.generate_content(model="small", contents="hello", config=config)
    sent = upstream.log()[0].json["generationConfig"]
    assert sent["maxOutputTokens"] == 3000
    assert list(sent["thinkingConfig"].values()) == [2000]  # the SDK itself writes `thinking_budget` here
    held = gateway.journal("held")[-1]
    assert held["held"]["output_tokens"] == 3000
    assert not held["sliced"]
