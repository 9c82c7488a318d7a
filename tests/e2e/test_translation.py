"""One client format in front, another behind: the stock SDKs cannot tell, usage is the provider's, nothing is dropped
silently."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import APIStatusError as AnthropicError
from openai import APIError, APIStatusError

from tests.e2e.test_anthropic_sdk import sdk as anthropic_sdk
from tests.support.clients import ask, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-anthropic")

TOOL = {"type": "function", "function": {"name": "lookup", "description": "d", "parameters": {"type": "object"}}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    both = [{"provider": "claude", "model": "mock-ok"}, {"provider": "gpt", "model": "mock-ok"}]
    mixed = [{"provider": "gpt", "model": "gpt-4o"}, {"provider": "claude", "model": "claude-opus"}]
    with GatewayProcess(
        tmp_path_factory.mktemp("translation"),
        upstream.base_url,
        keys=(ALICE,),
        models={
            "claude": {"provider": "claude", "model": "mock-ok", "price": PRICE, "max_output_tokens": 4096},
            "gpt": {"provider": "gpt", "model": "mock-ok", "price": PRICE, "max_output_tokens": 4096},
            "both": {"deployments": both, "price": PRICE, "max_output_tokens": 4096},
            "mixed": {"deployments": mixed, "price": PRICE, "max_output_tokens": 4096},
        },
        providers={
            "claude": {"kind": "anthropic", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"},
            "gpt": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
        },
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def booked(gateway: GatewayProcess, call_id: str) -> tuple[int, int]:
    row: dict[str, Any] = eventually(
        lambda: row if (row := gateway.call(call_id))["state"] == "settled" else None, what="the settlement"
    )
    return row["input_tokens"], row["output_tokens"]


def conversation() -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
    ]


def test_a_chat_client_talks_to_an_anthropic_provider(gateway, upstream):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="claude",
            messages=conversation(),
            tools=[TOOL],
            tool_choice="required",
            max_tokens=100,
            stop=["end"],
            user="u-1",
            seed=7,
            parallel_tool_calls=False,
        )
    reply = raw.parse()
    assert reply.choices[0].message.content == "word0 word1 word2 word3 word4 "
    assert reply.choices[0].finish_reason == "stop"
    (row,) = upstream.log()
    assert row.target == "/v1/messages"
    assert row.header("x-api-key") == gateway.provider_key
    assert row.json == {
        "model": "mock-ok",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "lookup", "input": {"a": 1}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "found"}]}
                ],
            },
        ],
        "tools": [{"name": "lookup", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["end"],
        "metadata": {"user_id": "u-1"},
    }
    assert raw.headers["x-comptroller-translated"] == "to=anthropic_messages;left_out=seed"
    assert booked(gateway, raw.headers["x-comptroller-call"]) == (row.usage["input_tokens"], 5)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (row.usage["input_tokens"], 5)


def test_a_chat_stream_of_an_anthropic_provider(gateway, upstream):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            **ask(model="claude", stream=True, stream_options={"include_usage": True})
        )
        chunks = list(raw.parse())
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "word0 word1 word2 word3 word4 "
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert booked(gateway, raw.headers["x-comptroller-call"]) == (usage.prompt_tokens, usage.completion_tokens)


def test_tool_calls_of_an_anthropic_provider_come_to_a_chat_client(gateway, upstream):
    upstream.script(
        tool_calls=[{"name": "lookup", "arguments": {"q": "x"}}, {"name": "lookup", "arguments": {"q": "y"}}]
    )
    with sdk(gateway) as client:
        whole = client.chat.completions.create(**ask(model="claude", tools=[TOOL]))
        with client.chat.completions.stream(**ask(model="claude", tools=[TOOL])) as stream:
            streamed = stream.get_final_completion()
    for reply in (whole, streamed):
        assert reply.choices[0].finish_reason == "tool_calls"
        found = [
            (call.function.name, json.loads(call.function.arguments)) for call in reply.choices[0].message.tool_calls
        ]
        assert found == [("lookup", {"q": "x"}), ("lookup", {"q": "y"})]


def test_an_anthropic_client_talks_to_a_chat_provider(gateway, upstream):
    with anthropic_sdk(gateway) as client:
        raw = client.messages.with_raw_response.create(
            model="gpt",
            max_tokens=100,
            system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
            messages=[
                {"role": "user", "content": "do it"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t1", "name": "lookup", "input": {"a": 1}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}],
                },
            ],
            tools=[{"name": "lookup", "description": "d", "input_schema": {"type": "object"}}],
            extra_body={"thinking": {"type": "adaptive"}, "context_management": {"edits": []}},
        )
    reply = raw.parse()
    assert reply.content[0].text == "word0 word1 word2 word3 word4 "
    assert reply.stop_reason == "end_turn"
    (row,) = upstream.log()
    assert row.target == "/v1/chat/completions"
    assert row.header("anthropic-version") is None
    assert row.json["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "do it"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "lookup", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no"},
    ]
    assert (
        raw.headers["x-comptroller-translated"] == "to=openai_chat;left_out=context_management,thinking,cache_control"
    )
    assert booked(gateway, raw.headers["x-comptroller-call"]) == (row.usage["prompt_tokens"], 5)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (row.usage["prompt_tokens"], 5)


def test_an_anthropic_stream_of_a_chat_provider(gateway, upstream):
    upstream.script(tool_calls=[{"name": "lookup", "arguments": {"q": "x"}}], times=1)
    with anthropic_sdk(gateway) as client:
        fields = {"model": "gpt", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
        with client.messages.stream(**fields, tools=[{"name": "lookup", "input_schema": {"type": "object"}}]) as stream:
            tool = stream.get_final_message()
        with client.messages.stream(**fields) as stream:
            words = list(stream.text_stream)
            message = stream.get_final_message()
            call_id = stream.response.headers["x-comptroller-call"]
    use: Any = tool.content[0]
    assert (use.name, use.input, tool.stop_reason) == ("lookup", {"q": "x"}, "tool_use")
    assert words == [f"word{n} " for n in range(5)]
    assert message.stop_reason == "end_turn"
    assert booked(gateway, call_id) == (message.usage.input_tokens, message.usage.output_tokens)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"frequency_penalty": 1},
        {"temperature": 1.5},
        {"extra_body": {"some_new_field": 1}},
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(gateway, upstream, fields):
    with sdk(gateway) as client, pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**ask(model="claude", **fields))
    name = next(iter(fields.get("extra_body", fields)))
    assert refused.value.status_code == 400
    assert refused.value.body["param"] == name
    assert f"`{name}`" in refused.value.message
    assert upstream.log() == []


def test_an_alias_with_two_families_falls_back_in_translation(gateway, upstream):
    upstream.script(
        contains="fall back", status=529, body='{"type":"error","error":{"type":"overloaded_error"}}', times=1
    )
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(**ask("fall back", model="both"))
    first, second = upstream.log()
    assert (first.target, second.target) == ("/v1/messages", "/v1/chat/completions")
    assert booked(gateway, raw.headers["x-comptroller-call"]) == (second.usage["prompt_tokens"], 5)
    assert "x-comptroller-translated" not in raw.headers


def test_a_request_that_only_one_family_takes_goes_there(gateway, upstream):
    with sdk(gateway) as client:
        client.chat.completions.create(**ask(model="both", logprobs=True))
    assert [row.target for row in upstream.log()] == ["/v1/chat/completions"]


def test_a_refusal_of_the_provider_comes_in_the_clients_shape(gateway, upstream):
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "too many images"}}
    upstream.script(status=400, body=json.dumps(said))
    with sdk(gateway) as client, pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(**ask(model="claude"))
    assert "too many images" in refused.value.message
    upstream.reset()
    upstream.script(status=400, body=json.dumps({"error": {"message": "too long", "type": "invalid_request_error"}}))
    with anthropic_sdk(gateway) as client, pytest.raises(AnthropicError) as answered:
        client.messages.create(model="gpt", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
    assert (answered.value.type, answered.value.body["error"]["message"]) == ("invalid_request_error", "too long")


def test_our_own_cut_has_the_form_of_the_clients_format(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with sdk(gateway, session="cut") as client:
        raw = client.chat.completions.with_raw_response.create(**ask(model="claude", stream=True, max_tokens=4000))
        stream = iter(raw.parse())
        next(stream)
        gateway.cli("sessions", "stop", raw.headers["x-comptroller-session"], "--reason", "looked odd")
        with pytest.raises(APIError) as cut:
            list(stream)
    assert cut.value.body["comptroller"]["code"] == "session_stopped"
    assert booked(gateway, raw.headers["x-comptroller-call"])[1] > 0


def test_one_idempotency_key_tells_the_formats_apart(gateway, upstream):
    body = ask(model="both", max_tokens=20)
    headers = {"Idempotency-Key": "one-body-two-formats"}
    with sdk(gateway) as client:
        client.chat.completions.create(**body, extra_headers=headers)
    with anthropic_sdk(gateway) as claude, pytest.raises(AnthropicError) as refused:
        claude.messages.create(**body, extra_headers=headers)
    assert refused.value.status_code == 422
    assert len(upstream.log()) == 1


def test_embeddings_are_not_asked_of_a_model_that_makes_none(gateway, upstream):
    with sdk(gateway) as client, pytest.raises(APIStatusError, match="'claude' makes no embeddings") as refused:
        client.embeddings.create(model="claude", input="hello")
    assert refused.value.status_code == 400
    assert upstream.log() == []


@pytest.mark.parametrize(("model", "tight"), [("both", True), ("mixed", False)])
def test_rule_2_one_tokenizer_s_count_bounds_no_other_s_prompt(gateway, model, tight):
    body = ask("word " * 400, model=model, max_tokens=20)
    held: list[int] = []
    with sdk(gateway, default_headers={"x-comptroller-session": f"turns-{model}"}) as client:
        for words in ("", "go on"):
            body["messages"] = [*body["messages"], *([{"role": "user", "content": words}] if words else [])]
            raw = client.chat.completions.with_raw_response.create(**body)
            call = raw.headers["x-comptroller-call"]
            booked(gateway, call)
            held += [doc["prompt_tokens"] for doc in gateway.journal("held") if doc["subject"] == call]
    assert (held[1] < held[0]) is tight
