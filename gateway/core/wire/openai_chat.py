"""OpenAI chat completions: what a request asks for, checked; and the few fields that we set before it goes out.

Rule 7: fields with authority or cost are a closed list, understood here or refused by name; everything else passes
through untouched. Format: the OpenAI API reference, chat completions; research in the field names as of 2026-11.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
    "api_key": "credentials are held here",
    "api_base": "the upstream is chosen here",
    "base_url": "the upstream is chosen here",
}
"""Why each of these is refused; the reason is part of the message."""

SERVICE_TIERS = frozenset({"auto", "default", "standard", "flex", "priority"})
CHOICES_MAX = 128
TOOL_NAMED_TYPES = ("function", "custom")


class FieldRefused(Exception):
    """A field that is malformed (`unsupported` False) or that this gateway does not serve."""

    def __init__(self, field: str, message: str, *, unsupported: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.unsupported = unsupported


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """What in the messages is not inline text (rule 3)."""

    images: int
    data_url_bytes: int
    audio_parts: int
    file_parts: int


@dataclass(frozen=True, slots=True)
class ChatFacts:
    """What governance needs to know of a chat request; the body itself is passed on."""

    model: str
    stream: bool
    include_usage: bool
    choices: int
    client_max_tokens: int | None
    max_field: str | None
    tools: tuple[str, ...]
    service_tier: str
    content: ContentFacts


def read_chat(body: Mapping[str, Any]) -> ChatFacts:
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
    modalities = body.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise FieldRefused("modalities", "only the text modality is supported", unsupported=True)
    tier = body.get("service_tier") or "default"
    if tier not in SERVICE_TIERS:
        raise FieldRefused("service_tier", "this service tier has no price here", unsupported=True)
    stream = _flag(body, "stream")
    max_field, client_max = _client_max(body)
    return ChatFacts(
        model=model,
        stream=stream,
        include_usage=stream and _include_usage(body),
        choices=_integer(body, "n", 1, CHOICES_MAX) or 1,
        client_max_tokens=client_max,
        max_field=max_field,
        tools=tuple(_tool_names(body)),
        service_tier=tier,
        content=_content(messages),
    )


def outgoing(
    body: Mapping[str, Any], facts: ChatFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with the upstream's model name, our cap and, for streams, the usage report."""
    sent = dict(body)
    sent["model"] = model
    if cap is not None:
        sent[facts.max_field or cap_field] = cap
        if facts.max_field is None:
            sent.pop("max_completion_tokens" if cap_field == "max_tokens" else "max_tokens", None)
        elif "max_tokens" in sent and "max_completion_tokens" in sent:
            sent["max_tokens"] = sent["max_completion_tokens"] = cap
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
        if left:
            kept[field] = left
        else:
            del kept[field]
            kept.pop("tool_choice" if field == "tools" else "function_call", None)
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


def tool_calls_in(messages: list[Any]) -> Iterator[tuple[str, str]]:
    """(name, arguments as sent) of every tool call in assistant messages."""
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") != "assistant":
            continue
        for call in message.get("tool_calls") or ():
            function = call.get("function") or call.get("custom") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping):
                yield str(function.get("name")), str(function.get("arguments", function.get("input", "")))


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
    old = _integer(body, "max_tokens", 1, None)
    new = _integer(body, "max_completion_tokens", 1, None)
    if old is not None and new is not None and old != new:
        raise FieldRefused("max_tokens", "`max_tokens` and `max_completion_tokens` differ; send one of them")
    if new is not None:
        return "max_completion_tokens", new
    return ("max_tokens", old) if old is not None else (None, None)


def _integer(body: Mapping[str, Any], field: str, least: int, most: int | None) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bound = f"at least {least}" if most is None else f"from {least} to {most}"
        raise FieldRefused(field, f"`{field}` must be an integer {bound}")
    return value


def _flag(body: Mapping[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise FieldRefused(field, f"`{field}` must be true or false")
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
    for message in messages:
        if not isinstance(message, Mapping):
            raise FieldRefused("messages", "every message must be an object")
        parts = message.get("content")
        if not isinstance(parts, list):
            continue
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
