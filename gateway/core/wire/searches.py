"""Searches that a provider runs and bills beside tokens: how many a request allows, and how many an answer used.

A request that says no number is sent with one where its format has a field for it, so that a hold is a bound; Gemini
has none, so there the number is assumed and an overrun is told. What a search finds is input that is not in the body,
but with Gemini, which bills none of it.
Sources: Anthropic web search tool (`max_uses`, `usage.server_tool_use`), OpenAI web search (only actions of type
`search` are billed) and `max_tool_calls`, Gemini grounding (`webSearchQueries`); all as of 2026-11.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.media import NO_MEDIA, Media
from gateway.core.tool_name import builtin
from gateway.core.usage import TOKENS_MAX, report_count, report_object
from gateway.core.wire.facts import FieldRefused, Searches

SEARCHES_ASSUMED = 10
"""In one answer, where the request sets no maximum of its own."""
WEB, FETCH, FILES = builtin("web_search"), builtin("web_fetch"), builtin("file_search")
_MESSAGES_TOOLS: Mapping[str, str] = {WEB: "web", FETCH: "fetches"}
_RESPONSES_TOOLS: Mapping[str, str] = {WEB: "web", FILES: "files"}
_MAX_USES, _MAX_TOOL_CALLS = "max_uses", "max_tool_calls"


def allowed(searches: Iterable[tuple[str, Searches]], stripped: frozenset[str]) -> Searches:
    """The most of all tools that are still in the request."""
    left = [each for name, each in searches if name not in stripped]
    return Searches(*(sum(figures) for figures in zip(*left, strict=True))) if left else NO_SEARCHES


def most_used(searches: Searches, sound_tokens: int) -> Media:
    """What of it has a fee, which fetching a page has not, beside the tokens that may be sound."""
    if searches is NO_SEARCHES and not sound_tokens:
        return NO_MEDIA
    return Media(web_searches=searches.web, file_searches=searches.files, sound_tokens=sound_tokens)


def messages_tool(tool: Mapping[str, Any]) -> str | None:
    """The name of a tool of Anthropic messages that the provider runs and whose price is known."""
    kind = tool.get("type")
    name = builtin(kind) if isinstance(kind, str) and kind.startswith(("web_search_", "web_fetch_")) else None
    return name if name in _MESSAGES_TOOLS else None


def messages_searches(tools: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, Searches], ...]:
    """Raises FieldRefused."""
    found = []
    for tool in tools:
        if (name := messages_tool(tool)) is not None:
            most = _number(tool, _MAX_USES, f"tools.{_MAX_USES}")
            found.append((name, _searches(_MESSAGES_TOOLS[name], most)))
    return tuple(found)


def bounded_messages(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body in which every tool that searches has a maximum."""
    tools = [
        tool
        if messages_tool(tool) is None or tool.get(_MAX_USES) is not None
        else {**tool, _MAX_USES: SEARCHES_ASSUMED}
        for tool in body["tools"]
    ]
    return {**body, "tools": tools}


def responses_searches(body: Mapping[str, Any], provider_tools: Iterable[str]) -> tuple[tuple[str, Searches], ...]:
    """One maximum holds for all tools together, so each may take it whole. Raises FieldRefused."""
    names = [name for name in dict.fromkeys(provider_tools) if name in _RESPONSES_TOOLS]
    if not names:
        return ()
    most = _number(body, _MAX_TOOL_CALLS, _MAX_TOOL_CALLS)
    return tuple((name, _searches(_RESPONSES_TOOLS[name], most)) for name in names)


def bounded_responses(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with a maximum of calls of the provider's tools."""
    return {**body} if body.get(_MAX_TOOL_CALLS) is not None else {**body, _MAX_TOOL_CALLS: SEARCHES_ASSUMED}


def of_messages_report(report: Any) -> int:
    """The searches that a report of usage tells. Raises UsageInvalid."""
    told = report.get("server_tool_use") if isinstance(report, Mapping) else None
    return 0 if told is None else report_count(report_object("server_tool_use", told), "web_search_requests") or 0


def is_messages_search(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "server_tool_use" and block.get("name") == "web_search"


def of_responses_items(items: Iterable[Mapping[str, Any]]) -> Media:
    """What the items of an answer tell; opening a page and finding in it are free."""
    web = files = 0
    for item in items:
        if item.get("type") == "web_search_call":
            action = item.get("action")
            web += not isinstance(action, Mapping) or action.get("type") in (None, "search")
        files += item.get("type") == "file_search_call"
    return Media(web_searches=web, file_searches=files)


def of_candidate(candidate: Mapping[str, Any]) -> int:
    """The searches that a Gemini candidate tells so far; grounding without its queries is one."""
    grounding = candidate.get("groundingMetadata")
    if not isinstance(grounding, Mapping):
        return 0
    queries = grounding.get("webSearchQueries")
    return len(queries) if isinstance(queries, list) and queries else int(bool(grounding.get("groundingChunks")))


def _searches(kind: str, most: int) -> Searches:
    return Searches(**{kind: most}, read=most)


def _number(holder: Mapping[str, Any], field: str, named: str) -> int:
    most = holder.get(field)
    if most is None:
        return SEARCHES_ASSUMED
    if type(most) is not int or not 1 <= most <= TOKENS_MAX:
        raise FieldRefused(named, f"`{named}` must be a positive integer")
    return most


NO_SEARCHES = Searches()
