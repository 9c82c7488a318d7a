"""An Anthropic Messages request that a client sends where chat completions are asked for, as the chat request that it
means.

Cursor does so for some models and reads the answer as chat. What chat has no word for is left out as in translation.
"""

from collections.abc import Mapping
from typing import Any

from gateway.core.wire import anthropic_neutral, openai_neutral
from gateway.core.wire.anthropic_request import read_messages

_CAP_FIELD = "max_completion_tokens"


def is_messages(body: Mapping[str, Any]) -> bool:
    """Told by what chat does not have: a system prompt beside the messages, or tools with an `input_schema`."""
    if "system" in body:
        return "messages" in body
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools:
        return False
    return isinstance(tools[0], Mapping) and "input_schema" in tools[0]


def messages_as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Raises FieldRefused for what chat cannot say."""
    facts = read_messages(body)
    request = anthropic_neutral.HALF.read_request(body)
    written = {**openai_neutral.HALF.write_request(request, facts.model, facts.client_max_tokens or 0, _CAP_FIELD)}
    written.pop("stream_options", None)
    return written
