"""OpenAI chat completions: which parts of a request are its prompt, and which tell it from another one."""

import json
from collections.abc import Mapping
from typing import Any

NOT_THE_REQUEST = frozenset({"messages", "metadata", "user", "safety_identifier", "prompt_cache_key", "stream_options"})
_NOT_THE_PROMPT = NOT_THE_REQUEST | {
    *("model", "max_tokens", "max_completion_tokens", "n", "stream", "temperature", "top_p", "seed", "stop", "store"),
    *("frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "service_tier"),
}
"""Fields that add nothing to the prompt. Any other may: servers take documents, templates and more beside messages."""


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """What adds to the prompt beside the messages."""
    return {name: value for name, value in body.items() if name not in _NOT_THE_PROMPT and value is not None}


def written(value: Any) -> str:
    """As JSON, compact."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def texts(body: Mapping[str, Any]) -> list[str]:
    """All inline text of a chat request, as a tokenizer should count it."""
    found: list[str] = []
    for message in body["messages"]:
        for name, value in message.items():
            if isinstance(value, str):
                found.append(value)
            elif isinstance(value, list):
                found += [_part_text(part) for part in value]
            elif value is not None:
                found.append(f"{name} {written(value)}")
    rest = beside(body)
    return [*found, written(rest)] if rest else found


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    if isinstance(text := part.get("text"), str):
        return text
    if part.get("type") in ("image_url", "input_audio", "file"):
        return ""
    return written(part)
