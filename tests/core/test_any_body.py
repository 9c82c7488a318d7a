"""Whatever JSON comes as a Gemini or Bedrock request: it is refused by name, or every reader after that can read it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.formats import FORMATS
from gateway.pipeline.translate import half_of

NAMES = {
    "gemini": (
        *("contents", "parts", "role", "text", "functionCall", "functionResponse", "name", "args", "response", "id"),
        *("inlineData", "mimeType", "data", "thought", "systemInstruction", "tools", "functionDeclarations"),
        *("parameters", "type", "toolConfig", "functionCallingConfig", "mode", "allowedFunctionNames"),
        *("generationConfig", "maxOutputTokens", "max_output_tokens", "stopSequences", "thinkingConfig"),
    ),
    "bedrock_converse": (
        *("messages", "content", "role", "text", "toolUse", "toolResult", "toolUseId", "name", "input", "json"),
        *("image", "format", "source", "bytes", "system", "toolConfig", "tools", "toolSpec", "inputSchema"),
        *("toolChoice", "auto", "tool", "inferenceConfig", "maxTokens", "stopSequences", "cachePoint", "document"),
        *("additionalModelRequestFields", "thinking", "status", "reasoningContent", "reasoningText"),
    ),
}
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(["", "user", "model", "assistant", "ANY", "x"])
)


def values(name: str) -> st.SearchStrategy[Any]:
    names = st.sampled_from(NAMES[name])
    return st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=25
    )


def bodies(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """A request that is right but for a few members, at the top and in its messages."""
    odd = st.dictionaries(st.sampled_from(NAMES[name]), values(name), max_size=4)
    if name == "gemini":
        return st.builds(
            lambda more, part, content: {
                "model": "m",
                "stream": False,
                "contents": [{"role": "model", "parts": [{"text": "x"}, part]}, {"parts": [part], **content}],
                **more,
            },
            odd,
            odd,
            odd,
        )
    return st.builds(
        lambda more, block, message: {
            "model": "m",
            "stream": False,
            "messages": [
                {"role": "assistant", "content": [{"text": "x"}, block]},
                {"role": "user", "content": [block], **message},
            ],
            **more,
        },
        odd,
        odd,
        odd,
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(st.data())
def test_a_body_is_refused_or_can_be_read_by_all(name: str, data: st.DataObject) -> None:
    wire = FORMATS[name]
    body = data.draw(bodies(name))
    try:
        facts = wire.requests.read(body)
    except FieldRefused:
        return
    messages = wire.requests.messages(body)
    wire.requests.beside(body)
    assert all(isinstance(text, str) for text in wire.requests.texts(body))
    sent = wire.requests.outgoing(body, facts, model="m", cap=5, cap_field="", ask_usage=True)
    assert "model" not in sent
    wire.requests.without_tools(body, frozenset(facts.tools[:1]))
    wire.conversation.exchanges(messages, 0)
    wire.conversation.exchanges(messages, 1)
    wire.conversation.beginning(messages)
    wire.conversation.answered(messages)
    for upstream in ("openai_chat", "anthropic_messages", "gemini", "bedrock_converse"):
        try:
            request = half_of(wire).read_request(body)
            json.dumps(half_of(FORMATS[upstream]).write_request(request, "m", 5, "max_tokens"))
        except FieldRefused:
            continue
