"""Gemini generateContent: what a request asks for, checked; and the few fields that we set before it goes out.

Rule 7: fields with authority or cost are a closed list, understood here or refused by name; everything else passes
through untouched. The path of a call names its model and whether it streams; the front writes both into the body as
`model` and `stream`, and they are taken out again here. Format: the Gemini API reference, v1beta, fields as of 2026-11.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.tool_name import builtin
from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.facts import FieldRefused, RequestFacts, Searches
from gateway.core.wire.gemini_prompt import content_facts, listed, member, section, spellings, without
from gateway.core.wire.searches import SEARCHES_ASSUMED

REFUSED_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "modelConfig": "the model is chosen here, not by the upstream's router",
        "modelSelectionConfig": "the model is chosen here, not by the upstream's router",
        "routingConfig": "the model is chosen here, not by the upstream's router",
        "modelArmorConfig": "templates that are kept upstream change what was authorized",
        "speechConfig": "audio output is not governed yet",
        "imageConfig": "image output is not governed yet",
        "translationConfig": "audio output is not governed yet",
    }
)
"""Why each of these is refused, in the request or its `generationConfig`; the reason is part of the message."""

REFUSED_TOOLS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("fileSearch", "retrieval"), "what is kept upstream cannot be told apart by whom it belongs to"
        ),
        "mcpServers": "tool servers that the provider calls cannot be authorized here; connect them to this gateway",
    }
)
_FOR_A_FEE: Mapping[str, str] = MappingProxyType(
    {
        "googleMaps": "google_maps",
        "enterpriseWebSearch": "enterprise_web_search",
        "exaAiSearch": "exa_ai_search",
        "parallelAiSearch": "parallel_ai_search",
    }
)
"""Searches that the provider runs for a fee that no price here covers."""
_SEARCHES: Mapping[str, str] = MappingProxyType(
    {"googleSearch": "google_search", "googleSearchRetrieval": "google_search"}
)
"""Those whose fee is known. What they find is no input that is billed."""
_RUN_UPSTREAM: Mapping[str, str] = MappingProxyType(
    {"codeExecution": "code_execution", "urlContext": "url_context", **_FOR_A_FEE, **_SEARCHES}
)
"""Tools that the provider runs: what all but searches read is billed and not in the body, so each is held as a file."""
_RUN_BY_CLIENT: Mapping[str, str] = MappingProxyType({"computerUse": "computer_use"})
_DECLARED = "functionDeclarations"
CHOICES_MAX = 8
MAX_FIELD = "maxOutputTokens"


def read_generate(body: Mapping[str, Any]) -> RequestFacts:
    """Raises FieldRefused naming the first field that is wrong."""
    config = section(body, "generationConfig")
    for holder in (body, config):
        for name, reason in REFUSED_FIELDS.items():
            if member(holder, name) is not None:
                raise FieldRefused(name, f"`{name}` is not supported: {reason}", unsupported=True)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise FieldRefused("model", "the path must name a model")
    if not listed(body, "contents"):
        raise FieldRefused("contents", "`contents` must be a non-empty list")
    _refuse_other_modalities(config)
    member(section(section(body, "toolConfig"), "functionCallingConfig"), "allowedFunctionNames")
    tools = list(_tools(body))
    run_upstream = tuple(name for field, name in tools if field in _RUN_UPSTREAM)
    searching = [name for field, name in tools if field in _SEARCHES]
    pointers = sum(member(body, name) is not None for name in ("cachedContent", "continuationToken"))
    client_max = _integer(config, MAX_FIELD, 1, TOKENS_MAX)
    thinking, hidden = _thinking(config)
    return RequestFacts(
        model=model,
        stream=body.get("stream") is True,
        include_usage=False,
        choices=_integer(config, "candidateCount", 1, CHOICES_MAX) or 1,
        client_max_tokens=client_max,
        max_field=None if client_max is None else MAX_FIELD,
        tools=tuple(name for field, name in tools if field not in _RUN_UPSTREAM),
        service_tier=_service_tier(body),
        content=content_facts(body, pointers + len(run_upstream) - len(searching)),
        thinking_tokens=thinking,
        hidden=hidden or bool(run_upstream),
        provider_tools=run_upstream,
        unpriced=tuple(name for field, name in tools if field in _FOR_A_FEE),
        searches=tuple((name, Searches(web=SEARCHES_ASSUMED)) for name in dict.fromkeys(searching)),
    )


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with our cap where there is one. The path names the model; usage always comes."""
    sent = {name: value for name, value in body.items() if name not in ("model", "stream")}
    if cap is not None:
        config = without(section(body, "generationConfig"), MAX_FIELD)
        sent = {**without(sent, "generationConfig"), "generationConfig": {**config, MAX_FIELD: cap}}
    return sent


def without_tools(body: Mapping[str, Any], denied: frozenset[str]) -> dict[str, Any]:
    """The body with the denied tools stripped (`tools.denied_declared: strip`)."""
    left = []
    for tool in listed(body, "tools"):
        kept: dict[str, Any] = {}
        for field, value in tool.items():
            if field in spellings(_DECLARED):
                functions = [each for each in listed(tool, _DECLARED) if each.get("name") not in denied]
                kept |= {field: functions} if functions else {}
            elif _own_name(field) not in denied:
                kept[field] = value
        left += [kept] if kept else []
    sent = without(body, "tools") | ({"tools": left} if left else {})
    choice = section(section(body, "toolConfig"), "functionCallingConfig")
    allowed = member(choice, "allowedFunctionNames")
    if allowed is None and left:
        return sent
    names = [name for name in allowed if name not in denied] if isinstance(allowed, list) else []
    sent = without(sent, "toolConfig")
    if left and names:
        choice = {**without(choice, "allowedFunctionNames"), "allowedFunctionNames": names}
        others = without(section(body, "toolConfig"), "functionCallingConfig")
        sent["toolConfig"] = {**others, "functionCallingConfig": choice}
    return sent


def _tools(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, name) of everything declared. Raises FieldRefused."""
    for tool in listed(body, "tools"):
        for name, reason in REFUSED_TOOLS.items():
            if member(tool, name) is not None:
                raise FieldRefused("tools", f"`tools` with `{name}` are not supported: {reason}", unsupported=True)
        for field, value in tool.items():
            if value is None or field in spellings(_DECLARED):
                continue
            own = _own_name(field)
            if own is None:
                raise FieldRefused("tools", f"`tools` with `{field[:40]}` are not supported", unsupported=True)
            yield _field_of(field), own
        for function in listed(tool, _DECLARED):
            name = function.get("name")
            if not isinstance(name, str) or not name:
                raise FieldRefused("tools", "every function declaration must have a name")
            yield _DECLARED, name


def _own_name(field: str) -> str | None:
    """The canonical name of a tool that is declared by a field of its own."""
    known = _field_of(field)
    kind = _RUN_UPSTREAM.get(known) or _RUN_BY_CLIENT.get(known)
    return None if kind is None else builtin(kind)


def _field_of(field: str) -> str:
    known = (*_RUN_UPSTREAM, *_RUN_BY_CLIENT)
    return next((name for name in known if field in spellings(name)), field)


def _refuse_other_modalities(config: Mapping[str, Any]) -> None:
    asked = member(config, "responseModalities")
    modalities = asked if isinstance(asked, list) else [] if asked is None else [asked]
    if any(modality != "TEXT" for modality in modalities):
        raise FieldRefused("responseModalities", "only the TEXT modality is supported", unsupported=True)


def _thinking(config: Mapping[str, Any]) -> tuple[int, bool]:
    """(tokens set aside for it, whether there is any): it is billed whole and shown, if at all, as a summary."""
    thinking = section(config, "thinkingConfig")
    if not thinking:
        return 0, False
    budget = member(thinking, "thinkingBudget")
    if budget is None:
        return 0, True
    if isinstance(budget, bool) or not isinstance(budget, int) or not -1 <= budget <= TOKENS_MAX:
        raise FieldRefused("thinkingBudget", "`thinkingBudget` must be an integer, -1 or more")
    return max(0, budget), budget != 0


def _service_tier(body: Mapping[str, Any]) -> str:
    tier = member(body, "serviceTier")
    if tier is None or (isinstance(tier, str) and tier.lower() in ("unspecified", "standard")):
        return "default"
    raise FieldRefused("serviceTier", "this service tier has no price here", unsupported=True)


def _integer(holder: Mapping[str, Any], field: str, least: int, most: int) -> int | None:
    value = member(holder, field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FieldRefused(field, f"`{field}` must be an integer from {least} to {most}")
    return value
