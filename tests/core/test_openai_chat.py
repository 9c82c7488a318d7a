"""What a chat request asks for: refused by name, held by constants, or passed through as it came."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.facts import ContentFacts, FieldRefused
from gateway.core.wire.openai_chat import (
    REFUSED_FIELDS,
    message_calls,
    outgoing,
    read_chat,
    without_tools,
)
from gateway.core.wire.openai_embeddings import INPUTS_MAX, read_embeddings
from gateway.core.wire.task import TaskFacts

Body = dict[str, Any]


def body(**fields: object) -> Body:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


def function(name: str) -> Body:
    return {"type": "function", "function": {"name": name, "parameters": {}}}


SHELL = {"type": "custom", "custom": {"name": "shell"}}


def test_rule_7_what_has_no_authority_or_cost_passes_through() -> None:
    sent = body(temperature=0.3, unheard_of={"a": [1]}, user="u", stream=True, stream_options={"x": 1})
    facts = read_chat(sent)
    out = outgoing(sent, facts, model="upstream-m", cap=None, cap_field="max_tokens", ask_usage=False)
    assert out == {**sent, "model": "upstream-m"}


@pytest.mark.parametrize("field", sorted(REFUSED_FIELDS))
def test_rule_7_what_would_escape_governance_is_refused_by_name(field: str) -> None:
    with pytest.raises(FieldRefused, match=f"`{field}`") as refused:
        read_chat(body(**{field: {"a": 1}}))
    assert (refused.value.field, refused.value.unsupported) == (field, True)
    assert read_chat(body(**{field: None})).model == "m"
    with pytest.raises(FieldRefused, match=f"`{field}`"):
        read_embeddings({"model": "m", "input": "x", field: 1})


@pytest.mark.parametrize(
    ("fields", "field", "unsupported"),
    [
        ({"model": ""}, "model", False),
        ({"model": 5}, "model", False),
        ({"messages": []}, "messages", False),
        ({"messages": "hi"}, "messages", False),
        ({"messages": ["hi"]}, "messages", False),
        ({"stream": "yes"}, "stream", False),
        ({"stream": True, "stream_options": 1}, "stream_options", False),
        ({"n": 0}, "n", False),
        ({"n": True}, "n", False),
        ({"n": 1.0}, "n", False),
        ({"n": 129}, "n", False),
        ({"max_tokens": 0}, "max_tokens", False),
        ({"max_tokens": "9"}, "max_tokens", False),
        ({"max_tokens": 2**63}, "max_tokens", False),
        ({"max_completion_tokens": -1}, "max_completion_tokens", False),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", False),
        ({"modalities": ["text", "audio"]}, "modalities", True),
        ({"service_tier": "fast"}, "service_tier", True),
        ({"service_tier": ["default"]}, "service_tier", True),
        ({"service_tier": {"a": 1}}, "service_tier", True),
        ({"tools": {}}, "tools", False),
        ({"tools": [1]}, "tools", False),
        ({"tools": [{"type": "function"}]}, "tools", False),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools", False),
        ({"tools": [{"type": "web_search"}]}, "tools", True),
        ({"tools": [{"type": ["function"]}]}, "tools", True),
        ({"functions": [{"type": "function"}]}, "functions", False),
    ],
)
def test_rule_7_a_wrong_field_is_named(fields: Body, field: str, *, unsupported: bool) -> None:
    with pytest.raises(FieldRefused) as refused:
        read_chat(body(**fields))
    assert (refused.value.field, refused.value.unsupported) == (field, unsupported)


def test_facts() -> None:
    facts = read_chat(
        body(
            stream=True,
            n=2,
            max_tokens=7,
            tools=[function("read"), SHELL],
            functions=[{"name": "old"}],
            service_tier="flex",
        )
    )
    assert (facts.stream, facts.choices, facts.client_max_tokens) == (True, 2, 7)
    assert (facts.tools, facts.service_tier, facts.include_usage) == (("read", "shell", "old"), "flex", False)
    assert read_chat(body(stream=True, stream_options={"include_usage": True})).include_usage
    assert not read_chat(body(stream_options={"include_usage": True})).include_usage
    assert read_chat(body(max_tokens=7, max_completion_tokens=7)).client_max_tokens == 7


def image(url: object) -> Body:
    return {"type": "image_url", "image_url": {"url": url}}


DATA = "data:image/png;base64," + "A" * 100


@pytest.mark.parametrize(
    ("parts", "facts"),
    [
        ([{"type": "text", "text": DATA}], (0, 0, 0, 0)),
        ([image("https://example.com/a.png")], (1, 0, 0, 0)),
        ([image(DATA), image(DATA)], (2, 2 * len(DATA), 0, 0)),
        ([{"type": "image_url", "image_url": DATA}], (1, len(DATA), 0, 0)),
        ([image(5), {"type": "image_url"}], (2, 0, 0, 0)),
        ([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}], (0, 4, 1, 0)),
        ([{"type": "file", "file": {"file_data": DATA}}], (0, len(DATA), 0, 1)),
        ([{"type": "file", "file": {"file_id": "file-1"}}], (0, 0, 0, 1)),
        ([{"type": "video_url", "video_url": {"url": "https://example.com/v.mp4"}}], (0, 0, 0, 1)),
        ([{"type": "input_file", "file_url": "https://example.com/f.pdf"}], (0, 0, 0, 1)),
        (["text", None, {}], (0, 0, 0, 0)),
    ],
)
def test_rule_3_what_is_not_inline_is_told_apart(parts: list[Any], facts: tuple[int, int, int, int]) -> None:
    found = read_chat(body(messages=[{"role": "user", "content": parts}])).content
    assert found == ContentFacts(*facts)


@pytest.mark.parametrize("cap_field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("fields", "cap", "sent"),
    [
        ({}, None, None),
        ({}, 100, 100),
        ({"max_tokens": None}, None, None),
        ({"max_tokens": 50}, None, 50),
        ({"max_completion_tokens": 50}, None, 50),
        ({"max_tokens": 50, "max_completion_tokens": 50}, None, 50),
        ({"max_tokens": 50}, 20, 20),
        ({"max_completion_tokens": 50}, 20, 20),
    ],
)
def test_rule_4_the_cap_goes_out_in_the_field_that_the_upstream_obeys(
    cap_field: str, fields: Body, cap: int | None, sent: int | None
) -> None:
    """A server that does not know the client's field would ignore it and answer past the hold."""
    given = body(**fields)
    before = deepcopy(given)
    out = outgoing(given, read_chat(given), model="m", cap=cap, cap_field=cap_field, ask_usage=True)
    assert given == before
    assert {name: out[name] for name in ("max_tokens", "max_completion_tokens") if name in out} == (
        {} if sent is None else {cap_field: sent}
    )
    assert "stream_options" not in out


@pytest.mark.parametrize(
    ("options", "ask_usage", "sent"),
    [
        (None, True, {"include_usage": True}),
        ({"include_usage": False, "x": 1}, True, {"include_usage": True, "x": 1}),
        ({"include_usage": True}, True, {"include_usage": True}),
        ({"x": 1}, False, {"x": 1}),
    ],
)
def test_a_stream_is_asked_for_its_usage(options: Body | None, *, ask_usage: bool, sent: Body) -> None:
    given = body(stream=True, stream_options=options)
    out = outgoing(given, read_chat(given), model="m", cap=None, cap_field="max_tokens", ask_usage=ask_usage)
    assert out["stream_options"] == sent


@pytest.mark.parametrize(
    ("fields", "denied", "left"),
    [
        ({"tools": [function("a"), function("b")]}, {"a"}, {"tools": [function("b")]}),
        ({"tools": [function("a")], "tool_choice": "auto"}, {"a"}, {}),
        (
            {"tools": [function("a"), SHELL], "tool_choice": function("a")},
            {"a"},
            {"tools": [SHELL]},
        ),
        (
            {"tools": [function("a"), SHELL], "tool_choice": {"type": "custom", "custom": {"name": "shell"}}},
            {"a"},
            {"tools": [SHELL], "tool_choice": {"type": "custom", "custom": {"name": "shell"}}},
        ),
        (
            {"functions": [{"name": "a"}, {"name": "b"}], "function_call": {"name": "a"}, "tools": [function("c")]},
            {"a"},
            {"functions": [{"name": "b"}], "tools": [function("c")]},
        ),
        (
            {"tools": [function("a")], "tool_choice": "required"},
            {"b"},
            {"tools": [function("a")], "tool_choice": "required"},
        ),
    ],
)
def test_denied_tools_are_stripped_with_what_forces_them(fields: Body, denied: set[str], left: Body) -> None:
    assert without_tools(body(**fields), frozenset(denied)) == body(**left)


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "read", "arguments": '{"a":1}'}}]},
            [("read", '{"a":1}')],
        ),
        ({"role": "assistant", "tool_calls": [{"custom": {"name": "sh", "input": "ls"}}]}, [("sh", "ls")]),
        ({"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}}, [("old", "{}")]),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "read", "arguments": {"a": 1}}}]},
            [("read", '{"a": 1}')],
        ),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "read"}}]}, [("read", "{}")]),
        ({"role": "assistant", "tool_calls": 5}, []),
        ({"role": "assistant", "tool_calls": [None, 5, {}, {"function": 5}, {"function": {"name": 5}}]}, []),
        ({"role": "assistant", "function_call": "auto"}, []),
    ],
)
def test_rule_24_tool_calls_of_a_message(message: Body, calls: list[tuple[str, str]]) -> None:
    assert list(message_calls(message)) == calls


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
known_fields = st.sampled_from(
    [
        "model",
        "messages",
        "stream",
        "n",
        "max_tokens",
        "tools",
        "functions",
        "service_tier",
        "stream_options",
        "modalities",
    ]
)


@given(st.dictionaries(known_fields, json_values))
def test_no_body_is_an_error_of_ours(fields: Body) -> None:
    for read in (read_chat, read_embeddings):
        with suppress(FieldRefused):
            read({**body(), "input": "x", **fields})


@given(json_values)
def test_no_message_content_is_an_error_of_ours(value: object) -> None:
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                value,
                {"type": value},
                {"type": "image_url", "image_url": value},
                {"type": "file", "file": value},
            ],
        },
        {"role": "assistant", "tool_calls": value, "function_call": value},
    ]
    read_chat(body(messages=messages))
    list(message_calls(messages[1]))


@pytest.mark.parametrize(
    ("given_input", "facts"),
    [
        ("hello", TaskFacts("m", ("hello",), 0, 1)),
        (["a", "b"], TaskFacts("m", ("a", "b"), 0, 2)),
        ([1, 2, 3], TaskFacts("m", (), 3, 1)),
        ([[1, 2], [3]], TaskFacts("m", (), 3, 2)),
    ],
)
def test_inputs_of_embeddings(given_input: object, facts: TaskFacts) -> None:
    assert read_embeddings({"model": "m", "input": given_input}) == facts


@pytest.mark.parametrize("given_input", [None, [], 5, ["a", 1], [[1], "a"], [[]], [True], ["a"] * (INPUTS_MAX + 1)])
def test_inputs_that_embeddings_do_not_have(given_input: object) -> None:
    with pytest.raises(FieldRefused) as refused:
        read_embeddings({"model": "m", "input": given_input})
    assert refused.value.field == "input"
