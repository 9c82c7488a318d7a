"""Attacks on the books: clients and upstreams that would have a hold leak, a charge vanish or a limit run over."""

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.test_ledger_down import FAULTS, works
from tests.support.clients import ask, crowd, scripted, sdk
from tests.support.gateway import PRICE, GatewayProcess, eventually

ROOM = [{"name": "room", "org": "org", "tokens": 2_000, "window": "day"}]


def event(text: str | None, **fields: Any) -> str:
    """A chunk of a stream, with the fields of the whole chunk beside its one choice; no text ends the choice."""
    choice = '{"delta": {}, "finish_reason": "stop"}' if text is None else f'{{"delta": {{"content": "{text}"}}}}'
    rest = "".join(f', "{name}": {value}' for name, value in fields.items())
    return f'data: {{"choices": [{choice}]{rest}}}\n\n'


def counter(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    (found,) = [row for row in gateway.cli("limits", "list", "--json").json if row["name"] == name]
    return dict(found)


async def test_rule_25_a_session_that_many_calls_open_at_once_is_one_opening(start, upstream):
    gateway = start(sessions={"max_new_per_hour": 2})
    upstream.script(model="mock-ok", delay_s=0.05)
    async with crowd(gateway) as racing:
        answers = await asyncio.gather(*(racing.chat(ask(f"call {n}"), session="one") for n in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert counter(gateway, "sessions.max_new_per_hour")["spent"] == 1
    assert len(gateway.rows("SELECT * FROM session_opens")) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_rule_9_an_opening_that_could_not_be_written_is_not_counted(start, fault):
    gateway = start(sessions={"max_new_per_hour": 3})
    async with crowd(gateway) as racing:
        with FAULTS[fault](gateway):
            answers = [await racing.chat(ask(f"call {n}"), key="bob", session=f"s{n}") for n in range(4)]
            assert {answer.code for answer in answers} == {"ledger_unavailable"}
        eventually(lambda: works(gateway), what="recovery")
        answer = await racing.chat(ask("now"), key="bob", session="real")
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("how", ["complete", "cut by the upstream", "cut by the client"])
async def test_rule_10_a_report_from_the_middle_of_a_stream_hides_nothing_that_came_after_it(start, upstream, how):
    gateway = start()
    usage = '{"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}'
    words = [event(f"word{n} ") for n in range(50)]
    end = [] if how == "cut by the upstream" else [event(None), "data: [DONE]\n\n"]
    hangs = {"fault": "hang_mid_stream", "fault_after": 51} if how == "cut by the client" else {}
    upstream.script(model="mock-ok", raw=[event("first ", usage=usage), *words, *end], **hangs)
    body = ask(stream=True, stream_options={"include_usage": True})
    async with crowd(gateway) as clients:
        answer = await clients.chat(body, leave_after=51 if hangs else None)
    row = gateway.call(answer.call_id)
    reason = {"complete": "no_usage", "cut by the upstream": "cut_by_upstream", "cut by the client": "cut_by_client"}
    assert (row["input_tokens"], row["estimated"]) == (7, reason[how])
    assert 51 <= row["output_tokens"] <= 4 * 51
    if how == "cut by the upstream":
        told = [chunk["usage"] for chunk in answer.chunks if "usage" in chunk]
        assert told[-1]["completion_tokens"] == row["output_tokens"]


async def test_rule_1_a_stream_with_ample_room_whose_upstream_ignores_the_cap_is_ended(start, upstream):
    gateway = start(limits=ROOM)
    upstream.script(model="mock-ok", preset="mock-endless")
    async with crowd(gateway) as clients:
        answer = await clients.chat(ask(stream=True, max_tokens=50))
    assert answer.chunks[-1]["error"]["code"] == "upstream_invalid"
    row = gateway.call(answer.call_id)
    assert row["outcome"] == "cut_by_limit"
    assert 50 < row["output_tokens"] < 400
    (settled,) = gateway.journal("settled")
    assert settled["overrun"]["output_tokens"] == row["output_tokens"] - 50
    stats = await upstream.until(lambda stats: stats["in_flight"] == 0)
    assert stats["requests"][-1]["outcome"] == "client_gone", "the provider was told to stop"


async def test_rule_2_a_token_that_comes_in_many_events_is_no_breach_of_the_cap(start, upstream):
    gateway = start(limits=ROOM)
    letters = [event(letter) for letter in "the quick brown fox jumps over the lazy dog"]
    upstream.script(model="mock-ok", raw=[*letters, event(None), "data: [DONE]\n\n"])
    async with crowd(gateway) as clients:
        answer = await clients.chat(ask(stream=True, max_tokens=12))
    assert answer.events[-1] == "[DONE]"


async def test_rule_32_an_answer_whose_end_came_with_it_is_not_cut(start, upstream):
    """It came in one piece, in more events than were held, with the provider's report: it is paid for, so delivered."""
    gateway = start(limits=[{"name": "room", "each": "session", "tokens": 700}], estimates={"slice_min": 300})
    usage = '{"prompt_tokens": 20, "completion_tokens": 310, "total_tokens": 330}'
    words = event("a") * 700
    upstream.script(model="mock-ok", raw=[words + event(None, usage=usage) + "data: [DONE]\n\n"])
    async with crowd(gateway) as clients:
        answer = await clients.chat(ask(stream=True))
    assert answer.events[-1] == "[DONE]"
    row = gateway.call(answer.call_id)
    assert (row["outcome"], row["output_tokens"], row["estimated"]) == ("ok", 310, None)


async def test_arguments_that_nest_too_deep_to_write_leave_nothing_behind(start, upstream):
    gateway = start()
    deep = "[" * 300 + "]" * 300
    called = [{"index": 0, "id": "c", "type": "function", "function": {"name": "dig", "arguments": deep}}]
    message = {"role": "assistant", "content": None, "tool_calls": called}
    choice = {"index": 0, "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    whole = json.dumps({"choices": [{**choice, "message": message}], "usage": usage})
    chunk = json.dumps({"choices": [{**choice, "delta": message}], "usage": usage})
    upstream.script(model="mock-ok", raw=[f"data: {chunk}\n\n", "data: [DONE]\n\n"])
    body = ask()
    body["messages"] = [*body["messages"], message, {"role": "tool", "tool_call_id": "c", "content": "hole"}]
    async with crowd(gateway) as clients:
        streamed = await clients.chat({**body, "stream": True})
        upstream.reset()
        upstream.script(model="mock-ok", body=whole)
        plain = await clients.chat(body)
    assert (streamed.status, plain.status) == (200, 200)
    assert {row["output_tokens"] for row in gateway.settled()} == {5}
    assert gateway.admin("GET", "/api/v1/status").json["calls_in_flight"] == 0


def test_rule_2_what_a_plain_reply_without_usage_costs_is_counted_by_the_factor_of_its_family(start):
    price = {"provider": "mock", "price": PRICE, "max_output_tokens": 4096, "model": "mock-ok"}
    gateway = start(models={"small": {**price, "token_factor": 1.0}, "wide": {**price, "token_factor": 3.0}})
    with sdk(gateway) as client:
        for model in ("small", "wide"):
            client.chat.completions.create(**ask(scripted(usage="missing", events=40), model=model))
    small, wide = gateway.settled()
    assert wide["output_tokens"] == 3 * small["output_tokens"]
