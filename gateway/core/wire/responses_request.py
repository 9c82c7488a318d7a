"""OpenAI Responses: what a request asks for, checked; and the few fields that we set before it goes out.

Rule 7: fields with authority or cost are a closed list, understood here or refused by name; everything else passes
through untouched. Format: the OpenAI API reference, responses; what Codex and the SDKs send as of 2026-11.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.facts import ContentFacts, FieldRefused, RequestFacts, flag
from gateway.core.wire.responses_tools import FEES, declared, stripped
from gateway.core.wire.searches import bounded_responses, responses_searches

CAP_FIELD = "max_output_tokens"
REFUSED_FIELDS: Mapping[str, str] = {
    "prompt": "a prompt kept at the provider brings a model, tools and settings that were not authorized",
    "prediction": "rejected prediction tokens are billed unseen",
    "web_search_options": "provider-run web search has a fee that no price here covers",
    "audio": "audio output is not governed yet",
    "models": "the model is chosen here, not by a list of fallbacks",
    "route": "the model is chosen here, not by the upstream's router",
    "provider": "the provider is chosen here",
    "plugins": "provider-run plugins have fees that no price here covers",
    "transforms": "upstream prompt transforms change what was authorized",
    "preset": "the model and its settings are chosen here, not by a preset kept upstream",
    "fallbacks": "the model is chosen here, not by a list of fallbacks",
    "search_parameters": "provider-run web search has a fee that no price here covers",
    "data_sources": "provider-run retrieval has a fee and an authority of its own",
    "deferred": "background calls are not governed yet",
    "n": "a response is one answer",
    "best_of": "it is billed for answers that nobody sees",
    "max_tokens": "output is capped by `max_output_tokens` here",
    "max_completion_tokens": "output is capped by `max_output_tokens` here",
    "max_new_tokens": "output is capped by `max_output_tokens` here, which it would override",
    "n_predict": "output is capped by `max_output_tokens` here, which it would override",
    "extra_headers": "headers for the upstream are set here",
    "api_key": "credentials are held here",
    "api_base": "the upstream is chosen here",
    "base_url": "the upstream is chosen here",
}
"""Why each of these is refused; the reason is part of the message."""

SERVICE_TIERS = frozenset({"auto", "default", "standard", "flex", "priority"})
NOT_INLINE_FIELDS = ("previous_response_id", "conversation")
NOT_THE_REQUEST = frozenset(
    {
        *("input", "metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
        *("client_metadata", "stream_options", "include", "store"),
    }
)
"""Left out of the digest by which equal requests are told: they change nothing about the answer."""
NOT_THE_PROMPT = NOT_THE_REQUEST | {
    *("model", CAP_FIELD, "stream", "temperature", "top_p", "top_logprobs", "service_tier", "background", "truncation"),
    *("max_tool_calls", "parallel_tool_calls", *NOT_INLINE_FIELDS),
}
"""Fields that add nothing to the prompt beside what constants stand for. Any other may."""

_IMAGE_TYPES = frozenset({"input_image", "computer_screenshot", "image_generation_call"})
_DATA_FIELDS = ("image_url", "file_data", "data", "result")


def read(body: Mapping[str, Any]) -> RequestFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    for name, reason in REFUSED_FIELDS.items() if not REFUSED_FIELDS.keys().isdisjoint(body) else ():
        if body.get(name) is not None:
            raise FieldRefused(name, f"`{name}` is not supported: {reason}", unsupported=True)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "`model` must be a non-empty string")
    if flag(body, "background"):
        text = "`background` is not supported: such calls are not governed yet; send the request without it"
        raise FieldRefused("background", text, unsupported=True)
    tier = body.get("service_tier") or "default"
    if not isinstance(tier, str) or tier not in SERVICE_TIERS:
        raise FieldRefused("service_tier", "this service tier has no price here", unsupported=True)
    content = _content(body)
    client_max = _client_max(body)
    tools, provider_tools = declared(body.get("tools"))
    return RequestFacts(
        model=model,
        stream=flag(body, "stream"),
        include_usage=True,
        choices=1,
        client_max_tokens=client_max,
        max_field=None if client_max is None else CAP_FIELD,
        tools=tools,
        service_tier=tier,
        content=content,
        hidden=_is_hidden(body) or bool(provider_tools),
        provider_tools=provider_tools,
        unpriced=tuple(name for name in provider_tools if name in FEES),
        searches=responses_searches(body, provider_tools),
    )


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with the upstream's model name and the cap.

    The format has one field for the cap and always reports usage, so what deployments say of either is for others.
    """
    sent = {**body, "model": model}
    if cap is not None:
        sent[CAP_FIELD] = cap
    return bounded_responses(sent) if facts.searches and "tools" in sent else sent


def without_tools(body: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    """The body with the denied tools stripped (`tools.denied_declared: strip`)."""
    return stripped(body, denied)


def messages_of(body: Mapping[str, Any]) -> list[Any]:
    """The growing list: the items of `input`, whose prefix the next turn repeats. A string is its one message."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given if isinstance(given, list) else []


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """What else adds to the prompt: instructions, tools, the schema of the answer, whatever servers take."""
    return {name: value for name, value in body.items() if name not in NOT_THE_PROMPT and value is not None}


def texts(body: Mapping[str, Any]) -> list[str]:
    """All inline text, as a tokenizer should count it."""
    found: list[str] = []
    for item in messages_of(body):
        found += _item_texts(item)
    rest = beside(body)
    return [*found, json.dumps(rest, ensure_ascii=False)] if rest else found


def _item_texts(item: Any) -> Iterator[str]:
    if not isinstance(item, Mapping):
        yield str(item)
        return
    for name, value in item.items():
        if name in _DATA_FIELDS and item.get("type") in _IMAGE_TYPES:
            continue
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from map(_part_text, value)
        elif value is not None and not (isinstance(value, Mapping) and value.get("type") in _IMAGE_TYPES):
            yield f"{name} {json.dumps(value, ensure_ascii=False)}"


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    if isinstance(text := part.get("text"), str):
        return text
    if part.get("type") in _IMAGE_TYPES or part.get("type") in ("input_file", "input_audio"):
        return ""
    return json.dumps(part, ensure_ascii=False)


def _client_max(body: Mapping[str, Any]) -> int | None:
    value = body.get(CAP_FIELD)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= TOKENS_MAX:
        raise FieldRefused(CAP_FIELD, f"`{CAP_FIELD}` must be an integer from 1 to {TOKENS_MAX}")
    return value


def _is_hidden(body: Mapping[str, Any]) -> bool:
    """Whether it asks for output that is billed and not shown: reasoning, of which at most a summary comes, or a
    compaction of the conversation on the way."""
    reasoning = body.get("reasoning")
    thinks = isinstance(reasoning, Mapping) and reasoning.get("effort") != "none"
    return thinks or bool(body.get("context_management"))


def _content(body: Mapping[str, Any]) -> ContentFacts:
    """What the prompt holds beside inline text (rule 3); an earlier response or a conversation kept at the provider
    counts as a file, as does an item that is only named."""
    given = body.get("input")
    kept_upstream = sum(body.get(field) is not None for field in NOT_INLINE_FIELDS)
    if isinstance(given, str) or (given is None and kept_upstream):
        return ContentFacts(0, 0, 0, kept_upstream)
    if not isinstance(given, list) or not (given or kept_upstream):
        raise FieldRefused("input", "`input` must be a string or a non-empty list")
    images = data_bytes = audio = files = 0
    for part in _parts(given):
        kind = part.get("type")
        if kind in _IMAGE_TYPES:
            images += 1
        elif kind == "input_audio":
            audio += 1
        elif kind in ("input_file", "item_reference") or _names_an_item(part):
            files += 1
        else:
            continue
        data_bytes += _data_bytes(part)
    return ContentFacts(images, data_bytes, audio, kept_upstream + files)


def _parts(items: list[Any]) -> Iterator[Mapping[str, Any]]:
    """The items, and the parts of their content and output: whatever may be no text."""
    for item in items:
        if not isinstance(item, Mapping):
            raise FieldRefused("input", "every item of `input` must be an object")
        yield item
        for field in ("content", "output"):
            held = item.get(field)
            for part in held if isinstance(held, list) else (held,):
                if isinstance(part, Mapping):
                    yield part


def _names_an_item(part: Mapping[str, Any]) -> bool:
    """An item of which only the id is given, without the type that says so."""
    return part.keys() == {"id"}


def _data_bytes(part: Mapping[str, Any]) -> int:
    """Bytes of inline binary data: they are held by constants, not by their length."""
    return sum(_inline_bytes(name, part.get(name)) for name in (*_DATA_FIELDS, "input_audio"))


def _inline_bytes(name: str, value: Any) -> int:
    if isinstance(value, Mapping):
        return _inline_bytes("data", value.get("data"))
    if not isinstance(value, str):
        return 0
    return len(value) if name != "image_url" or value.startswith("data:") else 0
