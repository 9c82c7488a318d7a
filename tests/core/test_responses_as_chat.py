"""A Responses request where chat is asked for: the chat request that it means."""

from typing import Any

import pytest

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.openai_chat import read_chat
from gateway.core.wire.responses_as_chat import as_chat, is_responses

LOOKUP = {"type": "function", "name": "lookup", "description": "looks", "parameters": {"type": "object"}}
ASKED: dict[str, Any] = {
    "model": "m",
    "instructions": "be good",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "find it"}]},
        {"type": "function_call", "call_id": "1", "name": "lookup", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "found"},
    ],
    "tools": [LOOKUP],
    "reasoning": {"effort": "low"},
    "service_tier": "flex",
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_it_is_told_by_its_shape() -> None:
    assert is_responses(ASKED)
    assert not is_responses({"messages": [], "input": []})
    assert not is_responses({"messages": []})


def test_what_was_said_is_asked_in_chat() -> None:
    chat = as_chat(ASKED)
    assert [message["role"] for message in chat["messages"]] == ["system", "user", "assistant", "tool"]
    assert (chat["reasoning_effort"], chat["service_tier"], chat["stream"]) == ("low", "flex", True)
    facts = read_chat(chat)
    assert (facts.model, facts.tools, facts.client_max_tokens, facts.include_usage) == ("m", ("lookup",), None, True)


def test_a_cap_of_the_client_stays_its_own() -> None:
    chat = as_chat({"model": "m", "input": "hi", "max_output_tokens": 90})
    assert chat == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 90}


@pytest.mark.parametrize("field", ["background", "previous_response_id", "prompt"])
def test_what_chat_cannot_say_is_named(field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        as_chat({"model": "m", "input": "hi", field: True if field == "background" else "x"})
    assert refused.value.field == field
