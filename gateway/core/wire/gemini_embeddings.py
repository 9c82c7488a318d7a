"""Gemini `embedContent` and `batchEmbedContents`: what a request asks for, checked.

Where a reply tells no usage (the older models' do not), what is booked is the count of the texts.
"""

import json
from collections.abc import Mapping
from typing import Any

from gateway.core.media import Media
from gateway.core.usage import UsageInvalid
from gateway.core.usage_gemini import from_gemini
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.multipart import Form
from gateway.core.wire.task import TaskFacts, TaskReply

INPUTS_MAX = 2048


def read(body: Mapping[str, Any], _form: Form | None) -> TaskFacts:
    """One content, or `requests` of one each. Raises FieldRefused."""
    model: str = body["model"]
    given = body.get("requests", [body])
    if not isinstance(given, list) or not 0 < len(given) <= INPUTS_MAX:
        raise FieldRefused("requests", f"`requests` must be a list of 1 to {INPUTS_MAX} entries")
    texts: list[str] = []
    for each in given:
        if not isinstance(each, dict):
            raise FieldRefused("requests", "every entry of `requests` must be an object")
        if each is not body and str(each.get("model", model)).removeprefix("models/") != model:
            raise FieldRefused("requests", "every entry of `requests` must name the model of the path")
        texts += _texts(each)
    return TaskFacts(model, tuple(texts), 0, len(texts))


def outgoing(body: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """The path says the model; each entry of a batch says it again."""
    sent = {name: value for name, value in body.items() if name != "stream"}
    name = f"models/{model}"
    if "requests" not in body:
        return {**sent, "model": name}
    del sent["model"]
    return {**sent, "requests": [{**each, "model": name} for each in body["requests"]]}


def reply(content: bytes, _kind: str, _asked: Media) -> TaskReply:
    said = json.loads(content)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    try:
        return TaskReply(from_gemini(said.get("usageMetadata")))
    except UsageInvalid:
        return TaskReply(None, bad=True)


def _texts(each: Mapping[str, Any]) -> list[str]:
    content = each.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list) or not parts:
        raise FieldRefused("content", "`content` must have `parts`")
    found = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.keys() <= {"text"} else None
        if not isinstance(text, str):
            raise FieldRefused("content", "only parts of text can be embedded here", unsupported=True)
        found.append(text)
    title = each.get("title")
    return [*found, title] if isinstance(title, str) else found
