"""boto3 as people use it, its key as access key id: what it gets, what the provider gets, what is booked."""

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError

from tests.support.fixtures import LogRow, UpstreamProcess
from tests.support.gateway import ALICE, BOB, PRICE, GatewayProcess, eventually

pytestmark = pytest.mark.xdist_group("e2e-bedrock")

DEARER = {**PRICE, "cached_input_usd_per_mtok": 0.5, "cache_write_usd_per_mtok": 3, "cache_write_1h_usd_per_mtok": 5}
SPEC = {"name": "lookup", "inputSchema": {"json": {"type": "object", "properties": {"query": {"type": "string"}}}}}
POOR = {"name": "poor", "user": "carol", "agent": "poor"}
ACCESS, SECRET = "access-key-for-tests", "for-tests-only/secret+access+key"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    served = {"price": DEARER, "max_output_tokens": 4096}
    aws = {"kind": "bedrock", "base_url": upstream.origin, "region": "eu-central-1"}
    with GatewayProcess(
        tmp_path_factory.mktemp("bedrock"),
        upstream.base_url,
        keys=(ALICE, BOB, POOR),
        models={
            "small": {"provider": "aws", "model": "mock-ok", **served},
            "arn:aws:bedrock:eu:1:inference-profile/eu.claude-v1:0": {
                "provider": "aws",
                "model": "eu.claude-v1:0",
                **served,
            },
            "by-key": {"provider": "bearer", "model": "mock-ok", **served},
            "chatty": {"provider": "mock", "model": "mock-ok", "price": PRICE},
        },
        providers={
            "aws": {**aws, "access_key_id": "${AWS_ACCESS}", "secret_access_key": "${AWS_SECRET}"},
            "bearer": {**aws, "api_key": "${PROVIDER_KEY}"},
            "mock": {"kind": "openai_compatible", "base_url": upstream.base_url, "api_key": "none"},
        },
        variables={"AWS_ACCESS": ACCESS, "AWS_SECRET": SECRET},
        limits=[{"name": "poor-run", "each": "session", "agent": "poor", "tokens": 1000}],
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


@contextlib.contextmanager
def sdk(gateway: GatewayProcess, key: str = "alice", session: str | None = None) -> Iterator[Any]:
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=f"{gateway.origin}/bedrock",
        region_name="eu-central-1",
        aws_access_key_id=gateway.keys.get(key, key),
        aws_secret_access_key="not-looked-at",
        config=Config(read_timeout=30),
    )
    if session is not None:
        client.meta.events.register("before-sign", lambda request, **_: request.headers.add_header(*_mark(session)))
    with contextlib.closing(client):
        yield client


def _mark(session: str) -> tuple[str, str]:
    return "x-comptroller-session", session


def ask(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"modelId": "small", "messages": [{"role": "user", "content": [{"text": text}]}], **fields}


def native(text: str = "hello", **fields: Any) -> str:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64}
    return json.dumps({**body, "messages": [{"role": "user", "content": text}], **fields})


def headers_of(reply: dict[str, Any]) -> dict[str, str]:
    return reply["ResponseMetadata"]["HTTPHeaders"]


def booked(gateway: GatewayProcess, call_id: str) -> dict[str, Any]:
    row: dict[str, Any] = eventually(
        lambda: row if (row := gateway.call(call_id))["state"] == "settled" else None, what="the settlement"
    )
    return row


def signature_is_right(row: LogRow, upstream: UpstreamProcess) -> bool:
    """Signs what arrived once more, at the time that it says, and compares."""
    given = row.header("authorization") or ""
    request = AWSRequest(
        "POST", f"{upstream.origin}{row.target}", {"content-type": row.header("content-type")}, row.body
    )
    request.context["timestamp"] = row.header("x-amz-date")
    request.headers["X-Amz-Date"] = row.header("x-amz-date")
    signer = SigV4Auth(Credentials(ACCESS, SECRET), "bedrock", "eu-central-1")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return re.search(r"Signature=(\w+)", given).group(1) == signature and f"Credential={ACCESS}/" in given


def test_a_plain_call_is_signed_answered_and_booked_as_the_provider_reported(gateway, upstream):
    with sdk(gateway, session="plain") as client:
        reply = client.converse(
            **ask(
                "how much is it?", system=[{"text": "be brief"}], inferenceConfig={"maxTokens": 64, "temperature": 0.5}
            )
        )
    assert reply["output"]["message"]["content"][0]["text"] == "word0 word1 word2 word3 word4 "
    (row,) = upstream.log()
    assert row.target == "/model/mock-ok/converse"
    assert row.json["inferenceConfig"] == {"maxTokens": 64, "temperature": 0.5}
    assert not {"model", "stream"} & row.json.keys()
    assert signature_is_right(row, upstream)
    call = booked(gateway, headers_of(reply)["x-comptroller-call"])
    assert (call["input_tokens"], call["output_tokens"]) == (row.usage["inputTokens"], 5)
    assert call["usd_micros"] == row.usage["inputTokens"] + 2 * 5
    assert headers_of(reply)["x-comptroller-session"]


def test_caches_are_added_up_and_priced_apart(gateway, upstream):
    usage = {
        "inputTokens": 10,
        "outputTokens": 7,
        "totalTokens": 1317,
        "cacheReadInputTokens": 1000,
        "cacheWriteInputTokens": 300,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 100}, {"ttl": "1h", "inputTokens": 200}],
    }
    upstream.script(usage=usage)
    with sdk(gateway) as client:
        reply = client.converse(**ask())
    call = booked(gateway, headers_of(reply)["x-comptroller-call"])
    assert (call["input_tokens"], call["cached_input_tokens"], call["output_tokens"]) == (1310, 1000, 7)
    # By hand: 10 at 1, 1000 at 0.5, 100 at 3, 200 at 5, 7 at 2 micro-USD a token.
    assert call["usd_micros"] == 10 + 500 + 300 + 1000 + 14


def test_a_stream_is_relayed_as_it_comes_and_booked(gateway, upstream):
    with sdk(gateway, session="streamed") as client:
        reply = client.converse_stream(**ask("go on"))
        events = list(reply["stream"])
    words = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert words == [f"word{n} " for n in range(5)]
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 5
    assert upstream.log()[0].target == "/model/mock-ok/converse-stream"
    call = booked(gateway, headers_of(reply)["x-comptroller-call"])
    told = upstream.log()[0].usage["inputTokens"]
    assert (call["input_tokens"], call["output_tokens"], call["outcome"]) == (told, 5, "ok")


def test_tools_pass_both_ways(gateway, upstream):
    upstream.script(tool_calls=[{"name": "lookup", "arguments": {"query": "x"}}])
    config = {"tools": [{"toolSpec": SPEC}]}
    with sdk(gateway) as client:
        whole = client.converse(**ask(toolConfig=config))
        events = list(client.converse_stream(**ask(toolConfig=config))["stream"])
    (block,) = whole["output"]["message"]["content"]
    assert (block["toolUse"]["name"], block["toolUse"]["input"]) == ("lookup", {"query": "x"})
    starts = [event["contentBlockStart"]["start"] for event in events if "contentBlockStart" in event]
    assert [start["toolUse"]["name"] for start in starts] == ["lookup"]
    assert upstream.log()[0].json["toolConfig"] == config


def test_invoke_carries_anthropics_messages(gateway, upstream):
    with sdk(gateway) as client:
        whole = client.invoke_model(modelId="small", body=native(system="be brief"))
        assert json.loads(whole["body"].read())["content"][0]["text"] == "word0 word1 word2 word3 word4 "
        streamed = client.invoke_model_with_response_stream(modelId="small", body=native())
        events = [json.loads(event["chunk"]["bytes"]) for event in streamed["body"]]
    assert next(event["delta"]["text"] for event in events if event["type"] == "content_block_delta") == "word0 "
    assert "amazon-bedrock-invocationMetrics" in events[-1]
    first, second = upstream.log()
    assert (first.target, second.target) == (
        "/model/mock-ok/invoke",
        "/model/mock-ok/invoke-with-response-stream",
    )
    assert first.json["anthropic_version"] == "bedrock-2023-05-31"
    assert not {"model", "stream"} & (first.json.keys() | second.json.keys())
    for reply, row in ((whole, first), (streamed, second)):
        call = booked(gateway, headers_of(reply)["x-comptroller-call"])
        assert (call["input_tokens"], call["output_tokens"]) == (row.usage["input_tokens"], 5)


def test_an_arn_arrives_percent_encoded_and_a_provider_key_may_be_a_bearer(gateway, upstream):
    with sdk(gateway) as client:
        client.converse(**ask(modelId="arn:aws:bedrock:eu:1:inference-profile/eu.claude-v1:0"))
        client.converse(**ask(modelId="by-key"))
    signed, shown = upstream.log()
    assert signed.target == "/model/eu.claude-v1%3A0/converse"
    assert signature_is_right(signed, upstream)
    assert shown.header("authorization") == f"Bearer {gateway.provider_key}"


@pytest.mark.parametrize("stream", [False, True])
def test_a_spent_budget_stops_the_sdk_after_one_request(gateway, upstream, stream):
    before = gateway.calls_seen()
    with sdk(gateway, "poor", f"spent-{stream}") as client:
        call = client.converse_stream if stream else client.converse
        with pytest.raises(ClientError) as caught:
            call(**ask("x" * 8000))
    assert caught.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert "poor-run" in str(caught.value)
    assert gateway.calls_seen() == before + 1
    assert upstream.log() == []


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"modelId": "nobody"}, 403, "AccessDeniedException"),
        ({"guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1"}}, 400, "ValidationException"),
        ({"additionalModelRequestFields": {"max_tokens": 90_000}}, 400, "ValidationException"),
        ({"performanceConfig": {"latency": "optimized"}}, 400, "ValidationException"),
    ],
)
def test_refusals_have_the_shape_of_the_format(gateway, upstream, fields, status, kind):
    with sdk(gateway) as client, pytest.raises(ClientError) as caught:
        client.converse(**ask(**fields))
    response = caught.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == (status, kind)
    assert upstream.log() == []


def test_an_unknown_key_and_other_bodies_are_refused(gateway, upstream):
    with sdk(gateway, "nobody") as client, pytest.raises(ClientError) as caught:
        client.converse(**ask())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with sdk(gateway) as client, pytest.raises(ClientError, match="anthropic_version"):
        client.invoke_model(modelId="small", body=json.dumps({"inputText": "hello"}))
    bearer = {"authorization": f"Bearer {gateway.keys['alice']}"}
    missing = httpx.post(f"{gateway.origin}/bedrock/model/small/predict", json={}, headers=bearer)
    assert (missing.status_code, missing.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    machine = missing.json()["error"]["comptroller"]
    assert machine["code"] == "route_unknown"
    assert upstream.log() == []


def test_profiles_and_counts_are_free(gateway, upstream):
    before = len(gateway.settled())
    bearer = {"authorization": f"Bearer {gateway.keys['alice']}"}
    listed = httpx.get(f"{gateway.origin}/bedrock/inference-profiles", headers=bearer).json()
    assert next(profile["inferenceProfileId"] for profile in listed["inferenceProfileSummaries"]) == "small"
    with sdk(gateway) as client:
        messages = ask("word " * 1000)["messages"]
        converse = client.count_tokens(modelId="small", input={"converse": {"messages": messages}})
        invoke = client.count_tokens(modelId="small", input={"invokeModel": {"body": native("word " * 1000)}})
        broken = base64.b64encode(b"no json").decode()
        with pytest.raises(ClientError):
            client.count_tokens(modelId="small", input={"invokeModel": {"body": broken}})
    assert 1000 <= converse["inputTokens"] < 2500
    assert 1000 <= invoke["inputTokens"] < 2500
    assert upstream.log() == []
    assert len(gateway.settled()) == before


@pytest.mark.parametrize("native_body", [False, True])
def test_our_own_cut_is_an_exception_that_the_sdk_raises(gateway, upstream, native_body):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with sdk(gateway, session=f"paused-{native_body}") as client:
        if native_body:
            reply = client.invoke_model_with_response_stream(modelId="small", body=native(max_tokens=4000))
        else:
            reply = client.converse_stream(**ask(inferenceConfig={"maxTokens": 4000}))
        stream = iter(reply["body" if native_body else "stream"])
        next(stream)
        gateway.cli("sessions", "pause", headers_of(reply)["x-comptroller-session"], "--reason", "looked odd")
        with pytest.raises(EventStreamError, match="looked odd"):
            list(stream)
        reply["body" if native_body else "stream"].close()  # boto3 leaves a broken one open
    row = booked(gateway, headers_of(reply)["x-comptroller-call"])
    assert row["outcome"] == "cut_by_stop"
    assert row["output_tokens"] > 0
    assert row["input_tokens"] > 0


def test_an_upstream_that_breaks_off_within_a_frame_ends_the_stream_with_an_exception(gateway, upstream):
    upstream.script(fault="truncated_chunk", fault_after=3)
    with sdk(gateway, session="broken") as client:
        reply = client.converse_stream(**ask())
        with pytest.raises(EventStreamError):
            list(reply["stream"])
        reply["stream"].close()  # boto3 leaves a broken one open
    row = booked(gateway, headers_of(reply)["x-comptroller-call"])
    assert row["outcome"] == "cut_by_upstream"
    assert row["estimated"] == "cut_by_upstream"


def test_a_client_that_leaves_ends_the_provider_and_is_charged_for_what_it_got(gateway, upstream):
    upstream.script(fault="endless", pace_s=0.002, obey_cap=False)
    with sdk(gateway, session="left") as client:
        reply = client.converse_stream(**ask(inferenceConfig={"maxTokens": 4000}))
        for _ in zip(range(5), reply["stream"], strict=False):
            pass
        reply["stream"].close()
    row = booked(gateway, headers_of(reply)["x-comptroller-call"])
    assert row["outcome"] == "cut_by_client"
    assert 3 <= row["output_tokens"] <= upstream.log()[0].events * 4
    eventually(lambda: upstream.stats()["in_flight"] == 0, what="the provider's end")


def test_the_providers_own_refusal_is_passed_on_with_its_type(gateway, upstream):
    upstream.script(status=400, headers=[["x-amzn-ErrorType", "ValidationException"]], body='{"message":"too long"}')
    with sdk(gateway) as client, pytest.raises(client.exceptions.ValidationException, match="too long"):
        client.converse(**ask())
    assert len(upstream.log()) == 1


def test_thinking_is_held_whole_and_its_budget_is_left_to_it(gateway, upstream):
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    with sdk(gateway, session="thinks") as client:
        client.converse(**ask(inferenceConfig={"maxTokens": 3000}, additionalModelRequestFields=thinking))
    assert upstream.log()[0].json["inferenceConfig"]["maxTokens"] == 3000
    held = gateway.journal("held")[-1]
    assert held["held"]["output_tokens"] == 3000
    assert not held["sliced"]
