"""Searches that a provider runs: their bound in a request, their number in an answer, their price."""

from typing import Any

import pytest

from gateway.core.media import Media, MediaRates
from gateway.core.pricing import cost, flat_rates
from gateway.core.usage import Usage
from gateway.core.wire.facts import FieldRefused, RequestFacts, Searches
from gateway.core.wire.formats import FORMATS
from gateway.core.wire.searches import SEARCHES_ASSUMED, allowed

MESSAGES = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
RESPONSES = {"model": "m", "input": "x"}
GEMINI = {"model": "m", "contents": [{"role": "user", "parts": [{"text": "x"}]}]}
WEB = {"type": "web_search_20250305", "name": "web_search"}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 3}
NONE: frozenset[str] = frozenset()


def read(name: str, body: dict[str, Any]) -> RequestFacts:
    return FORMATS[name].requests.read(body)


def sent(name: str, body: dict[str, Any]) -> Any:
    facts = read(name, body)
    return FORMATS[name].requests.outgoing(body, facts, model="up", cap=None, cap_field="max_tokens", ask_usage=False)


@pytest.mark.parametrize(
    ("name", "body", "most"),
    [
        ("anthropic_messages", {**MESSAGES, "tools": [WEB]}, Searches(web=SEARCHES_ASSUMED, read=SEARCHES_ASSUMED)),
        (
            "anthropic_messages",
            {**MESSAGES, "tools": [{**WEB, "max_uses": 8}, FETCH]},
            Searches(web=8, fetches=3, read=11),
        ),
        ("anthropic_messages", {**MESSAGES, "tools": [{"name": "web_search"}]}, Searches()),
        ("openai_responses", {**RESPONSES, "tools": [{"type": "web_search"}]}, Searches(web=10, read=10)),
        (
            "openai_responses",
            {**RESPONSES, "max_tool_calls": 2, "tools": [{"type": "web_search"}, {"type": "file_search"}]},
            Searches(web=2, files=2, read=4),
        ),
        ("openai_responses", {**RESPONSES, "tools": [{"type": "function", "name": "web_search"}]}, Searches()),
        ("gemini", {**GEMINI, "tools": [{"googleSearch": {}}]}, Searches(web=SEARCHES_ASSUMED)),
        ("gemini", {**GEMINI, "tools": [{"google_search_retrieval": {}}]}, Searches(web=SEARCHES_ASSUMED)),
        ("gemini", {**GEMINI, "tools": [{"urlContext": {}}]}, Searches()),
    ],
)
def test_a_request_allows_so_many(name: str, body: dict[str, Any], most: Searches) -> None:
    assert allowed(read(name, body).searches, NONE) == most


def test_what_policy_strips_is_not_held() -> None:
    facts = read("anthropic_messages", {**MESSAGES, "tools": [WEB, FETCH]})
    assert facts.provider_tools == ("builtin:web_search", "builtin:web_fetch")
    assert (facts.tools, facts.hidden) == ((), True)
    assert allowed(facts.searches, frozenset({"builtin:web_search"})) == Searches(fetches=3, read=3)
    assert allowed(facts.searches, frozenset(facts.provider_tools)) == Searches()


def test_a_tool_that_is_stripped_takes_the_choice_of_it_along() -> None:
    body = {**MESSAGES, "tools": [WEB, {"name": "a"}], "tool_choice": {"type": "tool", "name": "web_search"}}
    kept = FORMATS["anthropic_messages"].requests.without_tools(body, frozenset({"builtin:web_search"}))
    assert (kept["tools"], "tool_choice" in kept) == ([{"name": "a"}], False)


def test_a_request_without_a_maximum_is_sent_with_one() -> None:
    assert sent("anthropic_messages", {**MESSAGES, "tools": [WEB, FETCH, {"name": "a"}]})["tools"] == [
        {**WEB, "max_uses": SEARCHES_ASSUMED},
        FETCH,
        {"name": "a"},
    ]
    assert sent("openai_responses", {**RESPONSES, "tools": [{"type": "web_search"}]})["max_tool_calls"] == 10
    asked = {**RESPONSES, "max_tool_calls": 40, "tools": [{"type": "web_search"}]}
    assert sent("openai_responses", asked)["max_tool_calls"] == 40
    assert "max_tool_calls" not in sent("openai_responses", {**RESPONSES, "tools": [{"type": "mcp"}]})


@pytest.mark.parametrize("most", [0, -1, True, "3", 1.5])
def test_a_maximum_that_is_none_is_refused_by_name(most: object) -> None:
    with pytest.raises(FieldRefused) as caught:
        read("anthropic_messages", {**MESSAGES, "tools": [{**WEB, "max_uses": most}]})
    assert caught.value.field == "tools.max_uses"
    with pytest.raises(FieldRefused) as caught:
        read("openai_responses", {**RESPONSES, "max_tool_calls": most, "tools": [{"type": "web_search"}]})
    assert caught.value.field == "max_tool_calls"


def _used(n: object) -> dict[str, Any]:
    return {"input_tokens": 5, "output_tokens": 2, "server_tool_use": {"web_search_requests": n}}


BEGUN = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
SEARCHED = [
    {"type": "web_search_call", "action": {"type": "search", "query": "x"}},
    {"type": "web_search_call", "action": {"type": "open_page", "url": "y"}},
    {"type": "web_search_call"},
    {"type": "file_search_call", "queries": ["x"]},
    {"type": "message", "content": []},
]


def _grounded(*queries: str, **more: Any) -> dict[str, Any]:
    return {"index": 0, "groundingMetadata": {"webSearchQueries": list(queries), **more}}


@pytest.mark.parametrize(
    ("name", "reply", "used"),
    [
        ("anthropic_messages", {"usage": _used(3), "content": [BEGUN]}, Media(web_searches=3)),
        ("anthropic_messages", {"usage": _used(0), "content": [BEGUN]}, Media()),  # a failed one is not billed
        ("anthropic_messages", {"usage": {"input_tokens": 5, "server_tool_use": None}}, Media()),
        ("anthropic_messages", {"usage": _used(-3), "content": [BEGUN, BEGUN]}, Media(web_searches=2)),
        ("anthropic_messages", {"content": [BEGUN]}, Media(web_searches=1)),
        ("openai_responses", {"output": SEARCHED}, Media(web_searches=2, file_searches=1)),
        ("openai_responses", {"output": []}, Media()),
        ("gemini", {"candidates": [_grounded("a", "b")]}, Media(web_searches=2)),
        ("gemini", {"candidates": [_grounded(groundingChunks=[{"web": {}}])]}, Media(web_searches=1)),
        ("gemini", {"candidates": [{"groundingMetadata": {}}]}, Media()),
    ],
)
def test_a_whole_reply_tells_so_many(name: str, reply: dict[str, Any], used: Media) -> None:
    assert FORMATS[name].replies.used(reply) == used


def _fed(name: str, *chunks: dict[str, Any]) -> Media:
    meter = FORMATS[name].meter()
    for chunk in chunks:
        meter.feed(chunk)
    return meter.used


def test_a_stream_tells_as_many_as_a_whole_reply_and_a_cut_one_those_that_were_begun() -> None:
    begun = {"type": "content_block_start", "index": 0, "content_block": BEGUN}
    start = {"type": "message_start", "message": {"usage": _used(0)}}
    assert _fed("anthropic_messages", start, begun, begun) == Media(web_searches=2)
    assert _fed("anthropic_messages", start, begun, begun, {"type": "message_delta", "usage": _used(1)}) == Media(
        web_searches=1
    )
    done = [
        {"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(SEARCHED[:2])
    ]
    assert _fed("openai_responses", *done) == Media(web_searches=1)
    completed = {"type": "response.completed", "response": {"output": SEARCHED, "usage": None}}
    assert _fed("openai_responses", *done, completed) == Media(web_searches=2, file_searches=1)
    told = [{"candidates": [_grounded("a")]}, {"candidates": [_grounded("a", "b")]}, {"candidates": [{"index": 0}]}]
    assert _fed("gemini", *told) == Media(web_searches=2)


def test_searches_are_a_line_of_their_own() -> None:
    rates = flat_rates(
        1_000_000, 1_000_000, media=MediaRates(web_search_usd_micros=10_000, file_search_usd_micros=2_500)
    )
    usage = Usage(100, 0, 0, 10, 0)
    charged = cost(usage, rates, media=Media(web_searches=3, file_searches=2))
    assert [(line.meter, line.quantity, line.cost_usd_micros) for line in charged.lines] == [
        ("input", 100, 100),
        ("output", 10, 10),
        ("web_searches", 3, 30_000),
        ("file_searches", 2, 5_000),
    ]
    by_prompt = flat_rates(0, 0, media=MediaRates(web_search_usd_micros=35_000, web_search_once=True))
    assert cost(usage, by_prompt, media=Media(web_searches=3)).total_usd_micros == 35_000
    assert cost(usage, by_prompt, media=Media()).total_usd_micros == 0


@pytest.mark.parametrize(
    ("used", "lacking"),
    [
        (Media(), ""),
        (Media(web_searches=1), "web_search_usd"),
        (Media(file_searches=1), "file_search_usd"),
    ],
)
def test_a_price_that_is_lacking_is_named(used: Media, lacking: str) -> None:
    assert MediaRates().lacks(used) == lacking
    assert not MediaRates(web_search_usd_micros=0, file_search_usd_micros=0).lacks(used)
