"""A Responses request that a client sends where chat completions are asked for, as the chat request that it means.

Cursor does so for some models and reads the answer as chat. What chat has under the same name goes along.
"""

from collections.abc import Mapping
from typing import Any

from gateway.core.wire import openai_neutral, responses_neutral
from gateway.core.wire.responses_request import read

_CAP_FIELD = "max_completion_tokens"
_SAME = ("metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "stream_options")


def is_responses(body: Mapping[str, Any]) -> bool:
    return "input" in body and "messages" not in body


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Raises FieldRefused for what chat cannot say."""
    facts = read(body)
    request = responses_neutral.HALF.read_request(body)
    written = {**openai_neutral.HALF.write_request(request, facts.model, facts.client_max_tokens or 0, _CAP_FIELD)}
    if facts.client_max_tokens is None:
        del written[_CAP_FIELD]
    written.pop("stream_options", None)
    written |= {name: body[name] for name in _SAME if body.get(name) is not None}
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and (effort := reasoning.get("effort")) is not None:
        written["reasoning_effort"] = effort
    return written
