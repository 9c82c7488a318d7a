"""A Messages request where chat is asked for: the chat request that it means."""

from typing import Any

import pytest

from gateway.core.wire.anthropic_as_chat import is_messages, messages_as_chat
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.openai_chat import read_chat

LOOKUP = {"name": "lookup", "description": "looks", "input_schema": {"type": "object"}}
ASKED: dict[str, Any] = {
    "model": "m",
    "max_tokens": 50,
    "system": [{"type": "text", "text": "be good", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "find it"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "lookup", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "found"}]},
    ],
    "tools": [LOOKUP],
    "stream": True,
}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (ASKED, True),
        ({"messages": [], "system": "s"}, True),
        ({"messages": [], "tools": [LOOKUP]}, True),
        ({"messages": []}, False),
        ({"system": "s"}, False),
        ({"messages": [], "tools": [{"type": "function", "function": {"name": "f"}}]}, False),
        ({"messages": [], "tools": {}}, False),
        ({"messages": [], "tools": ["input_schema"]}, False),
    ],
)
def test_it_is_told_by_its_shape(body: dict[str, Any], told: bool) -> None:
    assert is_messages(body) is told


def test_what_was_said_is_asked_in_chat() -> None:
    chat = messages_as_chat(ASKED)
    assert [message["role"] for message in chat["messages"]] == ["system", "user", "assistant", "tool"]
    assert chat["tools"][0]["function"]["name"] == "lookup"
    facts = read_chat(chat)
    assert (facts.model, facts.tools, facts.client_max_tokens, facts.stream) == ("m", ("lookup",), 50, True)


def test_what_chat_cannot_say_is_refused_by_name() -> None:
    with pytest.raises(FieldRefused) as refused:
        messages_as_chat({**ASKED, "container": "c-1"})
    assert refused.value.field == "container"
