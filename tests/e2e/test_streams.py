"""Streams that break, hang, lie, never end or run out of budget: a clean end for the client, the truth in the books."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIError

from tests.support.clients import Answer, Counted, ask, crowd, parsed, post, raw, scripted, sdk
from tests.support.fixtures import UpstreamProcess
from tests.support.gateway import ALICE, BOB, PRICE, GatewayProcess

pytestmark = pytest.mark.xdist_group("e2e-streams")

LIMITS: list[dict[str, Any]] = [
    {"name": "session-tokens", "each": "session", "key": "sliced", "tokens": 6_000},
    {"name": "session-money", "each": "session", "key": "paid", "usd": 0.004},
    {"name": "tiny", "each": "session", "key": "tiny", "tokens": 600},
]
BROKEN = {
    "breaks off": ("mock-rst-mid", "upstream_failed"),
    "closes early": ("mock-close-mid", "upstream_failed"),
    "half closes": ("mock-half-close", "upstream_failed"),
    "hangs": ("mock-hang-mid", "upstream_timeout"),
    "cuts a chunk": ("mock-truncated-chunk", "upstream_failed"),
    "frames badly": ("mock-bad-chunk", "upstream_failed"),
    "sends a huge line": ("mock-huge-line", "upstream_invalid"),
    "sends no JSON": ("no-json", "upstream_invalid"),
    "sends a list": ("a-list", "upstream_invalid"),
}
UPSTREAM_CODES = {"upstream_failed", "upstream_timeout", "upstream_invalid"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: UpstreamProcess) -> Iterator[GatewayProcess]:
    keys = [{"name": name, "user": name} for name in ("sliced", "paid", "tiny")]
    model = {"provider": "mock", "price": PRICE, "max_output_tokens": 16_384}
    names = ("mock-endless", *(model for model, _ in BROKEN.values()))
    with GatewayProcess(
        tmp_path_factory.mktemp("streams"),
        upstream.base_url,
        keys=[ALICE, BOB, *keys],
        limits=LIMITS,
        models={"small": {**model, "model": "mock-ok"}, **dict.fromkeys(names, model)},
        timeouts={"connect": "1s", "first_byte": "1s", "idle": "500ms", "total": "20s"},
        estimates={"slice_min": 256},
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess, clean_upstream: UpstreamProcess) -> GatewayProcess:
    word = 'data: {"choices": [{"index": 0, "delta": {"content": "word0 "}}]}\n\n'
    clean_upstream.script(model="no-json", raw=[word, "data: {{{\n\n"])
    clean_upstream.script(model="a-list", raw=[word, "data: [1, 2]\n\n"])
    clean_upstream.script(model="mock-huge-line", preset="mock-huge-line", huge_bytes=17 * 1024 * 1024)
    # The reply has begun before the bad frame comes.
    clean_upstream.script(model="mock-bad-chunk", preset="mock-bad-chunk", pace_s=0.05)
    return shared


async def streamed(gateway: GatewayProcess, key: str = "alice", session: str | None = None, **fields: Any) -> Answer:
    async with crowd(gateway) as clients:
        return await clients.chat(ask(stream=True, **fields), key=key, session=session)


def cut(answer: Answer) -> dict[str, Any]:
    """The error event with which a stream of ours ends (rule 32)."""
    assert answer.status == 200
    assert "[DONE]" not in answer.events
    last = answer.chunks[-1]
    assert set(last) == {"error"}
    error: dict[str, Any] = last["error"]
    assert error["message"]
    assert error["comptroller"]["call"] == answer.call_id
    assert error["comptroller"]["code"] == error["code"]
    return error


@pytest.mark.parametrize("how", BROKEN)
async def test_rule_32_a_stream_that_the_upstream_breaks_ends_with_an_error_and_is_booked(gateway, upstream, how):
    model, code = BROKEN[how]
    answer = await streamed(gateway, model=model, stream_options={"include_usage": True}, max_tokens=50)
    error = cut(answer)
    assert error["code"] in UPSTREAM_CODES
    assert error["code"] == code
    usages = [chunk["usage"] for chunk in answer.chunks if chunk.get("usage")]
    assert len(usages) == 1, "usage comes first where it was asked for"
    row = gateway.call(answer.call_id)
    assert (row["state"], row["outcome"], row["estimated"]) == ("settled", "cut_by_upstream", "cut_by_upstream")
    assert row["output_tokens"] == usages[0]["completion_tokens"]
    assert row["output_tokens"] >= len(answer.text.split())
    assert row["usd_micros"] == row["input_tokens"] + 2 * row["output_tokens"]


def test_the_sdk_raises_with_the_words_of_the_error_event(gateway):
    with sdk(gateway) as client, pytest.raises(APIError, match=r"provider broke off|connection to the provider"):
        list(client.chat.completions.create(**ask(model="mock-rst-mid"), stream=True))


async def test_a_dripping_stream_arrives_whole(gateway):
    answer = await streamed(gateway, messages=[{"role": "user", "content": scripted(fault="drip", pace_s=0.0005)}])
    assert answer.events[-1] == "[DONE]"
    assert answer.text.split() == [f"word{n}" for n in range(5)]


async def test_events_are_not_held_back(gateway, upstream):
    """The first word is here while the upstream still waits to send the next one."""
    async with crowd(gateway) as clients:
        body = ask(scripted(events=3, fault="hang_mid_stream", fault_after=2), stream=True)
        answer = await clients.chat(body, leave_after=2)
    assert len(answer.events) == 2
    row = gateway.call(answer.call_id)
    assert row["outcome"] in ("cut_by_client", "cut_by_upstream")


async def test_rule_5_a_long_stream_is_topped_up_and_passes(gateway, upstream):
    text = scripted("long", events=2_000, pace_s=0.0)
    answer = await streamed(gateway, "sliced", "long", messages=[{"role": "user", "content": text}])
    assert answer.events[-1] == "[DONE]"
    assert len(answer.text.split()) == 2_000
    row = gateway.call(answer.call_id)
    assert (row["output_tokens"], row["estimated"]) == (2_000, None)
    raised = [doc["held"]["output_tokens"] for doc in gateway.journal("raised") if doc["subject"] == answer.call_id]
    assert len(raised) >= 3
    assert raised == sorted(set(raised))
    (held,) = [doc["held"] for doc in gateway.journal("held") if doc["subject"] == answer.call_id]
    assert held["output_tokens"] < raised[0]
    assert raised[-1] + held["input_tokens"] <= 6_000


@pytest.mark.parametrize(("key", "session_limit"), [("sliced", "session-tokens"), ("paid", "session-money")])
async def test_rule_32_an_endless_stream_is_ended_at_the_session_budget(gateway, upstream, key, session_limit):
    """It ignores the cap that it is sent, so nothing but the meter ends it; the next call is refused."""
    options = {"model": "mock-endless", "stream_options": {"include_usage": True}}
    answer = await streamed(gateway, key, f"endless-{key}", **options)
    error = cut(answer)
    assert error["code"] == "session_budget_exhausted"
    assert error["comptroller"]["limit"]["name"] == session_limit
    row = gateway.call(answer.call_id)
    assert row["outcome"] == "cut_by_limit"
    events = len(answer.text.split())
    assert events <= row["output_tokens"] <= 4 * events
    # The upstream counts a token an event, and stayed within the budget by its own count. We count its words, which are
    # some tokens each, so what is booked by estimate may stand above the hold: then it is marked.
    limit, price = {"sliced": (6_000, 1), "paid": (4_000, 2)}[key]
    assert 0.3 * limit <= events * price <= limit
    (settled,) = [doc for doc in gateway.journal("settled") if doc["subject"] == answer.call_id]
    booked = row["usd_micros"] if key == "paid" else row["input_tokens"] + row["output_tokens"]
    assert (settled["overrun"] is not None) is (booked > limit)
    stats = await upstream.until(lambda stats: stats["in_flight"] == 0)
    assert stats["requests"][-1]["outcome"] == "client_gone", "the provider was told to stop"
    with Counted(gateway, key, session=f"endless-{key}") as counted:
        refused = counted.refused(**ask("more, please"))
    assert (refused.status, refused.code, refused.requests) == (402, "session_budget_exhausted", 1)


async def test_rule_1_the_cap_is_sent_and_an_upstream_that_keeps_it_ends_with_length(gateway, upstream):
    answer = await streamed(gateway, "tiny", "cap", messages=[{"role": "user", "content": scripted(events=2_000)}])
    sent = upstream.log()[-1].json["max_tokens"]
    assert 256 <= sent < 600
    assert answer.headers["x-comptroller-clamped"] == f"max_tokens={sent}"
    assert answer.events[-1] == "[DONE]"
    assert [c["choices"][0]["finish_reason"] for c in answer.chunks if c.get("choices")][-1] == "length"
    row = gateway.call(answer.call_id)
    assert row["input_tokens"] + row["output_tokens"] <= 600


async def test_rule_4_a_maximum_of_the_client_that_fits_is_never_touched(gateway, upstream):
    answer = await streamed(gateway, "tiny", "fits", max_tokens=200)
    assert upstream.log()[-1].json["max_tokens"] == 200
    assert "x-comptroller-clamped" not in answer.headers


def test_rule_4_a_plain_call_is_sent_with_a_cap_that_its_hold_covers(gateway, upstream):
    with sdk(gateway, "sliced", session="plain") as client:
        reply = client.chat.completions.with_raw_response.create(**ask(scripted(events=100_000)))
    sent = upstream.log()[-1].json["max_tokens"]
    row = gateway.call(reply.headers["x-comptroller-call"])
    held = next(doc["held"] for doc in gateway.journal("held") if doc["subject"] == row["call_id"])
    assert row["output_tokens"] == sent == held["output_tokens"] < 6_000


def test_rule_1_an_overrun_is_marked_and_the_next_call_refused(gateway, upstream):
    usage = {"prompt_tokens": 50, "completion_tokens": 5_000}
    with Counted(gateway, "tiny", session="overrun") as counted:
        raw_reply = counted.client.chat.completions.with_raw_response.create(
            **ask(scripted(usage=usage), max_tokens=100)
        )
        refused = counted.refused(**ask("more"))
    assert refused.code == "session_budget_exhausted"
    assert refused.machine["limit"]["spent"] == 5_050
    assert refused.machine["limit"]["remaining"] == 0
    (settled,) = [d for d in gateway.journal("settled") if d["subject"] == raw_reply.headers["x-comptroller-call"]]
    assert settled["overrun"]["output_tokens"] == 4_900
    assert gateway.metric("comptroller_overruns_total") >= 1


def test_a_stream_that_is_refused_is_no_stream(gateway):
    body = b'{"model": "nope", "stream": true, "messages": [{"role": "user", "content": "a"}]}'
    answer = parsed(raw(gateway, post(gateway, body)))
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
