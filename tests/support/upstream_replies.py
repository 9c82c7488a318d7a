"""The OpenAI wire format of the scripted upstream: whole replies and stream events, and the usage they report.

Counting rule: one content event = one word = one completion token a choice; four bytes of message text = one prompt
token. So a test can say beforehand what the books must show.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.upstream_script import Script

CREATED = 1_700_000_000


def encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value: object) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def message_text(request: Mapping[str, Any]) -> str:
    """All text of messages, prompt or input, parts included."""
    found: list[str] = []
    given = request.get("input")
    for message in [*(request.get("messages") or []), *(given if isinstance(given, list) else [])]:
        content = message.get("content", message.get("output")) if isinstance(message, dict) else None
        if isinstance(content, str):
            found.append(content)
        elif isinstance(content, list):
            found.extend(part.get("text", "") for part in content if isinstance(part, dict))
    if isinstance(given, str):
        found.append(given)
    elif isinstance(given, list):
        found.extend(item for item in given if isinstance(item, str))
    return "\n".join(found)


def prompt_tokens_of(request: Mapping[str, Any]) -> int:
    return max(1, -(-len(message_text(request).encode()) // 4))


def _words(script: Script, request: Mapping[str, Any]) -> tuple[list[str], str]:
    """The words of the reply and its finish reason, after the cap."""
    words = (
        [f"word{n} " for n in range(script.events)]
        if script.text is None
        else [word + " " for word in script.text.split(" ")]
    )
    reason = script.finish_reason or ("tool_calls" if script.tool_calls else "stop")
    cap = request.get("max_completion_tokens", request.get("max_tokens"))
    if script.obey_cap and isinstance(cap, int) and cap < len(words):
        return words[:cap], "length"
    return words, reason


def usage_object(script: Script, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    if isinstance(script.usage, Mapping):
        return dict(script.usage)
    if script.usage == "zero":
        prompt_tokens = completion_tokens = 0
    if script.usage == "negative":
        prompt_tokens, completion_tokens = -prompt_tokens, -completion_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": script.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
    }


def _tool_calls(script: Script, call: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{call}_{index}",
            "type": "function",
            "function": {"name": tool["name"], "arguments": json.dumps(tool.get("arguments", {}))},
        }
        for index, tool in enumerate(script.tool_calls)
    ]


def chat_reply(script: Script, request: Mapping[str, Any], call: int) -> dict[str, Any]:
    words, reason = _words(script, request)
    choices = int(request.get("n") or 1)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words), "refusal": None}
    if script.tool_calls:
        message |= {"content": None, "tool_calls": _tool_calls(script, call)}
    reply: dict[str, Any] = {
        "id": f"chatcmpl-mock-{call}",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": reason} for index in range(choices)
        ],
        "usage": usage_object(script, prompt_tokens_of(request), len(words) * choices),
        "x_unknown_reply_field": {"kept": True},
    }
    if script.usage == "missing":
        del reply["usage"]
    if script.usage == "null":
        reply["usage"] = None
    return reply


class ChatStream:
    """The events of one streamed reply. `usage` is what was reported so far, `content_events` what was yielded."""

    def __init__(self, script: Script, request: Mapping[str, Any], call: int) -> None:
        self._script = script
        self._request = request
        self._call = call
        self._choices = int(request.get("n") or 1)
        self._prompt_tokens = prompt_tokens_of(request)
        self.content_events = 0
        self.usage: dict[str, Any] | None = None

    def events(self) -> Iterator[tuple[bytes, bool]]:
        """Pairs of an encoded event and whether it is content (paced and counted)."""
        words, reason = _words(self._script, self._request)
        yield self._chunk([self._choice(index, {"role": "assistant", "content": ""}) for index in range(self._choices)])
        if self._script.tool_calls:
            for position, call in enumerate(_tool_calls(self._script, self._call)):
                self.content_events += 1
                delta = {"tool_calls": [{"index": position, **call}]}
                yield sse(self._frame([self._choice(0, delta)])), True
        else:
            for word in self._endless() if self._script.fault == "endless" else words:
                for index in range(self._choices):
                    self.content_events += 1
                    yield self._content(index, word), True
        yield from self._ending(reason)

    def _endless(self) -> Iterator[str]:
        while True:
            yield f"word{self.content_events} "

    def _content(self, index: int, word: str) -> bytes:
        frame = self._frame([self._choice(index, {"content": word})])
        if self._script.usage == "each":
            frame["usage"] = self._report()
        return sse(frame)

    def _ending(self, reason: str) -> Iterator[tuple[bytes, bool]]:
        last = self._frame([self._choice(index, {}, reason) for index in range(self._choices)])
        if self._script.usage in ("in_choice", "each"):
            last["usage"] = self._report()
        yield sse(last), False
        asked = bool((self._request.get("stream_options") or {}).get("include_usage"))
        usage = self._script.usage
        trailing = asked and usage not in ("missing", "in_choice", "each", "late")
        if trailing and usage == "double":
            yield sse({**self._frame([]), "usage": usage_object(self._script, 1, 1)}), False
        if trailing:
            yield sse({**self._frame([]), "usage": None if usage == "null" else self._report()}), False
        yield b"data: [DONE]\n\n", False
        if asked and usage == "late":
            yield sse({**self._frame([]), "usage": self._report()}), False

    def _report(self) -> dict[str, Any]:
        self.usage = usage_object(self._script, self._prompt_tokens, self.content_events)
        return self.usage

    def _chunk(self, choices: list[dict[str, Any]]) -> tuple[bytes, bool]:
        return sse(self._frame(choices)), False

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-mock-{self._call}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self._request.get("model"),
            "choices": choices,
        }

    @staticmethod
    def _choice(index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": reason}


def embeddings_reply(script: Script, request: Mapping[str, Any]) -> dict[str, Any]:
    given = request.get("input")
    items = given if isinstance(given, list) and given and isinstance(given[0], str) else [given]
    size = int(request.get("dimensions") or 8)
    reply: dict[str, Any] = {
        "object": "list",
        "model": request.get("model"),
        "data": [
            {"object": "embedding", "index": index, "embedding": [float(at == index % size) for at in range(size)]}
            for index in range(len(items))
        ],
    }
    if script.usage != "missing":
        usage = usage_object(script, prompt_tokens_of(request), 0)
        reply["usage"] = {key: usage[key] for key in ("prompt_tokens", "total_tokens") if key in usage}
    return reply


def models_reply() -> dict[str, Any]:
    names = ("mock-ok", "mock-slow", "mock-long")
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": CREATED, "owned_by": "mock"} for name in names],
    }


def not_found(path: str) -> dict[str, Any]:
    return {"error": {"message": f"no route {path}", "type": "invalid_request_error", "code": "not_found"}}
