"""Bedrock Converse: what a request asks for, checked; and the few fields that we set before it goes out.

Rule 7: fields with authority or cost are a closed list, understood here or refused by name; everything else passes
through untouched. The path of a call names its model and whether it streams; the front writes both into the body as
`model` and `stream`, and they are taken out again here. Format: the Amazon Bedrock API reference, Converse, 2026-11.
"""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, ContentFacts, FieldRefused, RequestFacts

REFUSED_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "guardrailConfig": "guardrails have a fee that no price here covers",
        "promptVariables": "prompts that are kept upstream cannot be counted here",
    }
)
"""Why each of these is refused; the reason is part of the message."""
_MORE = "additionalModelRequestFields"
_MORE_KNOWN = frozenset(
    {
        *("thinking", "reasoning_config", "reasoningConfig", "reasoning_effort", "anthropic_beta"),
        *("top_k", "topK", "top_p", "output_config"),
    }
)
"""Of what goes to a model past the format, only what has neither authority nor cost, and thinking."""
_STANDARD = ("default", "standard")
MAX_FIELD = "maxTokens"
ASIDE = frozenset({"messages", "requestMetadata"})
_NOT_THE_PROMPT = ASIDE | {
    *("model", "stream", "inferenceConfig", "performanceConfig", "serviceTier", "additionalModelResponseFieldPaths"),
    _MORE,
}
_BINARY = ("image", "document", "video", "audio")
_DEPTH_MAX = 4
"""How deep results of tools may hold results of tools; the format itself knows one level."""


def read_converse(body: Mapping[str, Any]) -> RequestFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    for name, reason in REFUSED_FIELDS.items():
        if body.get(name) is not None:
            raise FieldRefused(name, f"`{name}` is not supported: {reason}", unsupported=True)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "the path must name a model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise FieldRefused("messages", "`messages` must be a non-empty list")
    for name, key in (("performanceConfig", "latency"), ("serviceTier", "type")):
        if _section(body, name).get(key) not in (None, *_STANDARD):
            raise FieldRefused(name, f"`{name}` is not supported: this choice has no price here", unsupported=True)
    client_max = _client_max(body)
    thinking, hidden = _thinking(body)
    return RequestFacts(
        model=model,
        stream=body.get("stream") is True,
        include_usage=False,
        choices=1,
        client_max_tokens=client_max,
        max_field=None if client_max is None else MAX_FIELD,
        tools=tuple(named for tool in _tools(body) if (named := _declared_name(tool)) is not None),
        service_tier="default",
        content=_content([*messages, {"content": body.get("system")}]),
        thinking_tokens=thinking,
        hidden=hidden,
    )


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with our cap where there is one. The path names the model; usage always comes."""
    sent = {name: value for name, value in body.items() if name not in ("model", "stream")}
    if cap is not None:
        sent["inferenceConfig"] = {**_section(body, "inferenceConfig"), MAX_FIELD: cap}
    return sent


def without_tools(body: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    """The body with the denied tools stripped (`tools.denied_declared: strip`)."""
    config = _section(body, "toolConfig")
    left = [tool for tool in _tools(body) if _declared_name(tool) not in denied]
    kept = dict(body)
    if not any(_declared_name(tool) is not None for tool in left):
        kept.pop("toolConfig", None)
        return kept
    chosen = _section(_section(config, "toolChoice"), "tool").get("name")
    others = {name: value for name, value in config.items() if name != "toolChoice" or chosen not in denied}
    kept["toolConfig"] = {**others, "tools": left}
    return kept


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """What adds to the prompt beside the messages: tools, system text, the shape of the answer."""
    return {name: value for name, value in body.items() if name not in _NOT_THE_PROMPT and value is not None}


def texts(body: Mapping[str, Any]) -> list[str]:
    """All inline text of a request, as a tokenizer should count it."""
    found = [text for message in body["messages"] for text in content_texts(message.get("content"))]
    rest = beside(body)
    return [*found, _written(rest)] if rest else found


def content_texts(content: Any) -> list[str]:
    """The text of a list of blocks, down to that of tool results."""
    found: list[str] = []
    for block in content if isinstance(content, list) else ():
        if isinstance(text := block.get("text"), str):
            found.append(text)
        elif isinstance(result := block.get("toolResult"), Mapping):
            found += content_texts(result.get("content"))
        elif not block.keys() & set(_BINARY):
            found.append(_written(block))
    return found


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _section(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FieldRefused(name, f"`{name}` must be an object")
    return value


def _client_max(body: Mapping[str, Any]) -> int | None:
    value = _section(body, "inferenceConfig").get(MAX_FIELD)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= TOKENS_MAX:
        raise FieldRefused(MAX_FIELD, f"`{MAX_FIELD}` must be an integer from 1 to {TOKENS_MAX}")
    return value


def _thinking(body: Mapping[str, Any]) -> tuple[int, bool]:
    """(tokens set aside for it, whether there is any): it is billed whole and shown, if at all, as a summary."""
    more = _section(body, _MORE)
    unknown = next((name for name in more if name not in _MORE_KNOWN), None)
    if unknown is not None:
        text = f"`{_MORE}.{unknown[:40]}` is not supported: what goes to a model past the format may have a cost"
        raise FieldRefused(_MORE, text, unsupported=True)
    budget = 0
    hidden = more.get("reasoning_effort") is not None
    for name in ("thinking", "reasoning_config", "reasoningConfig"):
        asked = _section(more, name)
        if not asked or asked.get("type") == "disabled":
            continue
        hidden = True
        tokens = asked.get("budget_tokens")
        if tokens is None:
            continue
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= TOKENS_MAX:
            raise FieldRefused(_MORE, f"`{name}.budget_tokens` must be a positive integer")
        budget = max(budget, tokens)
    return budget, hidden


def _tools(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    declared = _section(body, "toolConfig").get("tools")
    if declared is None:
        return
    if not isinstance(declared, list):
        raise FieldRefused("toolConfig", "`toolConfig.tools` must be a list")
    for tool in declared:
        if not isinstance(tool, Mapping):
            raise FieldRefused("toolConfig", "every entry of `toolConfig.tools` must be an object")
        yield tool


def _declared_name(tool: Mapping[str, Any]) -> str | None:
    """None for a mark that declares no tool."""
    if "cachePoint" in tool:
        return None
    if "toolSpec" not in tool:
        text = "only tools with a `toolSpec` are supported: what the provider runs has fees that no price here covers"
        raise FieldRefused("toolConfig", text, unsupported=True)
    name = _section(tool, "toolSpec").get("name")
    if not isinstance(name, str) or not name:
        raise FieldRefused("toolConfig", "every `toolSpec` must have a name")
    return name


def _content(messages: list[Any]) -> ContentFacts:
    counted = [0, 0, 0, 0]
    for message in messages:
        if not isinstance(message, Mapping):
            raise FieldRefused("messages", "every message must be an object")
        _count(message.get("content"), counted, _DEPTH_MAX)
    return ContentFacts(*counted) if any(counted) else NO_CONTENT_BUT_TEXT


def _count(content: Any, counted: list[int], depth: int) -> None:
    """Adds to [images, bytes of inline data, audio parts, other files]. Raises FieldRefused."""
    if content is None:
        return
    if not isinstance(content, list) or not all(isinstance(block, Mapping) for block in content) or not depth:
        raise FieldRefused("messages", "`content` must be a list of objects")
    for block in content:
        _count(_section(block, "toolResult").get("content"), counted, depth - 1)
        _section(block, "toolUse")
        for kind in _BINARY:
            if not (part := _section(block, kind)):
                continue
            source = _section(part, "source")
            if "text" in source or "content" in source:
                continue
            counted[0 if kind == "image" else 2 if kind == "audio" else 3] += 1
            data = source.get("bytes")
            counted[1] += len(data) if isinstance(data, str) else 0
