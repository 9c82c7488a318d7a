"""What objects of Anthropic messages may hold where they are translated; see `members`. Source: the types of
Anthropic's SDK, as of 2026-11."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.wire.members import Found, Members, members

_CACHE = ("cache_control",)
_BY_THE_MODEL: Mapping[str, tuple[Any, ...]] = MappingProxyType({"caller": ({"type": "direct"},)})
_MESSAGE = members("messages", "role", "content")
_SOURCE = members("messages", "type", "media_type", "data", "url")
_BLOCKS: Mapping[str, Members] = MappingProxyType(
    {
        "text": members("messages", "type", "text", hints=(*_CACHE, "citations")),
        "image": members("messages", "type", "source", hints=_CACHE),
        "document": members(
            *("messages", "type", "source", "title", "context"),
            hints=_CACHE,
            nothing={"citations": ({"enabled": False},)},
        ),
        "tool_use": members("messages", "type", "id", "name", "input", hints=_CACHE, nothing=_BY_THE_MODEL),
        "tool_result": members("messages", "type", "tool_use_id", "content", "is_error", hints=_CACHE),
    }
)
"""Thinking is not here: all of it stays behind."""
_TOOL = members(
    *("tools", "type", "name", "description", "input_schema", "strict"),
    hints=(*_CACHE, "defer_loading", "eager_input_streaming", "input_examples"),
    nothing={"allowed_callers": (["direct"],)},
)
_CHOICE = members("tool_choice", "type", "name", "disable_parallel_tool_use")
_METADATA = members("metadata", "user_id")
_OUTPUT = members("output_config", "format", hints=("effort", "task_budget"))
_FORMAT = members("output_config", "type", "schema")


def objects(body: Mapping[str, Any]) -> Found:
    """Those of a request that was read."""
    for tool in body.get("tools") or ():
        yield _TOOL, tool
    output = body.get("output_config") or {}
    yield from ((_CHOICE, body.get("tool_choice")), (_METADATA, body.get("metadata")))
    yield from ((_OUTPUT, output), (_FORMAT, output.get("format")))
    yield from _blocks(body.get("system"))
    for message in body["messages"]:
        yield _MESSAGE, message
        yield from _blocks(message.get("content"))


def _blocks(content: Any) -> Iterator[tuple[Members, Any]]:
    for block in content if isinstance(content, list) else ():
        known = _BLOCKS.get(str(block.get("type")))
        if known is not None:
            yield from ((known, block), (_SOURCE, block.get("source")))
            yield from _blocks(block.get("content"))
