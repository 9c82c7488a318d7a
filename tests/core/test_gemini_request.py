"""What a Gemini request asks for, under either spelling of its fields, and what is sent on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, ContentFacts, FieldRefused, RequestFacts, Searches
from gateway.core.wire.gemini_prompt import beside, messages_of, texts
from gateway.core.wire.gemini_request import outgoing, read_generate, without_tools

Body = dict[str, Any]
HELLO: Body = {"role": "user", "parts": [{"text": "hello"}]}


def body(**fields: object) -> Body:
    return {"model": "flash", "stream": False, "contents": [HELLO], **fields}


def config(**fields: object) -> Body:
    return body(generationConfig=fields)


def functions(*names: str) -> Body:
    return {"functionDeclarations": [{"name": name, "parameters": {}} for name in names]}


def sent(asked: Body, cap: int | None = None) -> dict[str, Any]:
    facts = read_generate(asked)
    return outgoing(asked, facts, model="gemini-x", cap=cap, cap_field="maxOutputTokens", ask_usage=True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (body(), {"model": "flash", "stream": False, "choices": 1, "client_max_tokens": None, "max_field": None}),
        (body(stream=True), {"stream": True, "include_usage": False}),
        (body(contents=HELLO), {"model": "flash"}),  # a list of one without its brackets
        (body(contents=[{"parts": {"text": "x"}}]), {"content": NO_CONTENT_BUT_TEXT}),
        (config(maxOutputTokens=100), {"client_max_tokens": 100, "max_field": "maxOutputTokens"}),
        (config(max_output_tokens=100), {"client_max_tokens": 100}),
        (body(generation_config={"max_output_tokens": 7}), {"client_max_tokens": 7}),
        (body(generation_config={"candidate_count": 2}), {"choices": 2}),
        (config(thinkingConfig={"thinkingBudget": 512}), {"thinking_tokens": 512, "hidden": True}),
        (config(thinking_config={"thinking_budget": 512}), {"thinking_tokens": 512, "hidden": True}),
        (config(thinkingConfig={"thinkingBudget": 0}), {"thinking_tokens": 0, "hidden": False}),
        (config(thinkingConfig={"thinkingBudget": -1}), {"thinking_tokens": 0, "hidden": True}),
        (config(thinkingConfig={"thinkingLevel": "HIGH"}), {"thinking_tokens": 0, "hidden": True}),
        (config(responseModalities=["TEXT"]), {"service_tier": "default"}),
        (body(serviceTier="standard"), {"service_tier": "default"}),
        (body(tools=[functions("a", "b"), functions("c")]), {"tools": ("a", "b", "c"), "hidden": False}),
        (body(tools=functions("a")), {"tools": ("a",)}),
        (body(tools=[{"function_declarations": [{"name": "a"}]}]), {"tools": ("a",)}),
        # Run by the provider: named for the policy, held as a file, never sliced (rules 1 and 3).
        (
            body(tools=[{"codeExecution": {}}, {"url_context": {}}]),
            {
                "tools": (),
                "provider_tools": ("builtin:code_execution", "builtin:url_context"),
                "unpriced": (),
                "hidden": True,
                "content": ContentFacts(0, 0, 0, 2),
            },
        ),
        # Policy may strip what has a fee that no price covers; else the call is refused.
        (
            body(tools=[functions("a"), {"googleSearch": {}}]),
            {
                "tools": ("a",),
                "provider_tools": ("builtin:google_search",),
                "unpriced": (),
                "searches": (("builtin:google_search", Searches(web=10)),),
            },
        ),
        (
            body(tools={"google_maps": {}}),
            {"tools": (), "provider_tools": ("builtin:google_maps",), "unpriced": ("builtin:google_maps",)},
        ),
        (
            body(tools=[{"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}]),
            {"tools": ("builtin:computer_use",), "hidden": False, "content": NO_CONTENT_BUT_TEXT},
        ),
        (body(cachedContent="cachedContents/x"), {"content": ContentFacts(0, 0, 0, 1)}),
        (body(cached_content="cachedContents/x"), {"content": ContentFacts(0, 0, 0, 1)}),
    ],
)
def test_what_a_request_asks_for(asked: Body, told: dict[str, object]) -> None:
    facts = read_generate(asked)
    assert {name: getattr(facts, name) for name in told} == told


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([{"inlineData": {"mimeType": "image/png", "data": "aaaa"}}], ContentFacts(1, 4, 0, 0)),
        ([{"inline_data": {"mime_type": "image/png", "data": "aaaa"}}], ContentFacts(1, 4, 0, 0)),
        ([{"inlineData": {"mimeType": "audio/wav", "data": "aaaa"}}], ContentFacts(0, 4, 1, 0)),
        ([{"inlineData": {"mimeType": "video/mp4", "data": "aaaa"}}], ContentFacts(0, 4, 0, 1)),
        ([{"inlineData": {"mimeType": "application/pdf", "data": "aa"}}], ContentFacts(0, 2, 0, 1)),
        ([{"fileData": {"fileUri": "https://files/1"}}, {"file_data": {"file_uri": "u"}}], ContentFacts(0, 0, 0, 2)),
        (
            [{"functionResponse": {"name": "f", "parts": [{"inlineData": {"mimeType": "image/png", "data": "a"}}]}}],
            ContentFacts(1, 1, 0, 0),
        ),
        ([{"text": "x"}, {"functionCall": {"name": "f", "args": {}}}], NO_CONTENT_BUT_TEXT),
    ],
)
def test_rule_3_what_is_not_inline_text(parts: list[Body], content: ContentFacts) -> None:
    assert read_generate(body(contents=[{"role": "user", "parts": parts}])).content == content
    assert read_generate(body(systemInstruction={"parts": parts})).content == content


@pytest.mark.parametrize(
    ("asked", "field", "unsupported"),
    [
        ({"model": "", "contents": [HELLO]}, "model", False),
        ({"model": "flash"}, "contents", False),
        (body(contents="hello"), "contents", False),
        (body(contents=["hello"]), "contents", False),
        (body(contents=[{"parts": "hello"}]), "parts", False),
        (body(contents=[{"parts": [{"functionCall": "f"}]}]), "functionCall", False),
        (body(contents=[{"parts": [{"functionCall": {"args": [1]}}]}]), "args", False),
        (body(contents=[{"parts": [{"functionResponse": {"response": "r"}}]}]), "response", False),
        (config(maxOutputTokens=0), "maxOutputTokens", False),
        (config(max_output_tokens="100"), "maxOutputTokens", False),
        (config(maxOutputTokens=True), "maxOutputTokens", False),
        # Both spellings of one field: whichever the provider took, we would have looked at the other.
        (config(maxOutputTokens=5, max_output_tokens=50_000), "maxOutputTokens", False),
        (body(generationConfig={}, generation_config={"maxOutputTokens": 9}), "generationConfig", False),
        (config(candidateCount=9), "candidateCount", False),
        (config(thinkingConfig={"thinkingBudget": "many"}), "thinkingBudget", False),
        (config(responseModalities=["TEXT", "IMAGE"]), "responseModalities", True),
        (config(response_modalities=["AUDIO"]), "responseModalities", True),
        (config(speechConfig={"voice": "x"}), "speechConfig", True),
        (config(routingConfig={"autoMode": {}}), "routingConfig", True),
        (body(service_tier="priority"), "serviceTier", True),
        (body(tools=[{"fileSearch": {}}]), "tools", True),
        (body(tools=[{"file_search": {}}]), "tools", True),
        (body(tools=[{"mcpServers": [{"name": "x"}]}]), "tools", True),
        (body(tools=[{"somethingNew": {}}]), "tools", True),
        (body(tools=[{"functionDeclarations": [{"description": "no name"}]}]), "tools", False),
        (body(tools="all"), "tools", False),
    ],
)
def test_rule_7_what_is_refused_is_named(asked: Body, field: str, *, unsupported: bool) -> None:
    with pytest.raises(FieldRefused) as refused:
        read_generate(asked)
    assert (refused.value.field, refused.value.unsupported) == (field, unsupported)


def test_the_rest_passes_as_it_came() -> None:
    asked = body(safetySettings=[{"category": "X"}], generationConfig={"temperature": 0.5}, unknown={"kept": 1})
    assert sent(asked) == {name: value for name, value in asked.items() if name not in ("model", "stream")}


@given(
    st.sampled_from(["generationConfig", "generation_config"]),
    st.sampled_from(["maxOutputTokens", "max_output_tokens"]),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_no_spelling_of_the_cap_slips_past_ours(section: str, field: str, client_max: int, cap: int) -> None:
    asked = body(**{section: {field: client_max, "temperature": 1}})
    kept = sent(asked)
    assert kept[section] == {field: client_max, "temperature": 1}
    capped = sent(asked, cap)
    assert "generation_config" not in capped
    assert capped["generationConfig"] == {"temperature": 1, "maxOutputTokens": cap}


@pytest.mark.parametrize(
    ("tools", "choice", "denied", "left", "chosen"),
    [
        ([functions("a", "b")], None, {"b"}, [functions("a")], None),
        ([functions("a")], {"mode": "ANY"}, {"a"}, None, None),
        ([functions("a"), {"codeExecution": {}}], None, {"builtin:code_execution"}, [functions("a")], None),
        ([functions("a"), {"code_execution": {}}], None, {"a"}, [{"code_execution": {}}], None),
        (
            [functions("a", "b")],
            {"mode": "ANY", "allowedFunctionNames": ["a", "b"]},
            {"b"},
            [functions("a")],
            {"mode": "ANY", "allowedFunctionNames": ["a"]},
        ),
        ([functions("a", "b")], {"mode": "ANY", "allowed_function_names": ["b"]}, {"b"}, [functions("a")], None),
        ([functions("a", "b")], {"mode": "NONE"}, {"b"}, [functions("a")], {"mode": "NONE"}),
    ],
)
def test_denied_tools_are_stripped(
    tools: list[Body], choice: Body | None, denied: set[str], left: list[Body] | None, chosen: Body | None
) -> None:
    asked = body(tools=tools) | ({} if choice is None else {"toolConfig": {"functionCallingConfig": choice}})
    stripped = without_tools(asked, frozenset(denied))
    assert stripped.get("tools") == left
    assert stripped.get("toolConfig", {}).get("functionCallingConfig") == chosen
    facts = read_generate(stripped)
    assert not denied & {*facts.tools, *facts.provider_tools}


def test_what_is_prompt_and_what_is_counted() -> None:
    asked = body(
        systemInstruction={"parts": [{"text": "be brief"}]},
        tools=[functions("look")],
        generationConfig={"temperature": 1, "responseSchema": {"type": "OBJECT"}},
        safetySettings=[],
        labels={"a": "b"},
    )
    assert messages_of(asked) == [HELLO]
    assert set(beside(asked)) == {"systemInstruction", "tools", "responseSchema"}
    counted = "".join(texts(asked))
    assert all(word in counted for word in ("hello", "be brief", "look", "OBJECT"))
    image = {"parts": [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}, {"functionCall": {"name": "f"}}]}
    assert texts(body(contents=[image])) == ['{"functionCall":{"name":"f"}}']


def test_the_facts_are_of_the_common_kind() -> None:
    assert isinstance(read_generate(body()), RequestFacts)
