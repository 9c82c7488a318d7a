"""The Responses format by the openai SDK: what it gets, what reaches the provider, what is booked, how it ends."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openai import APIStatusError

from tests.support.clients import Counted, Refused, parsed, post, raw, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-responses")

LOOKUP = {"type": "function", "name": "lookup", "parameters": {"type": "object", "properties": {}}}
NAMES = ("spent", "slice", "rater", "run", "status", "slice2")
LIMITS: list[dict[str, Any]] = [
    {"name": "three-calls", "key": "spent", "requests": 3, "window": "day"},
    {"name": "small-room", "key": "slice", "output_tokens": 400, "window": "total"},
    {"name": "small-room2", "key": "slice2", "output_tokens": 400, "window": "total"},
    {"name": "one-a-second", "key": "rater", "requests": 60, "window": "minute", "burst": 1},
    {"name": "like-a-status", "key": "status", "tokens": 500, "window": "day"},
    {"name": "per-run", "each": "session", "key": "run", "tokens": 4000},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    mock = {
        "kind": "openai_compatible",
        "base_url": upstream.base_url,
        "api_key": "${PROVIDER_KEY}",
        "responses": True,
    }
    model = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096}
    with GatewayProcess(
        tmp_path_factory.mktemp("responses"),
        upstream.base_url,
        providers={"mock": mock, "chat-only": {**mock, "responses": False}},
        models={
            "small": {**model, "model": "mock-ok"},
            "mock-tool": model,
            "old": {**model, "provider": "chat-only", "model": "mock-ok"},
        },
        keys=[ALICE, *({"name": name, "user": name} for name in NAMES)],
        limits=LIMITS,
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def booked(gateway: GatewayProcess, call_id: str) -> tuple[int, int, int, int]:
    """(input, cached input, output and reasoning tokens) as the books have them."""
    row = gateway.call(call_id)
    assert (row["state"], row["estimated"]) == ("settled", None)
    return row["input_tokens"], row["cached_input_tokens"], row["output_tokens"], row["reasoning_tokens"]


def reported(usage: Any) -> tuple[int, int, int, int]:
    cached, reasoning = usage["input_tokens_details"], usage["output_tokens_details"]
    return usage["input_tokens"], cached["cached_tokens"], usage["output_tokens"], reasoning["reasoning_tokens"]


def refused(gateway: GatewayProcess, key: str, **body: Any) -> Refused:
    """The refusal of a call that must be refused, with the SDK's own retries."""
    with Counted(gateway, key) as counted:
        try:
            counted.client.responses.create(**{"model": "small", "input": "hello", **body})
        except APIStatusError as error:
            return Refused(error, counted.requests)
    raise AssertionError("the call was not refused")


@contextmanager
def streaming(gateway: GatewayProcess, key: str = "alice", **body: Any) -> Iterator[Any]:
    with sdk(gateway, key, session=body.pop("session", None)) as client:
        yield client.responses.with_raw_response.create(**{"model": "small", "input": "hello", **body}, stream=True)


def test_a_plain_call_is_answered_and_booked_as_the_provider_reported(gateway, upstream):
    with sdk(gateway, session="plain") as client:
        got = client.responses.with_raw_response.create(
            model="small",
            input=scripted("how much is it?", cached_tokens=3, reasoning_tokens=2),
            instructions="be good",
            extra_body={"x_unheard_of": 1},
        )
    reply = got.parse()
    assert reply.output_text == "word0 word1 word2 word3 word4 "
    (row,) = upstream.log()
    assert row.target.endswith("/v1/responses")
    assert (row.json["model"], row.json["instructions"], row.json["x_unheard_of"]) == ("mock-ok", "be good", 1)
    assert booked(gateway, got.headers["x-comptroller-call"]) == reported(row.usage)
    assert json.loads(got.content)["x_unknown_reply_field"] == {"kept": True}
    cost = row.usage["input_tokens"] + 2 * row.usage["output_tokens"]
    assert round(float(got.headers["x-comptroller-cost-usd"]) * 1_000_000) == cost


def test_a_stream_comes_whole_and_is_booked_by_its_last_event(gateway, upstream):
    with streaming(gateway, input=scripted(events=30, reasoning_tokens=7)) as got:
        events = list(got.parse())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    words = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert words == [f"word{n} " for n in range(30)]
    assert events[-1].type == "response.completed"
    (row,) = upstream.log()
    assert "stream_options" not in row.json
    assert booked(gateway, got.headers["x-comptroller-call"]) == reported(row.usage)
    assert events[-1].response.usage.output_tokens == 37


def test_tools_are_passed_on_called_and_answered(gateway, upstream):
    with sdk(gateway, session="tools") as client:
        first = client.responses.create(model="mock-tool", input="find it", tools=[LOOKUP])
        (call,) = [item for item in first.output if item.type == "function_call"]
        history = [
            {"role": "user", "content": "find it"},
            call.model_dump(exclude_none=True),
            {"type": "function_call_output", "call_id": call.call_id, "output": "found"},
        ]
        second = client.responses.create(model="small", input=history, tools=[LOOKUP])
    assert (call.name, call.arguments) == ("lookup", '{"query": "x"}')
    assert second.output_text
    assert upstream.log()[1].json["input"] == history


def test_our_cap_goes_out_in_the_formats_own_field(gateway, upstream):
    with sdk(gateway, "run", session="capped") as client:
        got = client.responses.with_raw_response.create(model="small", input="hello")
    (row,) = upstream.log()
    cap = row.json["max_output_tokens"]
    assert got.headers["x-comptroller-clamped"] == f"max_output_tokens={cap}"
    assert 0 < cap < 4000
    assert "max_tokens" not in row.json


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_of_chat_alone_is_spoken_to_in_its_format(gateway, upstream, stream):
    with sdk(gateway) as client:
        got = client.responses.with_raw_response.create(
            model="old", instructions="be good", input="find it", tools=[LOOKUP], store=False, stream=stream
        )
        reply = got.parse()
        if stream:
            events = list(reply)
            assert [event.sequence_number for event in events] == list(range(len(events)))
            reply = events[-1].response
    assert (reply.status, reply.output_text) == ("completed", "word0 word1 word2 word3 word4 ")
    (row,) = upstream.log()
    assert row.target.endswith("/chat/completions")
    assert [message["role"] for message in row.json["messages"]] == ["system", "user"]
    assert [tool["function"]["name"] for tool in row.json["tools"]] == ["lookup"]
    usage = (reply.usage.input_tokens, reply.usage.output_tokens)
    assert usage == (row.usage["prompt_tokens"], row.usage["completion_tokens"])
    call = gateway.call(got.headers["x-comptroller-call"])
    assert (call["input_tokens"], call["output_tokens"], call["estimated"]) == (*usage, None)
    assert got.headers["x-comptroller-translated"] == "to=openai_chat;left_out="


def test_rule_32_a_translated_stream_is_cut_in_the_clients_format(gateway):
    with streaming(gateway, "slice2", model="old", input=scripted(events=3000, obey_cap=False, pace_s=0.002)) as got:
        events = list(got.parse())
    assert events[-1].type == "response.failed"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert events[-1].response.id == events[0].response.id
    assert "small-room2" in events[-1].response.error.message


def test_rule_29_a_spent_budget_is_400_and_one_request(gateway, upstream):
    with sdk(gateway, "spent") as client:
        for _ in range(3):
            client.responses.create(model="small", input="hello")
    before = len(upstream.log())
    for extra in ({}, {"stream": True}):
        told = refused(gateway, "spent", **extra)
        assert (told.status, told.code, told.requests) == (400, "budget_exhausted", 1)
        assert told.headers["x-should-retry"] == "false"
        assert "retry-after" not in told.headers
        assert told.machine["limit"]["name"] == "three-calls"
        assert "three-calls" in told.shown
    assert len(upstream.log()) == before


@pytest.mark.parametrize(
    ("path", "field"), [("/responses", "input"), ("/chat/completions", "messages")], ids=["responses", "chat"]
)
def test_opencode_finds_no_number_in_a_denial_that_it_would_ask_again_at(gateway, path, field):
    said = [{"role": "user", "content": "hello " * 400}]

    def denial(**headers: str) -> Any:
        with sdk(gateway, "status", default_headers=headers) as client, pytest.raises(APIStatusError) as refusal:
            client.post(path, body={"model": "small", field: said}, cast_to=object)
        return refusal.value.response

    usual, quiet = denial(), denial(**{"x-session-affinity": "ses_1"})
    assert usual.json()["error"]["comptroller"]["limit"]["limit"] == 500
    assert "of 500 tokens" in usual.json()["error"]["message"]
    assert not re.search("429|500|502|503|504|524", quiet.text)
    assert quiet.json()["error"]["code"] == "budget_exhausted"
    assert "like-a-status" in quiet.json()["error"]["message"]
    assert quiet.status_code == usual.status_code


def test_rule_29_a_rate_is_429_with_a_wait_that_codex_can_sleep(gateway, upstream):
    with sdk(gateway, "rater", max_retries=0) as client:
        client.responses.create(model="small", input="hello")
        with pytest.raises(APIStatusError) as refusal:
            client.responses.create(model="small", input="hello")
    assert refusal.value.status_code == 429
    assert 1 <= int(refusal.value.response.headers["retry-after"]) <= 30


def test_a_paused_session_is_400_and_goes_on_when_resumed(gateway):
    with sdk(gateway, session="paused") as client:
        got = client.responses.with_raw_response.create(model="small", input="hello")
    session = got.headers["x-comptroller-session"]
    gateway.cli("sessions", "pause", session, "--reason", "look")
    with Counted(gateway, "alice", session="paused") as counted:
        with pytest.raises(APIStatusError) as refusal:
            counted.client.responses.create(model="small", input="hello")
        assert (refusal.value.status_code, refusal.value.code, counted.requests) == (400, "session_paused", 1)
        gateway.cli("sessions", "resume", session)
        assert counted.client.responses.create(model="small", input="hello").output_text


def test_rule_32_a_stream_cut_at_its_budget_ends_as_a_failed_response(gateway, upstream):
    with streaming(gateway, "slice", input=scripted(events=3000, obey_cap=False, pace_s=0.005)) as got:
        events = list(got.parse())
    last = events[-1]
    assert last.type == "response.failed"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers)), "rising; the event that was too much has a number too"
    assert last.response.id == events[0].response.id
    assert (last.response.status, last.response.error.code) == ("failed", "invalid_prompt")
    assert "small-room" in last.response.error.message
    gateway.quiesce()
    row = gateway.call(got.headers["x-comptroller-call"])
    assert row["outcome"] == "cut_by_limit"
    assert last.response.usage.output_tokens == row["output_tokens"]
    told = refused(gateway, "slice", input="more")
    assert (told.status, told.requests) == (400, 1)


def test_an_upstream_that_breaks_off_is_told_with_the_next_number(gateway):
    with streaming(gateway, input=scripted(events=9, fault="close_mid_stream", fault_after=5)) as got:
        events = list(got.parse())
    assert events[-1].type == "response.failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    gateway.quiesce()
    row = gateway.call(got.headers["x-comptroller-call"])
    assert (row["outcome"], row["estimated"]) == ("cut_by_upstream", "cut_by_upstream")
    assert row["output_tokens"] > 0


def test_a_failure_that_the_provider_tells_is_told_once_and_booked(gateway, upstream):
    response: dict[str, Any] = {
        "id": "r",
        "object": "response",
        "model": "m",
        "status": "failed",
        "output": [],
        "usage": None,
    }
    failed = {"type": "response.failed", "response": {**response, "error": {"code": "server_error", "message": "oh"}}}
    begun = {"type": "response.created", "response": {**response, "status": "in_progress"}}
    delta = {"type": "response.output_text.delta", "output_index": 0, "item_id": "i", "content_index": 0, "delta": "hi"}
    raw_events = [{**event, "sequence_number": at} for at, event in enumerate((begun, delta, failed))]
    upstream.script(raw=[f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in raw_events])
    with streaming(gateway) as got:
        events = list(got.parse())
    assert [event.type for event in events] == [event["type"] for event in raw_events]
    assert events[-1].response.error.message == "oh"
    gateway.quiesce()
    row = gateway.call(got.headers["x-comptroller-call"])
    assert (row["outcome"], row["estimated"]) == ("cut_by_upstream", "cut_by_upstream")


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ({"preset": "mock-500"}, 502, "upstream_failed"),
        ({"preset": "mock-401"}, 502, "upstream_failed"),
        ({"preset": "mock-quota"}, 400, "upstream_quota"),
    ],
)
def test_rule_31_upstream_failures(gateway, upstream, script, status, code):
    with pytest.raises(APIStatusError) as refusal, sdk(gateway, max_retries=0) as client:
        client.responses.create(model="small", input=scripted(**script))
    assert (refusal.value.status_code, refusal.value.code) == (status, code)
    gateway.quiesce()


def test_rule_10_what_a_client_that_leaves_has_streamed_is_booked(gateway, upstream):
    with streaming(gateway, input=scripted(events=2000, pace_s=0.005)) as got:
        stream = got.parse()
        for _, event in zip(range(12), stream, strict=False):
            assert event.type != "response.completed"
        stream.close()
    gateway.quiesce()
    row = gateway.call(got.headers["x-comptroller-call"])
    assert row["outcome"] == "cut_by_client"
    assert 0 < row["output_tokens"] < 2000
    eventually(lambda: upstream.log()[0].outcome == "client_gone", what="the upstream was left")


def test_a_person_who_stops_the_session_ends_its_stream(gateway):
    with streaming(gateway, session="stopped", input=scripted(events=5000, pace_s=0.01)) as got:
        stream = got.parse()
        first = next(iter(stream))
        gateway.cli("sessions", "stop", got.headers["x-comptroller-session"], "--reason", "runs in circles")
        last = list(stream)[-1]
    assert (last.type, last.response.id) == ("response.failed", first.response.id)
    assert "runs in circles" in last.response.error.message


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "image_generation"}]}, "tools"),
        ({"model": "old", "text": {"format": {"type": "grammar"}}}, "text"),
    ],
)
def test_rule_7_what_is_not_served_is_refused_by_name(gateway, upstream, body, field):
    told = refused(gateway, "alice", **body)
    assert (told.status, told.code, told.requests) == (400, "field_unsupported", 1)
    assert told.machine["field"] == field
    assert upstream.log() == []


def test_rule_3_an_earlier_response_is_refused_where_a_limit_must_know_its_size(gateway, upstream):
    told = refused(gateway, "run", previous_response_id="resp_1")
    assert (told.status, told.requests) == (400, 1)
    with sdk(gateway) as client:
        assert client.responses.create(model="small", input="hello", previous_response_id="resp_1").output_text
    assert [row.json["previous_response_id"] for row in upstream.log()] == ["resp_1"]


def test_input_tokens_are_counted_for_nothing(gateway, upstream):
    with sdk(gateway, "spent") as client:
        counted = client.responses.input_tokens.count(model="small", input="hello there", instructions="be good")
    assert 3 <= counted.input_tokens < 60
    assert upstream.log() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/responses/compact"),
        ("GET", "/v1/images/generations"),
        ("POST", "/v1/audio/voices"),
        ("POST", "/v1/files"),
        ("POST", "/v1/batches"),
        ("GET", "/openai/v1/responses/resp_1"),
        ("POST", "/openai/deployments/small/images/variations"),
    ],
)
def test_what_is_not_served_says_why_and_is_never_forwarded(gateway, upstream, method, path):
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nauthorization: Bearer {gateway.keys['alice']}\r\n"
    )
    answer = parsed(raw(gateway, f"{head}\r\n{{}}".encode()))
    assert (answer.status, answer.code) == (404, "route_unknown")
    assert "not served here:" in answer.json["error"]["message"] or "not " in answer.json["error"]["message"]
    assert upstream.log() == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_a_responses_body_where_chat_is_asked_for_is_answered_in_chat(gateway, upstream, path):
    answer = asked(gateway, path, {"model": "small", "input": "hello", "instructions": "be good"})
    assert (answer.status, answer.json["object"]) == (200, "chat.completion")
    (row,) = upstream.log()
    assert [message["role"] for message in row.json["messages"]] == ["system", "user"]
    refused_one = asked(gateway, path, {"model": "small", "input": "hello", "background": True})
    assert (refused_one.status, refused_one.code) == (400, "field_unsupported")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_a_messages_body_where_chat_is_asked_for_is_answered_in_chat(gateway, upstream, path):
    tool = {"name": "lookup", "input_schema": {"type": "object", "properties": {}}}
    said = [{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}]
    body = {"model": "small", "max_tokens": 50, "system": "be good", "messages": said, "tools": [tool]}
    answer = asked(gateway, path, body)
    assert (answer.status, answer.json["object"]) == (200, "chat.completion")
    (row,) = upstream.log()
    assert [message["role"] for message in row.json["messages"]] == ["system", "user"]
    assert row.json["tools"][0]["function"]["name"] == "lookup"
    assert booked(gateway, answer.headers["x-comptroller-call"])[0] == row.usage["prompt_tokens"]


def asked(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> Any:
    return parsed(raw(gateway, post(gateway, json.dumps(body).encode(), path=path)))


@pytest.mark.parametrize("path", ["/responses", "/openai/v1/responses", "/openai/responses?api-version=2026-05-01"])
def test_responses_are_served_under_every_prefix_that_clients_use(gateway, upstream, path):
    answer = asked(gateway, path, {"model": "small", "input": "hello"})
    assert (answer.status, answer.json["object"]) == (200, "response")
    assert upstream.log()[0].target.endswith("/v1/responses")


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, "chat.completion"),
        ("chat/completions", {"messages": [{"role": "user", "content": "hi"}], "model": "other"}, "chat.completion"),
        ("embeddings", {"input": "hi"}, "list"),
    ],
)
def test_an_azure_deployment_is_the_model(gateway, upstream, path, body, kind):
    answer = asked(gateway, f"/openai/deployments/small/{path}?api-version=2024-10-21", body)
    assert (answer.status, answer.json["object"]) == (200, kind)
    (row,) = upstream.log()
    assert row.json["model"] == "mock-ok"
    assert "api-version" not in row.target


def completion(text: str, finish: str | None = None, **more: Any) -> str:
    body = {"id": "c", "object": "text_completion", "created": 0, "model": "m", **more}
    return json.dumps({"choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}], **body})


def test_the_old_completions_are_governed_too(gateway, upstream):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    upstream.script(contains="whole", body=completion("there was", "stop", usage=usage))
    events = [completion("there "), completion("was", "stop"), json.dumps({"choices": [], "usage": usage}), "[DONE]"]
    upstream.script(contains="parts", raw=[f"data: {event}\n\n" for event in events])
    with sdk(gateway) as client:
        whole = client.completions.with_raw_response.create(model="small", prompt="whole")
        stream = client.completions.with_raw_response.create(model="small", prompt="parts", stream=True)
        text = "".join(chunk.choices[0].text for chunk in stream.parse())
    assert (whole.parse().choices[0].text, text) == ("there was", "there was")
    for got in (whole, stream):
        row = gateway.call(got.headers["x-comptroller-call"])
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (3, 2, None)
    assert [(row.target, row.json["max_tokens"]) for row in upstream.log()] == [("/v1/completions", 16)] * 2
