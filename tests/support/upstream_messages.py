"""The Anthropic wire format of the scripted upstream. Counting rule as for chat: one content event = one word = one
output token; four bytes of message text = one token of prompt, cached ones besides."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.upstream_replies import encode, prompt_tokens_of
from tests.support.upstream_script import Script


def event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + encode({"type": kind, **fields}) + b"\n\n"


def _words(script: Script, request: Mapping[str, Any]) -> tuple[list[str], str]:
    words = (
        [f"word{n} " for n in range(script.events)]
        if script.text is None
        else [word + " " for word in script.text.split(" ")]
    )
    reason = script.finish_reason or ("tool_use" if script.tool_calls else "end_turn")
    cap = request.get("max_tokens")
    if script.obey_cap and isinstance(cap, int) and cap < len(words):
        return words[:cap], "max_tokens"
    return words, reason


def usage_object(script: Script, prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
    if isinstance(script.usage, Mapping):
        return dict(script.usage)
    if script.usage == "zero":
        prompt_tokens = output_tokens = 0
    if script.usage == "negative":
        prompt_tokens, output_tokens = -prompt_tokens, -output_tokens
    return {
        "input_tokens": prompt_tokens,
        "cache_read_input_tokens": script.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _tool_uses(script: Script, call: int) -> list[dict[str, Any]]:
    return [
        {"type": "tool_use", "id": f"toolu_{call}_{index}", "name": tool["name"], "input": tool.get("arguments", {})}
        for index, tool in enumerate(script.tool_calls)
    ]


def messages_reply(script: Script, request: Mapping[str, Any], call: int) -> dict[str, Any]:
    words, reason = _words(script, request)
    text = {"type": "text", "text": "".join(words)}
    reply: dict[str, Any] = {
        "id": f"msg_mock_{call}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": _tool_uses(script, call) or [text],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage_object(script, prompt_tokens_of(request), len(words)),
        "x_unknown_reply_field": {"kept": True},
    }
    if script.usage == "missing":
        del reply["usage"]
    return reply


class MessagesStream:
    """The events of one streamed message. `usage` is what was reported so far, `content_events` what was yielded."""

    def __init__(self, script: Script, request: Mapping[str, Any], call: int) -> None:
        self._script = script
        self._request = request
        self._call = call
        self.content_events = 0
        self.usage: dict[str, Any] | None = None

    def events(self) -> Iterator[tuple[bytes, bool]]:
        """Pairs of an encoded event and whether it is content (paced and counted)."""
        script = self._script
        words, reason = _words(script, self._request)
        message = messages_reply(script, self._request, self._call)
        message |= {"content": [], "stop_reason": None}
        if script.usage != "missing":
            message["usage"] = usage_object(script, prompt_tokens_of(self._request), 1)
        yield event("message_start", message=message), False
        if script.tool_calls:
            yield from self._tools()
        else:
            yield event("content_block_start", index=0, content_block={"type": "text", "text": ""}), False
            yield event("ping"), False
            for word in self._endless() if script.fault == "endless" else words:
                self.content_events += 1
                yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}), True
            yield event("content_block_stop", index=0), False
        last: dict[str, Any] = {"delta": {"stop_reason": reason, "stop_sequence": None}}
        if script.usage != "missing":
            self.usage = usage_object(script, prompt_tokens_of(self._request), self.content_events)
            last["usage"] = self.usage
        yield event("message_delta", **last), False
        yield event("message_stop"), False

    def _tools(self) -> Iterator[tuple[bytes, bool]]:
        for index, use in enumerate(_tool_uses(self._script, self._call)):
            self.content_events += 1
            yield event("content_block_start", index=index, content_block={**use, "input": {}}), True
            written = json.dumps(use["input"])
            for part in (written[: len(written) // 2], written[len(written) // 2 :]):
                delta = {"type": "input_json_delta", "partial_json": part}
                yield event("content_block_delta", index=index, delta=delta), False
            yield event("content_block_stop", index=index), False

    def _endless(self) -> Iterator[str]:
        while True:
            yield f"word{self.content_events} "
