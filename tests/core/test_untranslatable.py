"""What a provider has no counterpart for is refused by the name that the client gave it."""

from typing import Any

import pytest

from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.formats import FORMATS
from gateway.pipeline.translate import half_of, written_request

URL = "https://example.com/cat.jpg"
CHAT_IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}
RESPONSES_IMAGE = {"role": "user", "content": [{"type": "input_image", "image_url": URL}]}
MESSAGES = [{"role": "user", "content": "Hello"}]
ITEMS = [{"role": "user", "parts": [{"text": "Hello"}]}]
BLOCKS = [{"role": "user", "content": [{"text": "Hello"}]}]
ONE_CALL = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
MESSAGES_TOOL = [{"name": "now", "input_schema": {"type": "object"}}]
GENERATION = {"stopSequences": ["E"]}
CHAT_TOOL = [{"type": "function", "function": {"name": "now"}}]


@pytest.mark.parametrize(
    ("front", "upstream", "body", "field"),
    [
        ("openai_chat", "gemini", {"messages": [CHAT_IMAGE]}, "messages"),
        ("openai_responses", "gemini", {"input": [RESPONSES_IMAGE]}, "input"),
        ("openai_chat", "openai_responses", {"messages": MESSAGES, "stop": "END"}, "stop"),
        ("anthropic_messages", "openai_responses", {"messages": MESSAGES, "stop_sequences": ["E"]}, "stop_sequences"),
        (
            "gemini",
            "openai_responses",
            {"contents": ITEMS, "generationConfig": {"stopSequences": ["E"]}},
            "stopSequences",
        ),
        (
            "bedrock_converse",
            "openai_responses",
            {"messages": BLOCKS, "inferenceConfig": {"stopSequences": ["E"]}},
            "stopSequences",
        ),
        (
            "openai_chat",
            "bedrock_converse",
            {"messages": MESSAGES, "tools": CHAT_TOOL, "parallel_tool_calls": False},
            "parallel_tool_calls",
        ),
        ("anthropic_messages", "gemini", {"messages": MESSAGES, "tools": MESSAGES_TOOL, **ONE_CALL}, "tool_choice"),
        ("openai_chat", "anthropic_messages", {"messages": MESSAGES, "temperature": 1.5}, "temperature"),
        ("gemini", "bedrock_converse", {"contents": ITEMS, "generationConfig": {"temperature": 2}}, "temperature"),
    ],
)
def test_the_field_is_called_as_the_client_called_it(
    front: str, upstream: str, body: dict[str, Any], field: str
) -> None:
    request = half_of(FORMATS[front]).read_request(body)
    with pytest.raises(FieldRefused) as refused:
        written_request(FORMATS[front], FORMATS[upstream], request, "m", 9, "max_tokens")
    assert refused.value.field == field


@pytest.mark.parametrize("upstream", ["openai_responses", "gemini"])
def test_a_temperature_that_the_provider_takes_is_passed_on(upstream: str) -> None:
    request = half_of(FORMATS["openai_chat"]).read_request({"messages": MESSAGES, "temperature": 1.5})
    sent = written_request(FORMATS["openai_chat"], FORMATS[upstream], request, "m", 9, "max_tokens")
    assert sent.get("generationConfig", sent)["temperature"] == 1.5
