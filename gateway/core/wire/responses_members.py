"""What objects of OpenAI responses may hold where they are translated; see `members`. Source: the types of OpenAI's
SDK, as of 2026-11."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.wire.members import Found, Members, members
from gateway.core.wire.responses_items import kind_of
from gateway.core.wire.responses_request import messages_of

_OURS = ("type", "id", "status")
"""Of items: their ids and states mean something where they are kept only."""
_BY_THE_MODEL: Mapping[str, tuple[Any, ...]] = MappingProxyType({"caller": ({"type": "direct"},)})
_CALL = members("input", *_OURS, "call_id", "name", "namespace", "arguments", "input", nothing=_BY_THE_MODEL)
_OUTPUT = members("input", *_OURS, "call_id", "name", "namespace", "output", nothing=_BY_THE_MODEL)
_ITEMS: Mapping[str, Members] = MappingProxyType(
    {
        "message": members("input", *_OURS, "role", "content", hints=("phase",)),
        "function_call": _CALL,
        "custom_tool_call": _CALL,
        "function_call_output": _OUTPUT,
        "custom_tool_call_output": _OUTPUT,
    }
)
"""Reasoning is not here: all of it stays behind."""
_PART = members(
    *("input", "type", "text", "refusal", "image_url", "detail"),
    hints=("annotations", "logprobs", "prompt_cache_breakpoint"),
)
_TOOL = members(
    *("tools", "type", "name", "description", "parameters", "strict", "format", "tools"), hints=("output_schema",)
)
_TOOL_FORMAT = members("tools", "type", "syntax", "definition")
_CHOICE = members("tool_choice", "type", "name", "namespace")
_TEXT = members("text", "format", hints=("verbosity",))
_FORMAT = members("text", "type", "name", "description", "schema", "strict")


def objects(body: Mapping[str, Any]) -> Found:
    """Those of a request that was read."""
    yield from _tools(body.get("tools"))
    text = body.get("text") or {}
    yield from ((_CHOICE, body.get("tool_choice")), (_TEXT, text), (_FORMAT, text.get("format")))
    for item in messages_of(body):
        known = _ITEMS.get(kind_of(item))
        if known is not None:
            yield known, item
            for content in (item.get("content"), item.get("output")):
                yield from ((_PART, part) for part in (content if isinstance(content, list) else ()))


def _tools(tools: Any) -> Iterator[tuple[Members, Any]]:
    for tool in tools or ():
        yield from ((_TOOL, tool), (_TOOL_FORMAT, tool.get("format")))
        yield from _tools(tool.get("tools"))
