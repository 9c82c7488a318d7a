"""The Bedrock wire format of the scripted upstream: converse, and invoke with Anthropic's messages in its envelope.
Counting rule as for chat: one content event = one word = one output token; four bytes of text = one token of prompt."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from tests.support.upstream_frames import frame
from tests.support.upstream_messages import MessagesStream
from tests.support.upstream_replies import encode, prompt_tokens_of
from tests.support.upstream_script import Script

STREAMED = ("/converse-stream", "/invoke-with-response-stream")
ACTIONS = (*STREAMED, "/converse", "/invoke")


def asked(path: str, document: dict[str, Any]) -> dict[str, Any]:
    """The request with the model and the stream that its path names, where the other formats have them."""
    if "/model/" not in path or not path.endswith(ACTIONS):
        return document
    name, _, action = path.rpartition("/model/")[2].rpartition("/")
    return {**document, "model": unquote(name), "stream": f"/{action}" in STREAMED}


def usage_object(script: Script, prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
    if isinstance(script.usage, Mapping):
        return dict(script.usage)
    return {
        "inputTokens": prompt_tokens,
        "outputTokens": output_tokens,
        "totalTokens": prompt_tokens + output_tokens + script.cached_tokens,
        "cacheReadInputTokens": script.cached_tokens,
        "cacheWriteInputTokens": 0,
    }


class ConverseStream:
    """The frames of one streamed reply. `usage` is what was reported so far, `content_events` what was yielded."""

    def __init__(self, script: Script, request: Mapping[str, Any], call: int) -> None:
        self._script = script
        self._request = request
        self._call = call
        self._words = (
            [f"word{n} " for n in range(script.events)]
            if script.text is None
            else [word + " " for word in script.text.split(" ")]
        )
        self._reason = script.finish_reason or ("tool_use" if script.tool_calls else "end_turn")
        cap = (request.get("inferenceConfig") or {}).get("maxTokens")
        if script.obey_cap and isinstance(cap, int) and cap < len(self._words):
            self._words, self._reason = self._words[:cap], "max_tokens"
        self.content_events = 0
        self.usage: dict[str, Any] | None = None

    def events(self) -> Iterator[tuple[bytes, bool]]:
        """Pairs of an encoded frame and whether it is content (paced and counted)."""
        yield frame("messageStart", {"role": "assistant"}), False
        for at, use in enumerate(self._uses()):
            self.content_events += 1
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            yield frame("contentBlockStart", {"start": start, "contentBlockIndex": at}), True
            delta = {"toolUse": {"input": json.dumps(use["input"])}}
            yield frame("contentBlockDelta", {"delta": delta, "contentBlockIndex": at}), False
            yield frame("contentBlockStop", {"contentBlockIndex": at}), False
        if not self._script.tool_calls:
            for word in self._endless() if self._script.fault == "endless" else self._words:
                self.content_events += 1
                yield frame("contentBlockDelta", {"delta": {"text": word}, "contentBlockIndex": 0}), True
            yield frame("contentBlockStop", {"contentBlockIndex": 0}), False
        yield frame("messageStop", {"stopReason": self._reason}), False
        if self._script.usage != "missing":
            self.usage = usage_object(self._script, prompt_tokens_of(self._request), self.content_events)
            yield frame("metadata", {"usage": self.usage, "metrics": {"latencyMs": 1}}), False

    def whole(self) -> dict[str, Any]:
        uses: list[dict[str, Any]] = [{"toolUse": use} for use in self._uses()]
        message = {"role": "assistant", "content": uses or [{"text": "".join(self._words)}]}
        reply: dict[str, Any] = {"output": {"message": message}, "stopReason": self._reason}
        if self._script.usage != "missing":
            reply["usage"] = usage_object(self._script, prompt_tokens_of(self._request), len(self._words))
        return reply

    def _uses(self) -> list[dict[str, Any]]:
        return [
            {"toolUseId": f"tooluse_{self._call}_{at}", "name": tool["name"], "input": tool.get("arguments", {})}
            for at, tool in enumerate(self._script.tool_calls)
        ]

    def _endless(self) -> Iterator[str]:
        while True:
            yield f"word{self.content_events} "


class InvokeStream(MessagesStream):
    """Anthropic's events, each in a frame; the last has Bedrock's own metrics beside it."""

    def events(self) -> Iterator[tuple[bytes, bool]]:
        for event, content in super().events():
            data = json.loads(event.partition(b"data: ")[2])
            if data["type"] == "message_stop":
                data["amazon-bedrock-invocationMetrics"] = {"invocationLatency": 1, "firstByteLatency": 1}
            yield frame("chunk", {"bytes": base64.b64encode(encode(data)).decode(), "p": "abc"}), content
