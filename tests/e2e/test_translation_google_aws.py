"""Gemini's and Bedrock's formats on one side of a call, another on the other: stock SDKs cannot tell, usage is the
provider's, nothing is dropped silently."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError
from google.genai import errors, types
from openai import APIStatusError

from tests.e2e.test_bedrock_sdk import ACCESS, SECRET, headers_of, native
from tests.e2e.test_bedrock_sdk import sdk as bedrock_sdk
from tests.e2e.test_gemini_sdk import call_of
from tests.e2e.test_gemini_sdk import sdk as gemini_sdk
from tests.support.clients import ask, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-bedrock")

FUNCTION = {"name": "lookup", "description": "d", "parameters": {"type": "object", "properties": {}}}
CALLED = [{"name": "lookup", "arguments": {"q": "x"}}, {"name": "lookup", "arguments": {"q": "y"}}]
WORDS = "word0 word1 word2 word3 word4 "
ALIASES = ("claude", "gpt", "google", "aws")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    signed = {"access_key_id": "${AWS_ACCESS}", "secret_access_key": "${AWS_SECRET}", "region": "eu-central-1"}
    with GatewayProcess(
        tmp_path_factory.mktemp("google-aws"),
        upstream.base_url,
        keys=(ALICE,),
        models={
            name: {"provider": name, "model": "mock-ok", "price": PRICE, "max_output_tokens": 4096} for name in ALIASES
        },
        providers={
            "claude": {"kind": "anthropic", "base_url": upstream.base_url, "api_key": "${PROVIDER_KEY}"},
            "gpt": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
            "google": {"kind": "gemini", "base_url": upstream.origin, "api_key": "${PROVIDER_KEY}"},
            "aws": {"kind": "bedrock", "base_url": upstream.origin, **signed},
        },
        variables={"AWS_ACCESS": ACCESS, "AWS_SECRET": SECRET},
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


@pytest.mark.parametrize("model", ["google", "aws"])
def test_a_chat_client_whole_and_streamed(gateway, upstream, model):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(**ask(model=model, seed=7))
        streamed = client.chat.completions.with_raw_response.create(
            **ask(model=model, stream=True, stream_options={"include_usage": True})
        )
        chunks = list(streamed.parse())
    whole = raw.parse()
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (WORDS, "stop")
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == WORDS
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert raw.headers["x-comptroller-translated"].endswith("left_out=seed")
    for usage, headers in ((whole.usage, raw.headers), (chunks[-1].usage, streamed.headers)):
        told = (usage.prompt_tokens, usage.completion_tokens)
        assert booked(gateway, headers["x-comptroller-call"]) == told
        assert told[1] == 5


@pytest.mark.parametrize("model", ["google", "aws"])
def test_tools_of_a_chat_client(gateway, upstream, model):
    upstream.script(tool_calls=CALLED)
    tools = [{"type": "function", "function": FUNCTION}]
    with sdk(gateway) as client:
        whole = client.chat.completions.create(**ask(model=model, tools=tools))
        with client.chat.completions.stream(**ask(model=model, tools=tools)) as stream:
            streamed = stream.get_final_completion()
    for reply in (whole, streamed):
        calls = reply.choices[0].message.tool_calls
        assert [json.loads(call.function.arguments) for call in calls] == [{"q": "x"}, {"q": "y"}]
        assert len({call.id for call in calls}) == 2
        assert reply.choices[0].finish_reason == "tool_calls"
    # Their results go back under the ids that the client was given.
    upstream.reset()
    calls = whole.choices[0].message.tool_calls
    results = [{"role": "tool", "tool_call_id": call.id, "content": "found"} for call in calls]
    history = [*ask()["messages"], whole.choices[0].message.model_dump(exclude_none=True), *results]
    with sdk(gateway) as client:
        client.chat.completions.create(model=model, messages=history, tools=tools)
    sent = json.dumps(upstream.log()[0].json)
    assert sent.count("found") == 2


@pytest.mark.parametrize("model", ["claude", "gpt", "aws"])
def test_a_gemini_client_whole_streamed_and_with_tools(gateway, upstream, model):
    with gemini_sdk(gateway) as client:
        whole = client.models.generate_content(model=model, contents="hello", config={"system_instruction": "be brief"})
        chunks = list(client.models.generate_content_stream(model=model, contents="hello"))
        upstream.script(tool_calls=CALLED)
        config = {"tools": [{"function_declarations": [FUNCTION]}], "automatic_function_calling": {"disable": True}}
        called = [
            client.models.generate_content(model=model, contents="hello", config=config).function_calls,
            [
                call
                for chunk in client.models.generate_content_stream(model=model, contents="hello", config=config)
                for call in chunk.function_calls or ()
            ],
        ]
    assert whole.text == "".join(chunk.text or "" for chunk in chunks) == WORDS
    assert "be brief" in upstream.log()[0].body
    for reply in (whole, chunks[-1]):
        assert reply.candidates[0].finish_reason == types.FinishReason.STOP
        told = (reply.usage_metadata.prompt_token_count, reply.usage_metadata.candidates_token_count)
        assert booked(gateway, call_of(reply if reply is whole else chunks[0])) == told
    for calls in called:
        assert [(call.name, call.args) for call in calls] == [("lookup", {"q": "x"}), ("lookup", {"q": "y"})]


@pytest.mark.parametrize("model", ["claude", "gpt", "google"])
def test_a_bedrock_client_whole_streamed_and_with_tools(gateway, upstream, model):
    asked = {"modelId": model, "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
    with bedrock_sdk(gateway) as client:
        whole = client.converse(**asked, system=[{"text": "be brief"}])
        streamed = client.converse_stream(**asked)
        events = list(streamed["stream"])
        upstream.script(tool_calls=CALLED)
        spec = {"name": "lookup", "inputSchema": {"json": {"type": "object"}}}
        called = client.converse(**asked, toolConfig={"tools": [{"toolSpec": spec}]})
    assert whole["output"]["message"]["content"] == [{"text": WORDS}]
    assert "be brief" in upstream.log()[0].body
    texts = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(texts) == WORDS
    for reply, usage in ((whole, whole["usage"]), (streamed, events[-1]["metadata"]["usage"])):
        assert booked(gateway, headers_of(reply)["x-comptroller-call"]) == (usage["inputTokens"], usage["outputTokens"])
    uses = [block["toolUse"]["input"] for block in called["output"]["message"]["content"]]
    assert (uses, called["stopReason"]) == ([{"q": "x"}, {"q": "y"}], "tool_use")


def test_a_client_of_invoke(gateway, upstream):
    with bedrock_sdk(gateway) as client:
        whole = client.invoke_model(modelId="gpt", body=native())
        streamed = client.invoke_model_with_response_stream(modelId="google", body=native())
        events = [json.loads(event["chunk"]["bytes"]) for event in streamed["body"]]
    assert json.loads(whole["body"].read())["content"] == [{"type": "text", "text": WORDS}]
    assert "".join(event["delta"].get("text", "") for event in events if "delta" in event) == WORDS
    assert events[-1] == {"type": "message_stop"}
    assert [row.target.rpartition("/")[2] for row in upstream.log()] == [
        "completions",
        "mock-ok:streamGenerateContent?alt=sse",
    ]


def test_what_cannot_be_translated_is_refused_by_name(gateway, upstream):
    with gemini_sdk(gateway) as client, pytest.raises(errors.ClientError) as google:
        client.models.generate_content(model="gpt", contents="hello", config={"response_mime_type": "text/x.enum"})
    assert google.value.details["error"]["comptroller"]["field"] in ("responseMimeType", "response_mime_type")
    with sdk(gateway) as client, pytest.raises(APIStatusError, match="at most one call"):
        client.chat.completions.create(**ask(model="google", parallel_tool_calls=False))
    assert upstream.log() == []


def test_the_shape_of_an_answer_is_asked_of_every_family(gateway, upstream):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "count", "schema": schema, "strict": True}}
    config = {"response_mime_type": "application/json", "response_json_schema": schema}
    with gemini_sdk(gateway) as client:
        client.models.generate_content(model="gpt", contents="hello", config=config)
    with sdk(gateway) as client:
        client.chat.completions.create(**ask(model="google", response_format=shape))
    to_gpt, to_google = upstream.log()
    assert to_gpt.json["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": True}
    assert to_google.json["generationConfig"]["responseJsonSchema"] == schema


def test_a_refusal_of_the_provider_comes_in_the_clients_shape(gateway, upstream):
    upstream.script(status=400, body='{"error":{"code":400,"message":"too long","status":"INVALID_ARGUMENT"}}')
    with bedrock_sdk(gateway) as client, pytest.raises(ClientError) as aws:
        client.converse(modelId="google", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    assert (aws.value.response["Error"]["Code"], aws.value.response["Error"]["Message"]) == (
        "ValidationException",
        "too long",
    )
    upstream.reset()
    upstream.script(status=400, headers=[["x-amzn-ErrorType", "ValidationException"]], body='{"message":"too long"}')
    with gemini_sdk(gateway) as client, pytest.raises(errors.ClientError) as google:
        client.models.generate_content(model="aws", contents="hi")
    assert (google.value.status, google.value.message) == ("INVALID_ARGUMENT", "too long")


def test_our_own_cut_has_the_form_of_the_clients_format(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with bedrock_sdk(gateway, session="cut") as client:
        reply = client.converse_stream(
            modelId="google",
            messages=[{"role": "user", "content": [{"text": "hi"}]}],
            inferenceConfig={"maxTokens": 4000},
        )
        stream = iter(reply["stream"])
        next(stream)
        gateway.cli("sessions", "stop", headers_of(reply)["x-comptroller-session"], "--reason", "looked odd")
        with pytest.raises(EventStreamError, match="looked odd"):
            list(stream)
        reply["stream"].close()  # boto3 leaves a broken one open
    assert booked(gateway, headers_of(reply)["x-comptroller-call"])[1] > 0
