"""Gemini generateContent: reading its JSON, and which parts of a request are its prompt.

Google reads JSON as protobuf does: each member has two names (`maxOutputTokens` and `max_output_tokens`), and a list of
one may be written without its brackets. What is read here is read under both names, so nothing slips past by spelling.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from gateway.core.wire.facts import NO_CONTENT_BUT_TEXT, ContentFacts, FieldRefused

ASIDE = frozenset({"contents", "labels", "store"})
"""What says nothing about whether two requests are the same; the contents are compared apart."""
_NOT_THE_PROMPT = ASIDE | {"model", "stream", "safetySettings", "serviceTier", "cachedContent", "continuationToken"}
_SHAPES = ("responseSchema", "responseJsonSchema", "responseFormat")
"""The only settings of a generation that are text of the prompt."""
_DEPTH_MAX = 8
"""How deep answers of tools may hold parts with answers of tools; the format itself knows one level."""

_HUMP = re.compile("(?<!^)[A-Z]")


@cache
def spellings(name: str) -> tuple[str, str]:
    """Both names of a member: `maxOutputTokens`, `max_output_tokens`. Asked for constants only."""
    return name, _HUMP.sub(lambda found: f"_{found[0].lower()}", name)


def member(holder: Mapping[str, Any], name: str) -> Any:
    """The member under either name; None where it is not set. Raises FieldRefused where both are."""
    camel, snake = spellings(name)
    value, other = holder.get(camel), holder.get(snake) if snake != camel else None
    if value is not None and other is not None:
        raise FieldRefused(camel, f"`{camel}` and `{snake}` are one field; send one of them")
    return other if value is None else value


def section(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A member that is an object, an empty one where it is not set. Raises FieldRefused."""
    value = member(holder, name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FieldRefused(name, f"`{name}` must be an object")
    return value


def listed(holder: Mapping[str, Any], name: str) -> list[Any]:
    """A member that is a list of objects; one object is a list of one. Raises FieldRefused."""
    value = member(holder, name)
    if value is None:
        return []
    found = [value] if isinstance(value, Mapping) else value
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise FieldRefused(name, f"`{name}` must be a list of objects")
    return found


def without(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy without a member, whichever name it has."""
    return {each: value for each, value in holder.items() if each not in spellings(name)}


def messages_of(body: Mapping[str, Any]) -> list[Any]:
    """The growing list of the conversation."""
    return listed(body, "contents")


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """What adds to the prompt beside the contents: system text, tools, the shape of the answer."""
    found = {name: value for name, value in body.items() if camel(name) not in _NOT_THE_PROMPT and value is not None}
    config = section(found, "generationConfig")
    found = without(found, "generationConfig")
    return found | {name: value for name in _SHAPES if (value := member(config, name)) is not None}


def texts(body: Mapping[str, Any]) -> list[str]:
    """All inline text of a request, as a tokenizer should count it."""
    found = [text for content in messages_of(body) for part in parts_of(content) for text in _part_texts(part)]
    rest = beside(body)
    return [*found, written(rest)] if rest else found


def parts_of(content: Mapping[str, Any]) -> list[Any]:
    """The parts of a `Content`. Raises FieldRefused."""
    return listed(content, "parts")


def content_facts(body: Mapping[str, Any], kept_elsewhere: int) -> ContentFacts:
    """What of a request is not inline text (rule 3); `kept_elsewhere` counts what it only points to beside contents."""
    counted = [0, 0, 0, kept_elsewhere]
    for content in messages_of(body):
        _count(parts_of(content), counted, _DEPTH_MAX)
    _count(parts_of(section(body, "systemInstruction")), counted, _DEPTH_MAX)
    return ContentFacts(*counted) if any(counted) else NO_CONTENT_BUT_TEXT


def written(value: Any) -> str:
    """As JSON, compact."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _count(parts: list[Any], counted: list[int], depth: int) -> None:
    """Adds to [images, bytes of inline data, audio parts, other files].

    Raises FieldRefused for what later readers of the conversation could not read.
    """
    for part in parts:
        inline = section(part, "inlineData")
        if inline:
            kind = str(member(inline, "mimeType") or "")
            place = 0 if kind.startswith("image/") else 2 if kind.startswith("audio/") else 3
            counted[place] += 1
            data = inline.get("data")
            counted[1] += len(data) if isinstance(data, str) else 0
        if member(part, "fileData") is not None:
            counted[3] += 1
        section(section(part, "functionCall"), "args")
        answer = section(part, "functionResponse")
        section(answer, "response")
        if depth:
            _count(parts_of(answer), counted, depth - 1)


def _part_texts(part: Mapping[str, Any]) -> Iterator[str]:
    text = part.get("text")
    if isinstance(text, str):
        yield text
    rest = {name: value for name, value in part.items() if name != "text" and camel(name) not in _NO_TEXT}
    if rest:
        yield written(rest)


_NO_TEXT = frozenset({"inlineData", "fileData", "thought", "thoughtSignature", "videoMetadata", "mediaResolution"})


def camel(name: str) -> str:
    """A member's name as the reference has it, of either spelling."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest) if rest else name
