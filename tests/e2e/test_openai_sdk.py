"""The openai SDK as people use it, on the default server: what it gets, what reaches the provider, what is booked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import ask, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-sdk")

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LOOKUP = {
    "type": "function",
    "function": {"name": "lookup", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    keys = (ALICE, BOB, {"name": "narrow", "user": "carol", "models": ["small", "other*"]})
    directory: Path = tmp_path_factory.mktemp("sdk")
    with GatewayProcess(directory, upstream.base_url, keys=keys, models=["mock-tool", "other-a"]) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    return shared


def booked(gateway: GatewayProcess, call_id: str) -> tuple[int, int, int]:
    """(input tokens, output tokens, micro-USD) as the books have them."""
    row = gateway.call(call_id)
    assert row["state"] == "settled"
    return row["input_tokens"], row["output_tokens"], row["usd_micros"]


def reported(usage: Any) -> tuple[int, int, int]:
    """The same, as usage and price say."""
    return usage["prompt_tokens"], usage["completion_tokens"], usage["prompt_tokens"] + 2 * usage["completion_tokens"]


def test_a_plain_call_is_answered_and_booked_as_the_provider_reported(gateway, upstream):
    with sdk(gateway, session="plain") as client:
        raw = client.chat.completions.with_raw_response.create(**ask("how much is it?", user="u-1", seed=7))
    reply, headers = raw.parse(), raw.headers
    assert reply.choices[0].message.content == "word0 word1 word2 word3 word4 "
    (row,) = upstream.log()
    assert row.json["seed"] == 7
    assert row.json["model"] == "mock-ok"
    assert row.header("authorization") == f"Bearer {gateway.provider_key}"
    assert booked(gateway, headers["x-comptroller-call"]) == reported(row.usage)
    cost_usd_micros = reported(row.usage)[2]
    assert round(float(headers["x-comptroller-cost-usd"]) * 1_000_000) == cost_usd_micros
    assert headers["x-comptroller-session"].startswith("ses_")


def test_client_headers_do_not_reach_the_provider(gateway, upstream):
    with sdk(
        gateway, default_headers={"x-secret-of-the-client": "1", "openai-organization": "org-of-client"}
    ) as client:
        client.chat.completions.create(**ask())
    (row,) = upstream.log()
    names = {name.lower() for name, _ in row.headers}
    assert not names & {"x-secret-of-the-client", "openai-organization", "x-stainless-lang", "cookie"}
    assert gateway.keys["alice"] not in str(row.headers)


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_comes_whole_with_usage_only_if_asked_for(gateway, upstream, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(**ask(scripted(events=30)), stream=True, **options)
        chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.split() == [f"word{n}" for n in range(30)]
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    (row,) = upstream.log()
    assert row.json["stream_options"] == {"include_usage": True}
    assert [usage.completion_tokens for usage in usages] == ([30] if include_usage else [])
    assert all(chunk.choices for chunk in chunks) is not include_usage
    assert booked(gateway, raw.headers["x-comptroller-call"]) == reported(row.usage)


def test_tools_are_passed_on_and_called(gateway, upstream):
    with sdk(gateway) as client:
        reply = client.chat.completions.create(**ask(model="mock-tool", tools=[LOOKUP]))
        first = client.chat.completions.create(
            **ask(model="mock-tool", tools=[LOOKUP], tool_choice="auto"), stream=True
        )
        streamed = [call for chunk in first for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("lookup", '{"query": "x"}')
    assert streamed[0].function.name == "lookup"
    assert "".join(part.function.arguments or "" for part in streamed) == '{"query": "x"}'
    assert [row.json["tools"] for row in upstream.log()] == [[LOOKUP], [LOOKUP]]


def test_several_choices_are_answered_and_paid_for(gateway, upstream):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(**ask(n=3))
        streamed = list(client.chat.completions.create(**ask(n=3), stream=True))
    assert len(raw.parse().choices) == 3
    assert {choice.index for chunk in streamed for choice in chunk.choices} == {0, 1, 2}
    whole, stream = upstream.log()
    assert whole.usage["completion_tokens"] == 15
    assert booked(gateway, raw.headers["x-comptroller-call"]) == reported(whole.usage)
    assert [(r["output_tokens"]) for r in gateway.settled()[-2:]] == [15, stream.usage["completion_tokens"]]


def test_images_pass_through(gateway, upstream):
    content = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    with sdk(gateway) as client:
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": content}])
    (row,) = upstream.log()
    assert row.json["messages"] == [{"role": "user", "content": content}]


def test_embeddings(gateway, upstream):
    with sdk(gateway) as client:
        raw = client.embeddings.with_raw_response.create(
            model="small", input=["one text", "another"], encoding_format="float"
        )
    assert [len(item.embedding) > 0 for item in raw.parse().data] == [True, True]
    (row,) = upstream.log()
    assert row.target.endswith("/embeddings")
    tokens = row.usage["prompt_tokens"]
    assert booked(gateway, raw.headers["x-comptroller-call"]) == (tokens, 0, tokens)


def test_models_lists_only_what_the_key_may_use(gateway, upstream):
    with sdk(gateway) as client:
        assert {model.id for model in client.models.list()} == {"small", "mock-tool", "other-a"}
    with sdk(gateway, "narrow") as client:
        assert {model.id for model in client.models.list()} == {"small", "other-a"}
        assert client.models.retrieve("small").id == "small"
        with pytest.raises(Exception, match="not one that this key may use") as refused:
            client.models.retrieve("mock-tool")
    assert refused.value.status_code == 404
    assert upstream.log() == []


@pytest.mark.parametrize("usage", ["missing", "null", "negative", "zero", "in_choice", "each", "late", "double"])
def test_what_is_booked_is_what_was_reported_and_an_estimate_is_marked(gateway, upstream, usage):
    with sdk(gateway) as client:
        stream = client.chat.completions.with_raw_response.create(
            **ask(scripted(events=12, usage=usage)), stream=True, stream_options={"include_usage": True}
        )
        list(stream.parse())
    row = gateway.call(stream.headers["x-comptroller-call"])
    if usage in ("missing", "null", "negative"):
        assert row["estimated"] in ("no_usage", "usage_invalid")
        assert 12 <= row["output_tokens"] <= 48
        assert row["input_tokens"] > 0
    elif usage == "zero":
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (0, 0, None)
    else:
        assert (row["output_tokens"], row["estimated"]) == (12, None)


def test_cached_and_reasoning_tokens_are_booked(gateway, upstream):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            **ask(scripted("x" * 400, cached_tokens=60, reasoning_tokens=3))
        )
    row = gateway.call(raw.headers["x-comptroller-call"])
    assert (row["cached_input_tokens"], row["reasoning_tokens"]) == (60, 3)


def test_tags_attribute_and_the_principal_is_booked(gateway):
    with sdk(gateway, default_headers={"x-comptroller-tags": "project=apollo,ticket=T-1"}) as client:
        raw = client.chat.completions.with_raw_response.create(**ask())
    row = gateway.call(raw.headers["x-comptroller-call"])
    terms = gateway.rows(
        "SELECT t.kind, coalesce(n.name, t.value) AS value FROM attribution_terms AS t LEFT JOIN names AS n ON "
        "n.id = t.value WHERE t.attribution_id = ?",
        row["attribution_id"],
    )
    found = {(term["kind"], term["value"]) for term in terms}
    assert {("user", "alice"), ("team", "platform"), ("app", "ci"), ("agent", "reviewer"), ("model", "small")} <= found
    assert "apollo" in str(terms)


def test_the_program_that_connect_writes_runs_as_it_is(gateway, upstream, tmp_path):
    environment = {**os.environ, "COMPTROLLER_URL": gateway.origin, "COMPTROLLER_API_KEY": gateway.keys["alice"]}
    connect = [sys.executable, "-m", "gateway.cli.main", "connect", "openai", "--write"]
    subprocess.run(connect, cwd=tmp_path, env=environment, check=True, timeout=60)
    ran = subprocess.run(
        [sys.executable, "ask_openai.py"], cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60
    )
    assert ran.stdout.decode().strip() == "word0 word1 word2 word3 word4"
    assert gateway.settled()[-1]["input_tokens"] == upstream.log()[-1].usage["prompt_tokens"]
