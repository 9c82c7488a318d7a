"""What a Responses request asks for: refused by name, held by constants, or passed through as it came."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.facts import ContentFacts, FieldRefused
from gateway.core.wire.responses_request import (
    REFUSED_FIELDS,
    beside,
    messages_of,
    outgoing,
    read,
    texts,
    without_tools,
)

Body = dict[str, Any]


def body(**fields: object) -> Body:
    return {"model": "m", "input": "hi", **fields}


def tool(name: str, kind: str = "function") -> Body:
    return {"type": kind, "name": name}


def message(*parts: object, role: str = "user") -> Body:
    return {"type": "message", "role": role, "content": list(parts)}


def out(sent: Body, cap: int | None = None) -> Body:
    return outgoing(sent, read(sent), model="upstream-m", cap=cap, cap_field="max_tokens", ask_usage=True)


MCP_SPACE = {"type": "namespace", "name": "mcp__github__", "tools": [tool("open"), tool("close")]}
AGENTS_SPACE = {"type": "namespace", "name": "agents", "tools": [tool("spawn"), tool("note", "custom")]}
SEARCH = {"type": "web_search", "external_web_access": False}
REMOTE = {"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example.com"}
DATA = "data:image/png;base64," + "A" * 1000


def test_rule_7_what_has_no_authority_or_cost_passes_through() -> None:
    sent = body(
        stream=True,
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
        client_metadata={"session_id": "s"},
        metadata={"a": "b"},
        text={"verbosity": "low"},
        truncation="auto",
        background=False,
        unheard_of={"a": [1]},
    )
    assert out(sent) == {**sent, "model": "upstream-m"}


@pytest.mark.parametrize("field", sorted(REFUSED_FIELDS))
def test_rule_7_what_would_escape_governance_is_refused_by_name(field: str) -> None:
    with pytest.raises(FieldRefused, match=f"`{field}`") as refused:
        read(body(**{field: {"a": 1}}))
    assert (refused.value.field, refused.value.unsupported) == (field, True)
    assert read(body(**{field: None})).model == "m"


@pytest.mark.parametrize(
    ("fields", "field", "unsupported"),
    [
        ({"model": ""}, "model", False),
        ({"model": 5}, "model", False),
        ({"input": None}, "input", False),
        ({"input": []}, "input", False),
        ({"input": {"a": 1}}, "input", False),
        ({"input": ["hi"]}, "input", False),
        ({"stream": "yes"}, "stream", False),
        ({"background": True}, "background", True),
        ({"background": 1}, "background", False),
        ({"max_output_tokens": 0}, "max_output_tokens", False),
        ({"max_output_tokens": "9"}, "max_output_tokens", False),
        ({"max_output_tokens": True}, "max_output_tokens", False),
        ({"max_output_tokens": 2**63}, "max_output_tokens", False),
        ({"service_tier": "scale"}, "service_tier", True),
        ({"service_tier": 3}, "service_tier", True),
        ({"tools": {}}, "tools", False),
        ({"tools": ["x"]}, "tools", False),
        ({"tools": [{"name": "x"}]}, "tools", False),
        ({"tools": [{"type": "function"}]}, "tools", False),
        ({"tools": [{"type": "function", "name": ""}]}, "tools", False),
        ({"tools": [{"type": "namespace", "name": "x"}]}, "tools", False),
        ({"tools": [{"type": "namespace", "name": "x", "tools": [SEARCH]}]}, "tools", True),
        ({"tools": [{"type": "unheard_of"}]}, "tools", True),
    ],
)
def test_what_is_wrong_is_named(fields: Body, field: str, *, unsupported: bool) -> None:
    with pytest.raises(FieldRefused) as refused:
        read(body(**fields))
    assert (refused.value.field, refused.value.unsupported) == (field, unsupported)


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        (None, ()),
        ([tool("read"), tool("sh", "custom")], ("read", "sh")),
        ([MCP_SPACE], ("mcp__github__open", "mcp__github__close")),
        ([AGENTS_SPACE], ("agents__spawn", "agents__note")),
        ([{"type": "local_shell"}, {"type": "apply_patch"}], ("local_shell", "apply_patch")),
        ([{"type": "shell"}, {"type": "shell", "environment": {"type": "local"}}], ("shell", "shell")),
        ([{"type": "shell", "environment": {"type": "container_auto"}}], ("builtin:shell",)),
        ([SEARCH, {"type": "web_search_2025_08_26"}], ("builtin:web_search", "builtin:web_search")),
        ([REMOTE, {"type": "tool_search"}], ("builtin:mcp", "builtin:tool_search")),
        ([{"type": "file_search"}, {"type": "code_interpreter"}], ("builtin:file_search", "builtin:code_interpreter")),
    ],
)
def test_rule_19_tools_have_the_names_that_policy_knows(tools: Any, names: tuple[str, ...]) -> None:
    facts = read(body(tools=tools))
    assert (*facts.tools, *facts.provider_tools) == names
    assert all(name.startswith("builtin:") for name in facts.provider_tools)


@pytest.mark.parametrize(
    ("tools", "unpriced"),
    [
        ([tool("read"), REMOTE, {"type": "tool_search"}], ()),
        ([SEARCH, {"type": "file_search"}], ()),  # priced by the search
        ([{"type": "web_search_preview_2025_03_11"}], ("builtin:web_search_preview",)),
        ([tool("builtin:web_search")], ()),  # the client's own, whatever it is called
    ],
)
def test_rule_7_tools_with_a_fee_are_told_apart(tools: Any, unpriced: tuple[str, ...]) -> None:
    assert read(body(tools=tools)).unpriced == unpriced


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        ({}, False),
        ({"tools": [tool("read"), {"type": "local_shell"}]}, False),
        ({"tools": [REMOTE]}, True),
        ({"reasoning": None}, False),
        ({"reasoning": {"effort": "none"}}, False),
        ({"reasoning": {"effort": "low"}}, True),
        ({"reasoning": {"summary": "auto"}}, True),
        ({"context_management": [{"type": "compaction"}]}, True),
    ],
)
def test_rule_1_what_is_billed_unseen_takes_no_slices(fields: Body, *, hidden: bool) -> None:
    assert read(body(**fields)).hidden is hidden


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({}, ContentFacts(0, 0, 0, 0)),
        ({"input": [message({"type": "input_text", "text": "a"})]}, ContentFacts(0, 0, 0, 0)),
        ({"input": [message({"type": "input_image", "image_url": DATA})]}, ContentFacts(1, len(DATA), 0, 0)),
        ({"input": [message({"type": "input_image", "image_url": "https://x/y.png"})]}, ContentFacts(1, 0, 0, 0)),
        ({"input": [message({"type": "input_image", "file_id": "file-1"})]}, ContentFacts(1, 0, 0, 0)),
        ({"input": [message({"type": "input_file", "file_id": "file-1"})]}, ContentFacts(0, 0, 0, 1)),
        ({"input": [message({"type": "input_file", "file_data": "AAAA"})]}, ContentFacts(0, 4, 0, 1)),
        ({"input": [message({"type": "input_audio", "input_audio": {"data": "AAAA"}})]}, ContentFacts(0, 4, 1, 0)),
        ({"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}]}, ContentFacts(0, 0, 0, 2)),
        (
            {"input": [{"type": "function_call_output", "call_id": "1", "output": [{"type": "input_image"}]}]},
            ContentFacts(1, 0, 0, 0),
        ),
        (
            {
                "input": [
                    {
                        "type": "computer_call_output",
                        "call_id": "1",
                        "output": {"type": "computer_screenshot", "image_url": DATA},
                    }
                ]
            },
            ContentFacts(1, len(DATA), 0, 0),
        ),
        ({"previous_response_id": "resp_1"}, ContentFacts(0, 0, 0, 1)),
        ({"previous_response_id": "resp_1", "input": []}, ContentFacts(0, 0, 0, 1)),
        ({"conversation": "conv_1", "input": None}, ContentFacts(0, 0, 0, 1)),
        ({"conversation": {"id": "conv_1"}, "previous_response_id": "r"}, ContentFacts(0, 0, 0, 2)),
    ],
)
def test_rule_3_what_is_not_inline_is_counted_apart(fields: Body, content: ContentFacts) -> None:
    assert read(body(**fields)).content == content


def test_rule_3_binary_data_is_no_text_for_the_tokenizer() -> None:
    parts = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": DATA}]
    shot = {
        "type": "computer_call_output",
        "call_id": "c",
        "output": {"type": "computer_screenshot", "image_url": DATA},
    }
    found = "".join(texts(body(input=[message(*parts), shot])))
    assert "look" in found
    assert "AAAA" not in found


@pytest.mark.parametrize(
    ("fields", "cap", "sent"),
    [
        ({}, None, None),
        ({}, 500, 500),
        ({"max_output_tokens": 90}, None, 90),
        ({"max_output_tokens": 900}, 500, 500),
    ],
)
def test_rule_4_the_cap_goes_out_in_the_one_field_of_this_format(
    fields: Body, cap: int | None, sent: int | None
) -> None:
    found = out(body(**fields), cap)
    assert found.get("max_output_tokens") == sent
    assert "max_tokens" not in found


@pytest.mark.parametrize(
    ("sent", "denied", "tools", "choice"),
    [
        (body(tools=[tool("a"), tool("b")]), {"a"}, [tool("b")], None),
        (body(tools=[tool("a")], tool_choice="required"), {"a"}, None, None),
        (body(tools=[tool("a"), tool("b")], tool_choice=tool("a")), {"a"}, [tool("b")], None),
        (body(tools=[tool("a"), tool("b")], tool_choice=tool("b")), {"a"}, [tool("b")], tool("b")),
        (body(tools=[tool("a"), SEARCH]), {"builtin:web_search"}, [tool("a")], None),
        (
            body(tools=[tool("a"), SEARCH], tool_choice={"type": "web_search"}),
            {"builtin:web_search"},
            [tool("a")],
            None,
        ),
        (body(tools=[MCP_SPACE]), {"mcp__github__open"}, [{**MCP_SPACE, "tools": [tool("close")]}], None),
        (body(tools=[tool("a"), MCP_SPACE]), {"mcp__github__open", "mcp__github__close"}, [tool("a")], None),
        (
            body(
                tools=[tool("a"), tool("b")],
                tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [tool("a"), tool("b")]},
            ),
            {"a"},
            [tool("b")],
            {"type": "allowed_tools", "mode": "auto", "tools": [tool("b")]},
        ),
    ],
)
def test_denied_tools_are_stripped_with_the_choice_that_forces_them(
    sent: Body, denied: set[str], tools: Any, choice: Any
) -> None:
    before = deepcopy(sent)
    kept = without_tools(sent, frozenset(denied))
    assert (kept.get("tools"), kept.get("tool_choice")) == (tools, choice)
    assert sent == before


def test_rule_2_the_prompt_is_the_items_and_what_stands_beside_them() -> None:
    assert messages_of(body()) == [{"type": "message", "role": "user", "content": "hi"}]
    items = [message({"type": "input_text", "text": "a"})]
    assert messages_of(body(input=items)) is items
    assert messages_of({"model": "m", "previous_response_id": "r"}) == []
    sent = body(instructions="be good", tools=[tool("a")], temperature=1, stream=True, metadata={"x": "y"})
    assert beside(sent) == {"instructions": "be good", "tools": [tool("a")]}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "name", "text"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["model", "input", "tools", "stream", "reasoning", "tool_choice"]), _JSON))
def test_no_body_makes_it_fail_in_any_other_way(sent: Body) -> None:
    with suppress(FieldRefused):
        facts = read(sent)
        without_tools(sent, frozenset((*facts.tools, *facts.provider_tools)))
        texts(sent)
        outgoing(sent, facts, model="m", cap=5, cap_field="x", ask_usage=False)
