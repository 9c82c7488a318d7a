"""What objects of OpenAI chat completions may hold where they are translated; see `members`. Source: the types of
OpenAI's SDK, as of 2026-11, and what agents send beside them."""

from collections.abc import Mapping
from typing import Any

from gateway.core.wire.members import Found, members

_CACHE = ("cache_control", "prompt_cache_breakpoint")
"""The first is Anthropic's, which some send in this format too."""
_MESSAGE = members(
    *("messages", "role", "content", "tool_calls", "tool_call_id", "refusal"),
    hints=(
        *("cache_control", "name", "annotations"),
        *("reasoning", "reasoning_content", "reasoning_details", "reasoning_text"),
    ),
)
"""Hints: who of several speaks, and sources and thinking of earlier turns, which other models are not shown."""
_PART = members("messages", "type", "text", "refusal", "image_url", hints=_CACHE)
_IMAGE = members("messages", "url", "detail")
_CALL = members("messages", "id", "type", "function", "index", hints=("extra_content", "provider_specific_fields"))
_CALLED = members("messages", "name", "arguments")
_TOOL = members("tools", "type", "function", hints=_CACHE)
_FUNCTION = members("tools", "name", "description", "parameters", "strict", hints=_CACHE)
_CHOICE = members("tool_choice", "type", "function")
_CHOSEN = members("tool_choice", "name")
_FORMAT = members("response_format", "type", "json_schema")
_SCHEMA = members("response_format", "name", "description", "schema", "strict")


def objects(body: Mapping[str, Any]) -> Found:
    """Those of a request that was read."""
    for tool in body.get("tools") or ():
        yield from ((_TOOL, tool), (_FUNCTION, tool.get("function")))
    choice = body.get("tool_choice")
    yield from ((_CHOICE, choice), (_CHOSEN, choice.get("function") if isinstance(choice, Mapping) else None))
    shape = body.get("response_format") or {}
    yield from ((_FORMAT, shape), (_SCHEMA, shape.get("json_schema")))
    for message in body["messages"]:
        yield _MESSAGE, message
        content, calls = message.get("content"), message.get("tool_calls")
        for part in content if isinstance(content, list) else ():
            yield from ((_PART, part), (_IMAGE, part.get("image_url")))
        for call in calls if isinstance(calls, list) else ():
            yield from ((_CALL, call), (_CALLED, call.get("function")))
