"""The OpenAI Responses format of the scripted upstream. Counting rule as for chat: one content event = one word = one
output token; four bytes of input text = one token of prompt."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.upstream_replies import CREATED, encode, prompt_tokens_of
from tests.support.upstream_script import Script


def usage_object(script: Script, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    if isinstance(script.usage, Mapping):
        return dict(script.usage)
    if script.usage == "zero":
        input_tokens = output_tokens = 0
    if script.usage == "negative":
        input_tokens, output_tokens = -input_tokens, -output_tokens
    output_tokens += script.reasoning_tokens
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": script.cached_tokens},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": script.reasoning_tokens},
        "total_tokens": input_tokens + output_tokens,
    }


class Response:
    """One scripted response: whole, or as the events of a stream. `usage` is what was reported so far, `content_events`
    what was yielded."""

    def __init__(self, script: Script, request: Mapping[str, Any], call: int) -> None:
        self._script = script
        self._request = request
        self._call = call
        self._number = -1
        self.content_events = 0
        self.usage: dict[str, Any] | None = None

    def whole(self) -> dict[str, Any]:
        words, cut = self._words()
        output = [*self._thoughts(), *(self._calls() or [self._message("".join(words))])]
        self.usage = usage_object(self._script, prompt_tokens_of(self._request), len(words))
        return self._object(output, cut)

    def events(self) -> Iterator[tuple[bytes, bool]]:
        """Pairs of an encoded event and whether it is content (paced and counted)."""
        words, cut = self._words()
        yield self._event("created", response=self._object([], None, "in_progress")), False
        output: list[dict[str, Any]] = []
        for thought in self._thoughts():
            yield from self._item(len(output), thought, [("reasoning_summary_text", "so ")])
            output.append(thought)
        if calls := self._calls():
            for call in calls:
                yield from self._item(len(output), call, [("function_call_arguments", call["arguments"])])
                output.append(call)
        else:
            parts = (("output_text", word) for word in (self._endless() if self._script.fault == "endless" else words))
            message = self._message("".join(words))
            yield from self._item(len(output), message, parts)
            output.append(message)
        self.usage = usage_object(self._script, prompt_tokens_of(self._request), self.content_events)
        how = "incomplete" if cut else "completed"
        yield self._event(how, response=self._object(output, cut)), False

    def _item(self, at: int, item: dict[str, Any], parts: Any) -> Iterator[tuple[bytes, bool]]:
        begun = {**item, "status": "in_progress", **({"arguments": ""} if "arguments" in item else {})}
        if "content" in item:
            begun["content"] = []
        yield self._event("output_item.added", output_index=at, item=begun), False
        for kind, text in parts:
            self.content_events += kind != "reasoning_summary_text"
            place = {"item_id": item["id"], "output_index": at, "content_index": 0, "delta": text}
            yield self._event(f"{kind}.delta", **place, logprobs=[]), True
        yield self._event("output_item.done", output_index=at, item=item), False

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        name = f"response.{kind}"
        written = encode({"type": name, "sequence_number": self._number, **fields})
        return b"event: " + name.encode() + b"\ndata: " + written + b"\n\n"

    def _object(self, output: list[dict[str, Any]], cut: str | None, status: str | None = None) -> dict[str, Any]:
        reported = self.usage if self._script.usage not in ("missing", "null") else None
        return {
            "id": f"resp_mock_{self._call}",
            "object": "response",
            "created_at": CREATED,
            "status": status or ("incomplete" if cut else "completed"),
            "error": None,
            "incomplete_details": {"reason": cut} if cut else None,
            "model": self._request.get("model"),
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": self._request.get("tools") or [],
            "usage": reported,
            "x_unknown_reply_field": {"kept": True},
        }

    def _words(self) -> tuple[list[str], str | None]:
        script, cap = self._script, self._request.get("max_output_tokens")
        words = (
            [f"word{n} " for n in range(script.events)]
            if script.text is None
            else [word + " " for word in script.text.split(" ")]
        )
        if script.obey_cap and isinstance(cap, int) and cap < len(words):
            return words[:cap], "max_output_tokens"
        return words, None

    def _thoughts(self) -> list[dict[str, Any]]:
        if not self._script.reasoning_tokens:
            return []
        summary = [{"type": "summary_text", "text": "so "}]
        return [{"type": "reasoning", "id": f"rs_{self._call}", "summary": summary, "encrypted_content": "gAAA"}]

    def _message(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
        return {
            "type": "message",
            "id": f"msg_{self._call}",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "function_call",
                "id": f"fc_{self._call}_{index}",
                "call_id": f"call_{self._call}_{index}",
                "name": tool["name"],
                "arguments": json.dumps(tool.get("arguments", {})),
                "status": "completed",
            }
            for index, tool in enumerate(self._script.tool_calls)
        ]

    def _endless(self) -> Iterator[str]:
        while True:
            yield f"word{self.content_events} "
