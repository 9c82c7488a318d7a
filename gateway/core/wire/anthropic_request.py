"""Anthropic messages: what a request asks for, checked; and the few fields that we set before it goes out.

Rule 7: fields with authority or cost are a closed list, understood here or refused by name; everything else passes
through untouched. Format: the Anthropic API reference, messages, version 2023-06-01, fields as of 2026-11.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, ContentFacts, FieldRefused, RequestFacts, flag
from gateway.core.wire.searches import bounded_messages, messages_searches, messages_tool

REFUSED_FIELDS: Mapping[str, str] = {
    "mcp_servers": "tool servers that the provider calls cannot be authorized here; connect them to this gateway",
    "container": "code that the provider runs has a fee that no price here covers",
    "inference_geo": "where a model runs changes its price and is chosen here",
    "fallbacks": "the model is chosen here, not by a list of fallbacks",
    "fallback_model": "the model is chosen here",
    "background": "background calls are not governed yet",
    "extra_headers": "headers for the upstream are set here",
    "api_key": "credentials are held here",
    "api_base": "the upstream is chosen here",
    "base_url": "the upstream is chosen here",
}
"""Why each of these is refused; the reason is part of the message."""

SERVICE_TIERS = frozenset({"auto", "standard_only"})
_STANDARD_SPEED = "standard"
_CLIENT_RUN = ("custom", "bash_", "text_editor_", "computer_", "memory_")
"""Types of tools that the client runs, with or without a date behind; the provider runs all others.
Those of them that a price covers are in `searches`."""
ASIDE = frozenset({"messages", "metadata"})
_NOT_THE_PROMPT = ASIDE | {
    *("model", "max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "service_tier", "thinking"),
}
_NO_TEXT = ("image", "document", "file")


def read_messages(body: Mapping[str, Any]) -> RequestFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    for name, reason in REFUSED_FIELDS.items():
        if body.get(name) is not None:
            raise FieldRefused(name, f"`{name}` is not supported: {reason}", unsupported=True)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "`model` must be a non-empty string")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise FieldRefused("messages", "`messages` must be a non-empty list")
    if body.get("speed") not in (None, _STANDARD_SPEED):
        raise FieldRefused("speed", "`speed` is not supported: this speed has no price here", unsupported=True)
    tier = body.get("service_tier") or "auto"
    if not isinstance(tier, str) or tier not in SERVICE_TIERS:
        raise FieldRefused("service_tier", "this service tier has no price here", unsupported=True)
    client_max = _max_tokens(body)
    thinking, hidden = _thinking(body, client_max)
    tools = tuple(_tool_names(body.get("tools")))
    searches = messages_searches(body.get("tools") or ())
    run_upstream = tuple(name for name, _ in searches)
    return RequestFacts(
        model=model,
        stream=flag(body, "stream"),
        include_usage=False,
        choices=1,
        client_max_tokens=client_max,
        max_field="max_tokens",
        tools=tools,
        service_tier="standard",  # the priority tier has no list price of its own, and `speed` is refused
        content=_content(messages),
        thinking_tokens=thinking,
        hidden=hidden or bool(searches),
        provider_tools=run_upstream,
        searches=searches,
    )


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with the upstream's model name and our cap where there is one."""
    sent = {**body, "model": model}
    if cap is not None:
        sent["max_tokens"] = cap
    return bounded_messages(sent) if facts.searches and "tools" in sent else sent


def without_tools(body: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    """The body with the denied tools stripped (`tools.denied_declared: strip`), and without a choice of one of them."""
    kept = dict(body)
    left = [tool for tool in body.get("tools") or () if _name_in_policies(tool) not in denied]
    gone = {tool["name"] for tool in body.get("tools") or ()} - {tool["name"] for tool in left}
    choice = body.get("tool_choice")
    if not left:
        kept.pop("tools", None)
    else:
        kept["tools"] = left
    if not left or (isinstance(choice, Mapping) and choice.get("name") in gone):
        kept.pop("tool_choice", None)
    return kept


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """What adds to the prompt beside the messages: tools and system text."""
    return {name: value for name, value in body.items() if name not in _NOT_THE_PROMPT and value is not None}


def texts(body: Mapping[str, Any]) -> list[str]:
    """All inline text of a request, as a tokenizer should count it."""
    found: list[str] = []
    for message in body["messages"]:
        found += content_texts(message.get("content"))
    rest = beside(body)
    return [*found, json.dumps(rest, ensure_ascii=False, separators=(",", ":"))] if rest else found


def content_texts(content: Any) -> list[str]:
    """The text of a `content` member, down to that of tool results."""
    if isinstance(content, str):
        return [content]
    found: list[str] = []
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, Mapping):
            found.append(str(block))
        elif isinstance(text := block.get("text", block.get("thinking")), str):
            found.append(text)
        elif block.get("type") == "tool_result":
            found += content_texts(block.get("content"))
        elif block.get("type") not in _NO_TEXT:
            found.append(json.dumps(block, ensure_ascii=False, separators=(",", ":")))
    return found


def _max_tokens(body: Mapping[str, Any]) -> int:
    value = body.get("max_tokens")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= TOKENS_MAX:
        raise FieldRefused("max_tokens", f"`max_tokens` must be an integer from 1 to {TOKENS_MAX}")
    return value


def _thinking(body: Mapping[str, Any], client_max: int) -> tuple[int, bool]:
    """(tokens set aside for it, whether there is any): it is billed whole and shown, if at all, as a summary."""
    thinking = body.get("thinking")
    if thinking is None:
        return 0, False
    if not isinstance(thinking, Mapping):
        raise FieldRefused("thinking", "`thinking` must be an object")
    if thinking.get("type") == "disabled":
        return 0, False
    budget = thinking.get("budget_tokens")
    if budget is None:
        return 0, True
    if isinstance(budget, bool) or not isinstance(budget, int) or not 1 <= budget <= client_max:
        raise FieldRefused("thinking", "`thinking.budget_tokens` must be an integer below `max_tokens`")
    return budget, True


def _tool_names(tools: Any) -> Iterator[str]:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise FieldRefused("tools", "`tools` must be a list")
    for tool in tools:
        name = _declared_name(tool)
        if messages_tool(tool) is None:
            yield name


def _name_in_policies(tool: Any) -> str:
    return messages_tool(tool) or _declared_name(tool)


def _declared_name(tool: Any) -> str:
    """What the client calls it. Raises FieldRefused."""
    if not isinstance(tool, Mapping):
        raise FieldRefused("tools", "every entry of `tools` must be an object")
    kind = tool.get("type")
    client_run = kind is None or (isinstance(kind, str) and kind.startswith(_CLIENT_RUN))
    if not client_run and messages_tool(tool) is None:
        text = f"`tools` of type {kind!r} are not supported: what the provider runs has fees that no price here covers"
        raise FieldRefused("tools", text, unsupported=True)
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise FieldRefused("tools", "every entry of `tools` must have a name")
    return name


def _content(messages: list[Any]) -> ContentFacts:
    counted = [0, 0, 0]
    for message in messages:
        if not isinstance(message, dict):
            raise FieldRefused("messages", "every message must be an object")
        if isinstance(content := message.get("content"), list):
            _count(content, counted)
    images, data_bytes, files = counted
    return ContentFacts(images, data_bytes, 0, files) if any(counted) else NO_CONTENT_BUT_TEXT


def _count(content: list[Any], counted: list[int]) -> None:
    for block in content:
        if not isinstance(block, Mapping):
            raise FieldRefused("messages", "every block of a message's content must be an object")
        kind = block.get("type")
        if kind in _NO_TEXT:
            source = block.get("source")
            inline = isinstance(source, Mapping) and source.get("type") in ("text", "content")
            if kind == "image":
                counted[0] += 1
            elif not inline:
                counted[2] += 1
            data = source.get("data") if isinstance(source, Mapping) else None
            if isinstance(data, str) and not inline:
                counted[1] += len(data)
        elif kind == "tool_result" and isinstance(inner := block.get("content"), list):
            _count(inner, counted)
        elif kind in ("container_upload", "search_result"):
            counted[2] += kind == "container_upload"
