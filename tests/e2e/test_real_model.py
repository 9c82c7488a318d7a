"""A real language model behind the gateway: its own usage is booked, and an agent on it is stopped in budget."""

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai import APIStatusError

from tests.support.clients import sdk
from tests.support.gateway import ALICE, PRICE, GatewayProcess
from tests.support.local_model import LocalModel

pytestmark = pytest.mark.xdist_group("model")

AGENT_TOKENS = 900


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    running = LocalModel()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    served = {"model": "smollm2", "price": PRICE, "max_output_tokens": 2048}
    with GatewayProcess(
        tmp_path_factory.mktemp("model"),
        model.base_url,
        providers={
            "mock": {"kind": "openai_compatible", "base_url": model.base_url, "api_key": "none", "responses": True},
            "messages": {"kind": "anthropic", "base_url": model.base_url, "api_key": "none"},
        },
        keys=[ALICE, {"name": "agent", "agent": "agent"}],
        models={"small": {"provider": "mock", **served}, "by-messages": {"provider": "messages", **served}},
        limits=[{"name": "agent-run", "each": "session", "key": "agent", "tokens": AGENT_TOKENS}],
    ) as running:
        yield running


def question(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "small", "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


def figures(row: dict[str, Any]) -> tuple[int, int, int, str | None]:
    return row["input_tokens"], row["output_tokens"], row["cached_input_tokens"], row["estimated"]


def as_reported(usage: Any) -> tuple[int, int, int, None]:
    details = usage.prompt_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    return usage.prompt_tokens, usage.completion_tokens, cached, None


def test_a_chat_is_booked_with_what_the_model_reports(gateway):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            **question("What is the capital of France?"), max_tokens=24
        )
    reply = raw.parse()
    assert len(reply.choices[0].message.content.split()) > 3
    assert reply.usage.completion_tokens <= 24
    row = gateway.call(raw.headers["x-comptroller-call"])
    assert figures(row) == as_reported(reply.usage)
    assert row["usd_micros"] == reply.usage.prompt_tokens + 2 * reply.usage.completion_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_booked_with_what_the_model_reports(gateway, stream):
    with sdk(gateway) as client:
        raw = client.responses.with_raw_response.create(
            model="small", input="What is the capital of France?", max_output_tokens=24, temperature=0, stream=stream
        )
        reply = raw.parse()
        if stream:
            *_, last = reply
            assert last.type in ("response.completed", "response.incomplete")
            reply = last.response
    assert len(reply.output_text.split()) > 3
    row = gateway.call(raw.headers["x-comptroller-call"])
    details = reply.usage.input_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    assert figures(row) == (reply.usage.input_tokens, reply.usage.output_tokens, cached, None)
    assert 0 < reply.usage.output_tokens <= 24


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_is_booked_with_what_the_model_reports(gateway, stream):
    messages: Any = question("What is the capital of France?")["messages"]
    reply: Any
    with Anthropic(base_url=gateway.origin, api_key=gateway.keys["alice"]) as client:
        if stream:
            with client.messages.stream(messages=messages, model="by-messages", max_tokens=24) as events:
                reply, headers = events.get_final_message(), events.response.headers
        else:
            raw = client.messages.with_raw_response.create(messages=messages, model="by-messages", max_tokens=24)
            reply, headers = raw.parse(), raw.headers
    assert len(reply.content[0].text.split()) > 3
    told = reply.usage
    cached = told.cache_read_input_tokens or 0
    row = gateway.call(headers["x-comptroller-call"])
    assert figures(row) == (told.input_tokens + cached, told.output_tokens, cached, None)
    assert 0 < told.output_tokens <= 24


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_is_booked_with_what_the_model_reports(gateway, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            **question("Count from one to ten."), stream=True, max_tokens=40, **options
        )
        chunks = list(raw.parse())
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(words) > 20
    row = gateway.call(raw.headers["x-comptroller-call"])
    assert row["estimated"] is None
    assert 10 < row["output_tokens"] <= 40
    if include_usage:
        assert figures(row) == as_reported(chunks[-1].usage)


def test_a_stream_that_is_left_is_booked_close_to_what_was_streamed(gateway):
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            **question("Tell me a story."), stream=True, max_tokens=200
        )
        stream = raw.parse()
        seen = [chunk for _, chunk in zip(range(25), stream, strict=False)]
        stream.close()
    row = gateway.call(raw.headers["x-comptroller-call"])
    assert (row["outcome"], row["estimated"]) == ("cut_by_client", "cut_by_client")
    assert len(seen) - 2 <= row["output_tokens"] <= 2 * len(seen) + 20


def test_an_agent_loop_is_stopped_at_its_session_budget(gateway):
    messages: list[Any] = [{"role": "system", "content": "You are an agent. Think aloud, one sentence at a time."}]
    reported = calls = 0
    refused: APIStatusError | None = None
    with sdk(gateway, "agent", session="loop") as client:
        while refused is None and calls < 100:
            messages.append({"role": "user", "content": f"Step {calls}: what will you do next?"})
            try:
                reply = client.chat.completions.create(model="small", messages=messages, max_tokens=40)
            except APIStatusError as error:
                refused = error
                break
            calls += 1
            assert reply.usage is not None
            reported += reply.usage.total_tokens
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
    assert refused is not None
    assert (refused.status_code, refused.code) == (402, "session_budget_exhausted")
    assert calls >= 3
    limit = refused.response.json()["error"]["comptroller"]["limit"]
    assert limit["spent"] == reported <= AGENT_TOKENS
    assert limit["spent"] + limit["asked"] > AGENT_TOKENS
