"""The items of the OpenAI Responses format, which requests and replies share: what was said, what was called with what.

A call is an item of its own, `function_call` or another `*_call`; what the client answers is a `*_call_output` item
with the same `call_id`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.wire.responses_tools import in_namespace

_CLIENT_RUN: Mapping[str, tuple[str, str]] = {
    "local_shell_call": ("local_shell", "action"),
    "shell_call": ("shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
    "computer_call": ("computer", "action"),
}
"""Calls of tools that have no name but their type, and the field that says what is to be done."""
_PART_SHOWN = 64


def kind_of(item: Any) -> str:
    """The type of an item; a message need not say that it is one."""
    if not isinstance(item, Mapping):
        return ""
    kind = item.get("type")
    if isinstance(kind, str):
        return kind
    return "message" if "role" in item else ""


def call_of(item: Mapping[str, Any]) -> tuple[str, str] | None:
    """(name, arguments) of the tool that an item calls and the client runs, None where it calls none."""
    kind = kind_of(item)
    if kind in ("function_call", "custom_tool_call"):
        name, arguments = item.get("name"), item.get("arguments", item.get("input"))
        if not isinstance(name, str):
            return None
        return in_namespace(item.get("namespace"), name), arguments if isinstance(arguments, str) else ""
    if (found := _CLIENT_RUN.get(kind)) is not None:
        name, field = found
        return name, json.dumps(item.get(field) or {}, ensure_ascii=False)
    return None


def provider_call_of(item: Mapping[str, Any]) -> tuple[str, str] | None:
    """The same for a tool of an MCP server that the provider calls by itself."""
    name, arguments = item.get("name"), item.get("arguments")
    if kind_of(item) != "mcp_call" or not isinstance(name, str):
        return None
    return in_namespace(item.get("server_label"), name), arguments if isinstance(arguments, str) else ""


def output_texts(item: Mapping[str, Any]) -> Iterator[str]:
    """All text that a model wrote as this item: words, refusals, visible reasoning, a call with its arguments."""
    kind = kind_of(item)
    if kind == "message":
        yield from _texts(item.get("content"))
    elif kind == "reasoning":
        yield from _texts(item.get("summary"))
        yield from _texts(item.get("content"))
    elif (call := call_of(item) or provider_call_of(item)) is not None:
        yield from call


def shown(content: Any) -> str:
    """A content or output as one text. Of parts that are no text, their kind, size and end: enough to tell them
    apart."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def _texts(parts: Any) -> Iterator[str]:
    if isinstance(parts, str):
        yield parts
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping):
            text = part.get("text", part.get("refusal"))
            if isinstance(text, str):
                yield text


def _part(part: Any) -> str:
    if isinstance(part, Mapping):
        text = part.get("text", part.get("refusal"))
        if isinstance(text, str):
            return text
    written = str(part)
    return f"{len(written)} {written[:_PART_SHOWN]} {written[-_PART_SHOWN:]}"
