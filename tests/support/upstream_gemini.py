"""The Gemini wire format of the scripted upstream. Counting rule as for chat: one content event = one word = one token
of a candidate; four bytes of text = one token of prompt, cached ones among them; `reasoning_tokens` are thoughts, which
Google counts beside the candidates."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.upstream_replies import encode
from tests.support.upstream_script import Script


def asked(path: str, document: dict[str, Any]) -> dict[str, Any]:
    """The request with the model and the stream that its path names, where the other formats have them."""
    name, _, action = path.rpartition("/models/")[2].rpartition(":")
    if action.endswith("awPredict"):
        return {**document, "model": name}
    if not action.endswith("enerateContent"):
        return document
    return {**document, "model": name, "stream": action.startswith("stream")}


def contents_text(request: Mapping[str, Any]) -> str:
    parts = [part for content in request.get("contents") or [] for part in content.get("parts") or []]
    return "\n".join(part.get("text", "") for part in parts)


def _words(script: Script, request: Mapping[str, Any]) -> tuple[list[str], str]:
    words = (
        [f"word{n} " for n in range(script.events)]
        if script.text is None
        else [word + " " for word in script.text.split(" ")]
    )
    cap = (request.get("generationConfig") or {}).get("maxOutputTokens")
    if script.obey_cap and isinstance(cap, int) and cap < len(words):
        return words[:cap], "MAX_TOKENS"
    return words, script.finish_reason or "STOP"


def usage_object(script: Script, prompt_tokens: int, candidates: int) -> dict[str, Any]:
    if isinstance(script.usage, Mapping):
        return dict(script.usage)
    if script.usage == "zero":
        prompt_tokens = candidates = 0
    if script.usage == "negative":
        prompt_tokens, candidates = -prompt_tokens, -candidates
    thoughts = {"thoughtsTokenCount": script.reasoning_tokens} if script.reasoning_tokens else {}
    cached = {"cachedContentTokenCount": script.cached_tokens} if script.cached_tokens else {}
    return {
        "promptTokenCount": prompt_tokens,
        "candidatesTokenCount": candidates,
        "totalTokenCount": prompt_tokens + candidates + script.reasoning_tokens,
        **thoughts,
        **cached,
    }


class GenerateStream:
    """The chunks of one streamed reply. `usage` is what was reported so far, `content_events` what was yielded."""

    def __init__(self, script: Script, request: Mapping[str, Any], call: int) -> None:
        self._script = script
        self._request = request
        self._call = call
        self._prompt_tokens = max(1, -(-len(contents_text(request).encode()) // 4))
        self.content_events = 0
        self.usage: dict[str, Any] | None = None

    def events(self) -> Iterator[tuple[bytes, bool]]:
        """Pairs of an encoded event and whether it is content (paced and counted)."""
        words, reason = _words(self._script, self._request)
        if self._script.reasoning_tokens:
            yield self._event([{"text": "thinking", "thought": True}]), False
        if self._script.tool_calls:
            calls = [{"functionCall": _called(tool)} for tool in self._script.tool_calls]
            self.content_events += 1
            yield self._event(calls, reason), True
            return
        endless = self._script.fault == "endless"
        for number, word in enumerate(self._endless() if endless else words, 1):
            self.content_events += 1
            yield self._event([{"text": word}], reason if number == len(words) and not endless else None), True

    def whole(self) -> dict[str, Any]:
        words, reason = _words(self._script, self._request)
        self.content_events = len(words)
        calls: list[dict[str, Any]] = [{"functionCall": _called(tool)} for tool in self._script.tool_calls]
        return self._chunk(calls or [{"text": "".join(words)}], reason) | {"xUnknownReplyField": {"kept": True}}

    def _endless(self) -> Iterator[str]:
        while True:
            yield f"word{self.content_events} "

    def _event(self, parts: Sequence[Mapping[str, Any]], reason: str | None = None) -> bytes:
        return b"data: " + encode(self._chunk(parts, reason)) + b"\r\n\r\n"

    def _chunk(self, parts: Sequence[Mapping[str, Any]], reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if reason is not None:
            candidate["finishReason"] = reason
        chunk = {
            "candidates": [candidate],
            "modelVersion": self._request.get("model"),
            "responseId": f"mock-{self._call}",
        }
        if self._script.usage != "missing":
            self.usage = usage_object(self._script, self._prompt_tokens, self.content_events)
            chunk["usageMetadata"] = self.usage
        return chunk


def _called(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": tool["name"], "args": tool.get("arguments", {})}
