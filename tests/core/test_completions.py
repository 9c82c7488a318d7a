"""The old completions format: one prompt or many, no conversation, no tools; usage as on chat."""

from typing import Any

import pytest

from gateway.core.usage import Usage
from gateway.core.wire.completions import (
    CAP_ASSUMED,
    PROMPTS_MAX,
    CompletionMeter,
    answered,
    beginning,
    beside,
    exchanges,
    messages_of,
    outgoing,
    read,
    reply_text,
    texts,
    without_tools,
)
from gateway.core.wire.facts import FieldRefused

Body = dict[str, Any]


def body(**fields: object) -> Body:
    return {"model": "m", "prompt": "once upon", **fields}


def out(sent: Body, cap: int | None = None, *, ask_usage: bool = True) -> Body:
    return outgoing(
        sent, read(sent), model="upstream-m", cap=cap, cap_field="max_completion_tokens", ask_usage=ask_usage
    )


def chunk(text: str = "", index: int = 0, finish: str | None = None, **more: object) -> Body:
    return {"choices": [{"index": index, "text": text, "finish_reason": finish}], **more}


@pytest.mark.parametrize(
    ("fields", "field", "unsupported"),
    [
        ({"model": ""}, "model", False),
        ({"prompt": None}, "prompt", False),
        ({"prompt": []}, "prompt", False),
        ({"prompt": ["a", 1]}, "prompt", False),
        ({"prompt": [[1], "a"]}, "prompt", False),
        ({"prompt": [[]]}, "prompt", False),
        ({"prompt": ["a"] * (PROMPTS_MAX + 1)}, "prompt", False),
        ({"prompt": ["a"] * 100, "n": 2}, "prompt", False),
        ({"n": 0}, "n", False),
        ({"max_tokens": True}, "max_tokens", False),
        ({"stream": 1}, "stream", False),
        ({"stream": True, "stream_options": 5}, "stream_options", False),
        ({"service_tier": "scale"}, "service_tier", True),
        ({"echo": True}, "echo", True),
        ({"best_of": 3}, "best_of", True),
        ({"api_base": "https://x"}, "api_base", True),
    ],
)
def test_what_is_wrong_or_would_escape_governance_is_named(fields: Body, field: str, *, unsupported: bool) -> None:
    with pytest.raises(FieldRefused) as refused:
        read(body(**fields))
    assert (refused.value.field, refused.value.unsupported) == (field, unsupported)


@pytest.mark.parametrize(
    ("fields", "choices", "prompts"),
    [
        ({}, 1, ["once upon"]),
        ({"n": 3}, 3, ["once upon"]),
        ({"prompt": ["a", "b"], "n": 2}, 4, ["a", "b"]),
        ({"prompt": [1, 2]}, 1, [[1, 2]]),
        ({"prompt": [[1], [2, 3]]}, 2, [[1], [2, 3]]),
    ],
)
def test_every_prompt_has_its_own_answers(fields: Body, choices: int, prompts: list[Any]) -> None:
    assert read(body(**fields)).choices == choices
    assert messages_of(body(**fields)) == prompts


def test_rule_4_the_cap_is_always_sent_in_this_formats_field() -> None:
    assert read(body()).client_max_tokens == CAP_ASSUMED
    assert out(body())["max_tokens"] == CAP_ASSUMED
    assert out(body(max_tokens=90))["max_tokens"] == 90
    assert out(body(max_tokens=90), 50) == {**body(), "model": "upstream-m", "max_tokens": 50}


def test_a_stream_is_asked_for_its_usage() -> None:
    assert out(body(stream=True))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in out(body(stream=True), ask_usage=False)
    assert read(body(stream=True, stream_options={"include_usage": True})).include_usage


def test_rule_2_tokens_given_ready_are_counted_by_their_digits() -> None:
    assert texts(body(suffix=" the end")) == ["once upon", " the end"]
    assert texts(body(prompt=[[1, 22], [3]])) == ["[1, 22]", "[3]"]
    assert beside(body(suffix="x", temperature=1)) == {"suffix": "x"}


def test_a_stream_is_metered_and_finished_by_every_choice() -> None:
    meter = CompletionMeter()
    assert meter.feed(chunk("once ")) is False
    meter.feed(chunk("upon", 1, "stop"))
    assert (meter.events, meter.uncounted(), meter.finished) == (2, "once upon", False)
    meter.feed(chunk("", 0, "length", service_tier="flex"))
    assert (meter.finished, meter.served_tier, list(meter.tool_calls())) == (True, "flex", [])
    assert meter.feed({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}) is True
    assert meter.reported == Usage(3, 0, 0, 2, 0)


def test_a_whole_reply_and_what_there_is_none_of() -> None:
    assert reply_text({"choices": [{"text": "a"}, None, {"text": 5}, {"text": "b"}]}) == "ab"
    assert (exchanges(["x"], 0), answered(["x"]), beginning(["x"]), beginning([[1]])) == ([], False, "x", "")
    assert without_tools(body(), frozenset({"a"})) == body()
