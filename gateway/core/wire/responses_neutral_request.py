"""Requests of OpenAI Responses from and to the neutral form. Format: the OpenAI API reference as of 2026-11."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.wire import members, neutral
from gateway.core.wire.answer_shape import Shape, openai_shape, shape_of
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.neutral import Choice, Message, NeutralRequest, Role
from gateway.core.wire.openai_neutral_request import image_of, image_url
from gateway.core.wire.responses_items import call_of, kind_of
from gateway.core.wire.responses_members import objects
from gateway.core.wire.responses_request import CAP_FIELD, messages_of
from gateway.core.wire.responses_tools import in_namespace
from gateway.core.wire.untranslatable import untranslatable

LEFT_OUT = (
    *("metadata", "store", "prompt_cache_key", "prompt_cache_retention", "service_tier", "include", "client_metadata"),
    *("reasoning", "truncation", "max_tool_calls", "stream_options"),
)
"""Fields that hint at how the provider works: another family's provider has its own way."""
_UNDERSTOOD = frozenset(
    {
        *("model", "input", "instructions", CAP_FIELD, "temperature", "top_p", "stream", "tools", "tool_choice"),
        *("parallel_tool_calls", "user", "safety_identifier", "text", "background"),
    }
)
CUSTOM_CALL = "custom_tool_call"
FREE_TEXT = "input"
"""The one argument of a custom tool, which takes free text, where it has to be a function."""
_FREE_TEXT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {FREE_TEXT: {"type": "string"}},
    "required": [FREE_TEXT],
}
_NOTHING: Mapping[str, tuple[Any, ...]] = {"store": (False,)}
"""Values with which these say nothing: another provider keeps no response either."""
_ANY_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


def read_request(body: Mapping[str, Any]) -> NeutralRequest:
    """The body was checked by `responses_request.read`. Raises FieldRefused."""
    for name, value in body.items():
        if name not in _UNDERSTOOD and name not in LEFT_OUT and value not in (None, 0, []):
            raise untranslatable(name)
    text = body.get("text") or {}
    if not isinstance(text, Mapping):
        raise untranslatable("text")
    left_out = [name for name in LEFT_OUT if body.get(name) not in (None, *_NOTHING.get(name, ()))]
    choice, chosen = _read_choice(body.get("tool_choice"))
    system, messages = _read_items(body)
    return NeutralRequest(
        messages=messages,
        system=system,
        tools=tuple(tool for given in body.get("tools") or () for tool in _read_tools(given, "")),
        tool_choice=choice,
        chosen_tool=chosen,
        parallel=body.get("parallel_tool_calls") is not False,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stream=body.get("stream") is True,
        end_user=str(body.get("safety_identifier") or body.get("user") or ""),
        shape=_read_shape(text.get("format")),
        left_out=(*left_out, *members.left_out(objects(body))),
    )


def write_request(request: NeutralRequest, model: str, output_max: int, cap_field: str) -> dict[str, Any]:
    """This format has one field that caps output, and no stop sequences. Raises FieldRefused."""
    if request.stop:
        raise untranslatable("stop")
    body: dict[str, Any] = {"model": model, CAP_FIELD: output_max, "store": False}
    body["input"] = [item for message in request.messages for item in _write_items(message)]
    if request.system:
        body["instructions"] = "\n\n".join(request.system)
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.schema),
                "strict": tool.strict,
            }
            for tool in request.tools
        ]
        body["parallel_tool_calls"] = request.parallel
    if request.tool_choice is Choice.ONE:
        body["tool_choice"] = {"type": "function", "name": request.chosen_tool}
    elif request.tool_choice is not None:
        body["tool_choice"] = "required" if request.tool_choice is Choice.ANY else request.tool_choice.value
    if request.shape is not None:
        body["text"] = {"format": _write_shape(request.shape)}
    sampling = {"temperature": request.temperature, "top_p": request.top_p}
    body |= {name: value for name, value in sampling.items() if value is not None}
    if request.end_user:
        body["safety_identifier"] = request.end_user
    if request.stream:
        body["stream"] = True
    return body


def _untranslatable_item(kind: Any) -> FieldRefused:
    text = f"`input` holds an item or part that cannot be translated: {str(kind)[:40]}"
    return FieldRefused("input", text, unsupported=True)


def _read_shape(shape: Any) -> Shape | None:
    match shape:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return Shape()
        case {"type": "json_schema", "schema": dict()}:
            return shape_of(shape)
    raise untranslatable("text", "this `text.format`")


def _write_shape(shape: Shape) -> dict[str, Any]:
    if shape.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", **openai_shape(shape)}


def _read_choice(choice: Any) -> tuple[Choice | None, str]:
    match choice:
        case None:
            return None, ""
        case "auto" | "none":
            return Choice(choice), ""
        case "required":
            return Choice.ANY, ""
        case {"type": "function" | "custom", "name": str(name), **rest}:
            return Choice.ONE, in_namespace(rest.get("namespace"), name)
    raise untranslatable("tool_choice")


def _read_tools(tool: Mapping[str, Any], namespace: str) -> Iterator[neutral.Tool]:
    own = str(tool.get("name"))
    name = in_namespace(namespace, own)
    described = str(tool.get("description") or "")
    spelled = {"name": own, "namespace": namespace} if namespace else {}
    match tool.get("type"):
        case "function":
            schema = tool.get("parameters") or _ANY_ARGUMENTS
            yield neutral.Tool(name, described, schema, spelled, tool.get("strict") is True)
        case "custom":
            shape = tool.get("format")
            grammar = shape.get("definition") if isinstance(shape, Mapping) else None
            told = f"{described}\n\n`{FREE_TEXT}` follows this grammar:\n{grammar}" if grammar else described
            yield neutral.Tool(name, told, _FREE_TEXT_SCHEMA, {**spelled, "type": CUSTOM_CALL})
        case "namespace":
            for inner in tool["tools"]:
                yield from _read_tools(inner, str(tool["name"]))
        case _:
            raise untranslatable("tools")


def _read_items(body: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    """System text from the beginning, and the rest; what a developer says later on is said where it stands."""
    instructions = body.get("instructions")
    system = [instructions] if isinstance(instructions, str) and instructions else []
    found: list[Message] = []
    for item in messages_of(body):
        kind, role = kind_of(item), item.get("role")
        if kind == "message" and role in ("system", "developer") and not found:
            system += neutral.texts(_read_content(item.get("content")), "input")
        elif kind == "message":
            by = Role.ASSISTANT if role == "assistant" else Role.USER
            found.append(Message(by, tuple(_read_content(item.get("content")))))
        elif kind in ("function_call", CUSTOM_CALL):
            found.append(Message(Role.ASSISTANT, (_read_call(item),)))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            parts = tuple(_read_content(item.get("output")))
            found.append(Message(Role.USER, (neutral.ToolResult(str(item.get("call_id")), parts),)))
        elif kind == "reasoning":
            found.append(Message(Role.ASSISTANT, tuple(_read_thinking(item))))
        else:
            raise _untranslatable_item(kind)
    return tuple(system), neutral.joined(found)


def _read_call(item: Mapping[str, Any]) -> neutral.ToolUse:
    call = call_of(item)
    if call is None:
        raise _untranslatable_item(kind_of(item))
    name, arguments = call
    if kind_of(item) == CUSTOM_CALL:
        arguments = json.dumps({FREE_TEXT: arguments}, ensure_ascii=False)
    return neutral.ToolUse(str(item.get("call_id") or ""), name, arguments or "{}")


def _read_thinking(item: Mapping[str, Any]) -> Iterator[neutral.Thinking]:
    """What of it can be read; the encrypted part means something to its maker only."""
    for part in item.get("summary") or ():
        if isinstance(part, Mapping) and isinstance(text := part.get("text"), str) and text:
            yield neutral.Thinking(text)


def _read_content(content: Any) -> Iterator[neutral.Text | neutral.Image]:
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    for part in content or ():
        match part:
            case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
                if text:
                    yield neutral.Text(text)
            case {"type": "refusal", "refusal": str(text)}:
                if text:
                    yield neutral.Text(text)
            case {"type": "input_image", "image_url": str(url), **rest}:
                yield image_of(url, "input", rest.get("detail"))
            case _:
                raise _untranslatable_item(part.get("type") if isinstance(part, Mapping) else type(part).__name__)


def _write_items(message: Message) -> Iterator[dict[str, Any]]:
    """Results first: what is said with them comes after. Thinking stays behind."""
    for part in message.parts:
        if isinstance(part, neutral.ToolResult):
            yield {"type": "function_call_output", "call_id": part.id, "output": _write_output(part)}
    said = [part for part in message.parts if isinstance(part, neutral.Text | neutral.Image)]
    if said:
        assistant = message.role is Role.ASSISTANT
        content = [_write_part(part, assistant=assistant) for part in said]
        yield {"type": "message", "role": message.role.value, "content": content}
    for part in message.parts:
        if isinstance(part, neutral.ToolUse):
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}


def _write_output(result: neutral.ToolResult) -> str | list[dict[str, Any]]:
    if any(isinstance(part, neutral.Image) for part in result.parts):
        return [_write_part(part, assistant=False) for part in result.parts]
    text = "\n".join(part.text for part in result.parts if isinstance(part, neutral.Text))
    return f"Error: {text}" if result.failed else text


def _write_part(part: neutral.Text | neutral.Image, *, assistant: bool) -> dict[str, Any]:
    if isinstance(part, neutral.Text):
        return {"type": "output_text" if assistant else "input_text", "text": part.text}
    detail = {"detail": part.detail} if part.detail else {}
    return {"type": "input_image", "image_url": image_url(part), **detail}
