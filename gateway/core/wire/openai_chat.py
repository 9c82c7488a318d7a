"""OpenAI chat completions: what a request asks for, checked; and the few fields that we set before it goes out.

Rule 7: fields with authority or cost are a closed list, understood here or refused by name; everything else passes
through untouched. Format: the OpenAI API reference, chat completions; research in the field names as of 2026-11.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, ContentFacts, FieldRefused, RequestFacts, flag

REFUSED_FIELDS: Mapping[str, str] = {
    "web_search_options": "provider-run web search has a fee that no price here covers",
    "prediction": "rejected prediction tokens are billed unseen",
    "audio": "audio output is not governed yet",
    "best_of": "it is billed for answers that nobody sees",
    "background": "background calls are not governed yet",
    "models": "the model is chosen here, not by a list of fallbacks",
    "route": "the model is chosen here, not by the upstream's router",
    "provider": "the provider is chosen here",
    "plugins": "provider-run plugins have fees that no price here covers",
    "transforms": "upstream prompt transforms change what was authorized",
    "preset": "the model and its settings are chosen here, not by a preset kept upstream",
    "fallbacks": "the model is chosen here, not by a list of fallbacks",
    "search_parameters": "provider-run web search has a fee that no price here covers",
    "enable_search": "provider-run web search has a fee that no price here covers",
    "data_sources": "provider-run retrieval has a fee and an authority of its own",
    "deferred": "background calls are not governed yet",
    "n_predict": "output is capped by `max_tokens` here, which it would override",
    "max_new_tokens": "output is capped by `max_tokens` here, which it would override",
    "max_output_tokens": "output is capped by `max_tokens` here, which it would override",
    "n_cmpl": "the number of answers is `n`",
    "extra_headers": "headers for the upstream are set here",
    "api_key": "credentials are held here",
    "api_base": "the upstream is chosen here",
    "base_url": "the upstream is chosen here",
}
"""Why each of these is refused; the reason is part of the message."""

SERVICE_TIERS = frozenset({"auto", "default", "standard", "flex", "priority"})
MAX_FIELDS = ("max_tokens", "max_completion_tokens")
CHOICES_MAX = 128
TOOL_NAMED_TYPES = ("function", "custom")


def read_chat(body: Mapping[str, Any]) -> RequestFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    if not REFUSED_FIELDS.keys().isdisjoint(body):
        refuse_fields(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "`model` must be a non-empty string")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise FieldRefused("messages", "`messages` must be a non-empty list")
    modalities = body.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise FieldRefused("modalities", "only the text modality is supported", unsupported=True)
    tier = body.get("service_tier") or "default"
    if not isinstance(tier, str) or tier not in SERVICE_TIERS:
        raise FieldRefused("service_tier", "this service tier has no price here", unsupported=True)
    stream = flag(body, "stream")
    max_field, client_max = _client_max(body)
    return RequestFacts(
        model=model,
        stream=stream,
        include_usage=stream and _include_usage(body),
        choices=_integer(body, "n", 1, CHOICES_MAX) or 1,
        client_max_tokens=client_max,
        max_field=max_field,
        tools=tuple(_tool_names(body)) if "tools" in body or "functions" in body else (),
        service_tier=tier,
        content=_content(messages),
    )


def refuse_fields(body: Mapping[str, Any]) -> None:
    """Raises FieldRefused for the first refused field that is set; null says nothing."""
    for name, reason in REFUSED_FIELDS.items():
        if body.get(name) is not None:
            raise FieldRefused(name, f"`{name}` is not supported: {reason}", unsupported=True)


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with the upstream's model name, the cap and, for streams, the usage report.

    The cap, ours or the client's own, goes out in the field that this upstream obeys: in another it would be ignored
    there, and the answer would run past its hold.
    """
    sent = dict(body)
    sent["model"] = model
    at_most = facts.client_max_tokens if cap is None else cap
    for field in MAX_FIELDS:
        sent.pop(field, None)
    if at_most is not None:
        sent[cap_field] = at_most
    if facts.stream and ask_usage and not facts.include_usage:
        sent["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return sent


def without_tools(body: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    """The body with the denied tools stripped (`tools.denied_declared: strip`)."""
    kept = dict(body)
    for field in ("tools", "functions"):
        declared = body.get(field)
        if not declared:
            continue
        left = [tool for tool in declared if declared_name(field, tool) not in denied]
        choice_field = "tool_choice" if field == "tools" else "function_call"
        if left:
            kept[field] = left
        else:
            del kept[field]
        if not left or _chosen_name(kept.get(choice_field)) in denied:
            kept.pop(choice_field, None)
    return kept


def declared_name(field: str, tool: Any) -> str:
    """The name that a declaration in `tools` or `functions` gives its tool. Raises FieldRefused."""
    if not isinstance(tool, Mapping):
        raise FieldRefused(field, f"every entry of `{field}` must be an object")
    if field == "functions":
        return _named(field, tool)
    kind = tool.get("type")
    if kind in TOOL_NAMED_TYPES:
        inner = tool.get(kind)
        if not isinstance(inner, Mapping):
            raise FieldRefused("tools", f"a tool of type `{kind}` must have an object `{kind}`")
        return _named("tools", inner)
    raise FieldRefused("tools", f"tools of type {kind!r} are not supported on chat completions", unsupported=True)


def message_calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, arguments) of the tool calls of one message; the old `function_call` is one too."""
    for _, function in called_functions(message):
        name, arguments = function.get("name"), function.get("arguments", function.get("input"))
        if isinstance(name, str):
            yield name, arguments if isinstance(arguments, str) else json.dumps(arguments or {})


def called_functions(message: Mapping[str, Any]) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
    """What is called in a message or a delta: objects with a name, and `arguments` (function) or `input` (custom).

    Each after its place, which deltas of one call share: the index, or the id where a server sends none.
    """
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping) and isinstance(function := call.get("function") or call.get("custom"), Mapping):
            index = call.get("index")
            yield index if isinstance(index, int) else str(call.get("id")), function
    if isinstance(old := message.get("function_call"), Mapping):
        yield "function_call", old


def _chosen_name(choice: Any) -> str | None:
    """The tool that a `tool_choice` or `function_call` forces, None where it forces none by name."""
    if not isinstance(choice, Mapping):
        return None
    kind = choice.get("type")
    holder = choice.get(kind) if kind in TOOL_NAMED_TYPES else choice
    name = holder.get("name") if isinstance(holder, Mapping) else None
    return name if isinstance(name, str) else None


def _tool_names(body: Mapping[str, Any]) -> Iterator[str]:
    for field in ("tools", "functions"):
        declared = body.get(field)
        if declared is None:
            continue
        if not isinstance(declared, list):
            raise FieldRefused(field, f"`{field}` must be a list")
        for tool in declared:
            yield declared_name(field, tool)


def _named(field: str, holder: Mapping[str, Any]) -> str:
    name = holder.get("name")
    if not isinstance(name, str) or not name:
        raise FieldRefused(field, f"every entry of `{field}` must have a name")
    return name


def _client_max(body: Mapping[str, Any]) -> tuple[str | None, int | None]:
    old = _integer(body, "max_tokens", 1, TOKENS_MAX)
    new = _integer(body, "max_completion_tokens", 1, TOKENS_MAX)
    if old is not None and new is not None and old != new:
        raise FieldRefused("max_tokens", "`max_tokens` and `max_completion_tokens` differ; send one of them")
    if new is not None:
        return "max_completion_tokens", new
    return ("max_tokens", old) if old is not None else (None, None)


def _integer(body: Mapping[str, Any], field: str, least: int, most: int) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FieldRefused(field, f"`{field}` must be an integer from {least} to {most}")
    return value


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, Mapping):
        raise FieldRefused("stream_options", "`stream_options` must be an object")
    return options.get("include_usage") is True


def _content(messages: list[Any]) -> ContentFacts:
    images = data_bytes = audio = files = 0
    in_parts = []
    for message in messages:
        if not isinstance(message, dict):
            raise FieldRefused("messages", "every message must be an object")
        if isinstance(parts := message.get("content"), list):
            in_parts.append(parts)
    if not in_parts:
        return NO_CONTENT_BUT_TEXT
    for parts in in_parts:
        for part in parts:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind == "image_url":
                images += 1
                data_bytes += _data_bytes(part.get("image_url"))
            elif kind == "input_audio":
                audio += 1
                data_bytes += _data_bytes(part.get("input_audio"))
            elif kind == "file":
                files += 1
                data_bytes += _data_bytes(part.get("file"))
            elif isinstance(kind, str) and (kind.endswith("_url") or kind.startswith("input_")):
                files += 1  # video_url, document_url ... of compatible servers: what they point to is not in the body
    return ContentFacts(images, data_bytes, audio, files)


def _data_bytes(holder: Any) -> int:
    """Bytes of inline binary data in a content part: they are held by constants, not by their length (rule 3)."""
    if isinstance(holder, str):
        return len(holder) if holder.startswith("data:") else 0
    if not isinstance(holder, Mapping):
        return 0
    url, data = holder.get("url"), holder.get("data", holder.get("file_data"))
    inline = len(url) if isinstance(url, str) and url.startswith("data:") else 0
    return inline + (len(data) if isinstance(data, str) else 0)
