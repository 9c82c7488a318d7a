"""Replies and streams of OpenAI Responses from and to the neutral form."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.usage import Usage
from gateway.core.wire import neutral
from gateway.core.wire.neutral import NeutralReply, Stop
from gateway.core.wire.openai_neutral_reply import error_text
from gateway.core.wire.responses_items import call_of, kind_of, output_texts
from gateway.core.wire.responses_neutral_request import CUSTOM_CALL, FREE_TEXT
from gateway.core.wire.responses_reply import BLANK, reply_usage, usage_object

_CUTS: Mapping[str, Stop] = {"max_output_tokens": Stop.LENGTH, "content_filter": Stop.FILTER}
_REASONS: Mapping[Stop, str] = {stop: reason for reason, stop in _CUTS.items()}
_TEXT_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THINKING_DELTAS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})


def read_reply(reply: Mapping[str, Any]) -> NeutralReply:
    output = reply.get("output")
    parts = [part for item in (output if isinstance(output, list) else ()) for part in _read_item(item)]
    usage, _ = reply_usage(reply)
    return NeutralReply(
        str(reply.get("id") or ""), str(reply.get("model") or ""), tuple(parts), _stop(reply, parts), usage
    )


def write_reply(reply: NeutralReply) -> dict[str, Any]:
    spelled = {tool.name: tool.spelled for tool in reply.tools}
    output: list[dict[str, Any]] = []
    for part in reply.parts:
        match part:
            case neutral.Text(text=text):
                output.append(_message(reply.id, len(output), text))
            case neutral.Thinking(text=text):
                output.append(_reasoning(reply.id, len(output), text))
            case neutral.ToolUse():
                output.append(_call(reply.id, len(output), part, spelled.get(part.name, {})))
    return _response(reply.id, reply.model, output, reply.stop, reply.usage)


class ResponsesReader:
    """Reads a provider's stream."""

    def __init__(self) -> None:
        self._arguments_seen = False
        self._parts: list[neutral.Part] = []

    def rest(self) -> list[neutral.Delta]:
        return []

    def feed(self, chunk: Mapping[str, Any]) -> list[neutral.Delta]:
        kind, text = chunk.get("type"), chunk.get("delta")
        if isinstance(text, str) and text:
            return self._delta(kind, text)
        match chunk:
            case {"type": "response.created", "response": dict(response)}:
                return [neutral.Started(str(response.get("id") or ""), str(response.get("model") or ""))]
            case {"type": "response.output_item.added", "item": {"type": "function_call"} as item}:
                self._arguments_seen = False
                return [neutral.ToolStarted(str(item.get("call_id") or ""), str(item.get("name") or ""))]
            case {
                "type": "response.output_item.done",
                "item": {"type": "function_call", "arguments": str(whole)} as item,
            }:
                self._parts += _read_item(item)
                return [] if self._arguments_seen or not whole else [neutral.ToolArguments(whole)]
            case {"type": "response.completed" | "response.incomplete", "response": dict(response)}:
                usage, _ = reply_usage(response)
                ended = neutral.Ended(_stop(response, self._parts))
                return [ended, *([] if usage is None else [neutral.Reported(usage)]), neutral.Finished()]
            case {"type": "response.failed", "response": dict(response)}:
                return [neutral.Failed(error_text(response))]
            case {"type": "error", **error}:
                return [neutral.Failed(error_text({"error": error.get("error") or error}))]
        return []

    def _delta(self, kind: Any, text: str) -> list[neutral.Delta]:
        if kind in _TEXT_DELTAS:
            return [neutral.TextDelta(text)]
        if kind in _THINKING_DELTAS:
            return [neutral.ThinkingDelta(text)]
        if kind == "response.function_call_arguments.delta":
            self._arguments_seen = True
            return [neutral.ToolArguments(text)]
        return []


class ResponsesWriter:
    """Writes a stream for a client: one item after the other, each with the events of its begin and its end."""

    def __init__(self, include_usage: bool) -> None:
        self._number = -1
        self._id = ""
        self._model = ""
        self._output: list[dict[str, Any]] = []
        self._open: neutral.Text | neutral.Thinking | neutral.ToolUse | None = None
        self._stop = Stop.END
        self._usage: Usage | None = None
        self._spelled: dict[str, Mapping[str, str]] = {}

    def write(self, delta: neutral.Delta) -> list[Mapping[str, Any]]:
        return list(self._events(delta))

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        data = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
        return b"event: " + str(chunk["type"]).encode() + b"\ndata: " + data + b"\n\n"

    def last(self) -> bytes:
        return b""

    def _events(self, delta: neutral.Delta) -> Iterator[dict[str, Any]]:
        match delta:
            case neutral.Declared(tools=tools):
                self._spelled = {tool.name: tool.spelled for tool in tools}
            case neutral.Started(id=at, model=model):
                self._id, self._model = at, model
                yield self._event(
                    "created", response={**_response(at, model, [], self._stop, None), "status": "in_progress"}
                )
            case neutral.TextDelta(text=text):
                yield from self._text(text)
            case neutral.ThinkingDelta(text=text):
                yield from self._thinking(text)
            case neutral.ToolStarted(id=at, name=name):
                yield from self._begin(neutral.ToolUse(at, name, ""))
            case neutral.ToolArguments(text=text) if isinstance(self._open, neutral.ToolUse):
                self._open = neutral.ToolUse(self._open.id, self._open.name, self._open.arguments + text)
                if not self._is_custom:  # its free text is read out of the whole
                    yield self._in_item("function_call_arguments.delta", delta=text)
            case neutral.Ended(stop=stop):
                self._stop = stop
                yield from self._close()
            case neutral.Reported(usage=usage):
                self._usage = usage
            case neutral.Finished():
                yield from self._close()
                response = _response(self._id, self._model, self._output, self._stop, self._usage)
                yield self._event(response["status"], response=response)

    def _text(self, text: str) -> Iterator[dict[str, Any]]:
        if not isinstance(self._open, neutral.Text):
            yield from self._begin(neutral.Text(""))
            yield self._in_item("content_part.added", content_index=0, part=_text_part(""))
        if isinstance(self._open, neutral.Text):
            self._open = neutral.Text(self._open.text + text)
        yield self._in_item("output_text.delta", content_index=0, delta=text, logprobs=[])

    def _thinking(self, text: str) -> Iterator[dict[str, Any]]:
        if not isinstance(self._open, neutral.Thinking):
            yield from self._begin(neutral.Thinking(""))
            yield self._in_item("reasoning_summary_part.added", summary_index=0, part=_summary_part(""))
        if isinstance(self._open, neutral.Thinking):
            self._open = neutral.Thinking(self._open.text + text)
        yield self._in_item("reasoning_summary_text.delta", summary_index=0, delta=text)

    def _begin(self, part: neutral.Text | neutral.Thinking | neutral.ToolUse) -> Iterator[dict[str, Any]]:
        yield from self._close()
        self._open = part
        begun = {**self._item(), "status": "in_progress"}
        begun |= {name: [] for name in ("content", "summary") if name in begun}
        begun |= {name: "" for name in ("arguments", "input") if name in begun}
        yield self._event("output_item.added", output_index=len(self._output), item=begun)

    def _close(self) -> Iterator[dict[str, Any]]:
        match self._open:
            case None:
                return
            case neutral.Text(text=text):
                yield self._in_item("output_text.done", content_index=0, text=text, logprobs=[])
                yield self._in_item("content_part.done", content_index=0, part=_text_part(text))
            case neutral.Thinking(text=text):
                yield self._in_item("reasoning_summary_text.done", summary_index=0, text=text)
                yield self._in_item("reasoning_summary_part.done", summary_index=0, part=_summary_part(text))
            case neutral.ToolUse() if self._is_custom:
                text = self._item()["input"]
                yield self._in_item("custom_tool_call_input.delta", delta=text)
                yield self._in_item("custom_tool_call_input.done", input=text)
            case neutral.ToolUse(name=name, arguments=arguments):
                if not arguments:
                    yield self._in_item("function_call_arguments.delta", delta="{}")
                yield self._in_item("function_call_arguments.done", name=name, arguments=arguments or "{}")
        item = self._item()
        yield self._event("output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._open = None

    @property
    def _is_custom(self) -> bool:
        use = self._open
        return isinstance(use, neutral.ToolUse) and self._spelled.get(use.name, {}).get("type") == CUSTOM_CALL

    def _item(self) -> dict[str, Any]:
        place = len(self._output)
        match self._open:
            case neutral.ToolUse() as use:
                return _call(self._id, place, use, self._spelled.get(use.name, {}))
            case neutral.Thinking(text=text):
                return _reasoning(self._id, place, text)
            case neutral.Text(text=text):
                return _message(self._id, place, text)
        raise AssertionError("no item is open")

    def _in_item(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._event(kind, item_id=self._item()["id"], output_index=len(self._output), **fields)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": f"response.{kind}", "sequence_number": self._number, **fields}


def _read_item(item: Any) -> Iterator[neutral.Part]:
    if not isinstance(item, Mapping):
        return
    kind = kind_of(item)
    if kind == "function_call" and (call := call_of(item)) is not None:
        yield neutral.ToolUse(str(item.get("call_id") or ""), call[0], call[1] or "{}")
    elif kind in ("message", "reasoning") and (text := "".join(output_texts(item))):
        yield neutral.Text(text) if kind == "message" else neutral.Thinking(text)


def _stop(response: Mapping[str, Any], parts: list[neutral.Part]) -> Stop:
    details = response.get("incomplete_details")
    if isinstance(details, Mapping) and (cut := _CUTS.get(str(details.get("reason")))) is not None:
        return cut
    return Stop.TOOL_USE if any(isinstance(part, neutral.ToolUse) for part in parts) else Stop.END


def _response(at: str, model: str, output: list[dict[str, Any]], stop: Stop, usage: Usage | None) -> dict[str, Any]:
    reason = _REASONS.get(stop)
    return {
        **BLANK,
        "id": at,
        "model": model,
        "status": "completed" if reason is None else "incomplete",
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": list(output),
        "usage": None if usage is None else usage_object(usage),
    }


def _message(response_id: str, place: int, text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{response_id}_{place}",
        "role": "assistant",
        "status": "completed",
        "content": [_text_part(text)],
    }


def _reasoning(response_id: str, place: int, text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": f"rs_{response_id}_{place}", "summary": [_summary_part(text)]}


def _call(response_id: str, place: int, use: neutral.ToolUse, spelled: Mapping[str, str]) -> dict[str, Any]:
    item = {
        "type": "function_call",
        "id": f"fc_{response_id}_{place}",
        "call_id": use.id,
        "name": use.name,
        "status": "completed",
        **spelled,
    }
    if item["type"] == CUSTOM_CALL:
        return {**item, "id": f"ctc_{response_id}_{place}", "input": _free_text(use.arguments)}
    return {**item, "arguments": use.arguments or "{}"}


def _free_text(arguments: str) -> str:
    """What a custom tool is given, out of the one argument that it has as a function."""
    try:
        found = json.loads(arguments)
    except ValueError:
        return arguments
    text = found.get(FREE_TEXT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}
