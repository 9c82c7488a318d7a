"""Requests of Bedrock's Converse from and to the neutral form. Format: the Bedrock API reference as of 2026-11."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.wire import members, neutral
from gateway.core.wire.answer_shape import Shape
from gateway.core.wire.anthropic_neutral_request import arguments_of
from gateway.core.wire.bedrock_members import objects
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.gemini_prompt import written
from gateway.core.wire.neutral import Choice, Message, NeutralRequest, Role
from gateway.core.wire.untranslatable import untranslatable

LEFT_OUT = (
    *("requestMetadata", "performanceConfig", "serviceTier", "additionalModelResponseFieldPaths"),
    "additionalModelRequestFields",
)
"""Fields that hint at how the provider works: another family's provider has its own way."""
_UNDERSTOOD = frozenset({"model", "stream", "messages", "system", "toolConfig", "inferenceConfig", "outputConfig"})
_CONFIG_UNDERSTOOD = frozenset({"maxTokens", "temperature", "topP", "stopSequences"})
_CHOICES: Mapping[str, Choice] = MappingProxyType({"auto": Choice.AUTO, "any": Choice.ANY, "tool": Choice.ONE})
_NO_SCHEMA: Mapping[str, Any] = MappingProxyType({"type": "object", "properties": {}})
_CACHE_POINT = "cachePoint"


def read_request(body: Mapping[str, Any]) -> NeutralRequest:
    """The body was checked by `read_converse`. Raises FieldRefused."""
    config = body.get("inferenceConfig") or {}
    for holder, known in ((body, _UNDERSTOOD | set(LEFT_OUT)), (config, _CONFIG_UNDERSTOOD)):
        for name, value in holder.items():
            if name not in known and value is not None:
                raise untranslatable(name)
    tools, output = body.get("toolConfig") or {}, body.get("outputConfig") or {}
    choice, chosen = _read_choice(tools.get("toolChoice"))
    return NeutralRequest(
        messages=neutral.joined([_read_message(message) for message in body["messages"]]),
        system=tuple(neutral.texts(read_content(body.get("system")), "system")),
        tools=tuple(_read_tool(tool["toolSpec"]) for tool in tools.get("tools") or () if "toolSpec" in tool),
        tool_choice=choice,
        chosen_tool=chosen,
        temperature=config.get("temperature"),
        top_p=config.get("topP"),
        stop=tuple(config.get("stopSequences") or ()),
        stream=body.get("stream") is True,
        shape=_read_shape(output.get("textFormat")),
        left_out=(*(name for name in LEFT_OUT if body.get(name) is not None), *members.left_out(objects(body))),
    )


def write_request(request: NeutralRequest, model: str, output_max: int, cap_field: str) -> dict[str, Any]:
    """A body without model and stream, which the path says; this format has one field that caps output.

    Who the end user is has no place in it. Raises FieldRefused.
    """
    if not request.parallel:
        raise untranslatable("parallel", "at most one call of a tool an answer")
    if request.temperature is not None and request.temperature > 1:
        raise FieldRefused("temperature", "`temperature` is at most 1 at this model's provider")
    body: dict[str, Any] = {"messages": list(_write_messages(request))}
    if request.system:
        body["system"] = [{"text": text} for text in request.system]
    if request.tools and request.tool_choice is not Choice.NONE:
        body["toolConfig"] = {"tools": [_write_tool(tool) for tool in request.tools], **_choice(request)}
    elif request.tool_choice is Choice.NONE and any(_calls(message) for message in request.messages):
        raise untranslatable("tool_choice", "`none` in a conversation that has called tools")
    if request.shape is not None:
        body["outputConfig"] = {"textFormat": _write_shape(request.shape)}
    config: dict[str, Any] = {"maxTokens": output_max}
    given = {"temperature": request.temperature, "topP": request.top_p, "stopSequences": list(request.stop) or None}
    body["inferenceConfig"] = config | {name: value for name, value in given.items() if value is not None}
    return body


def _read_shape(shape: Any) -> Shape | None:
    match shape:
        case None:
            return None
        case {"type": "json_schema", "structure": {"jsonSchema": {"schema": str(text), **rest}}}:
            return Shape(_schema_in(text), str(rest.get("name") or ""), str(rest.get("description") or ""))
    raise untranslatable("outputConfig", "this `textFormat`")


def _schema_in(text: str) -> Mapping[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise FieldRefused("outputConfig", "`outputConfig` has a `schema` that is no JSON object")
    return schema


def _write_shape(shape: Shape) -> dict[str, Any]:
    if shape.schema is None:
        raise untranslatable("shape", "`shape` without a schema")
    said = {
        "schema": json.dumps(shape.schema, ensure_ascii=False),
        "name": shape.name,
        "description": shape.description,
    }
    return {"type": "json_schema", "structure": {"jsonSchema": {name: text for name, text in said.items() if text}}}


def _read_choice(choice: Any) -> tuple[Choice | None, str]:
    match choice:
        case None:
            return None, ""
        case {"tool": {"name": str(name)}}:
            return Choice.ONE, name
        case {"auto": _} | {"any": _}:
            return _CHOICES[next(iter(choice))], ""
    raise untranslatable("toolConfig", "this `toolChoice`")


def _choice(request: NeutralRequest) -> dict[str, Any]:
    match request.tool_choice:
        case Choice.ONE:
            return {"toolChoice": {"tool": {"name": request.chosen_tool}}}
        case Choice.ANY | Choice.AUTO as choice:
            return {"toolChoice": {choice.value: {}}}
    return {}


def _read_tool(spec: Mapping[str, Any]) -> neutral.Tool:
    schema = spec.get("inputSchema")
    inner = schema.get("json") if isinstance(schema, Mapping) else None
    name, described = str(spec.get("name")), str(spec.get("description") or "")
    return neutral.Tool(name, described, inner or _NO_SCHEMA, strict=spec.get("strict") is True)


def _write_tool(tool: neutral.Tool) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": dict(tool.schema)}}
    if tool.strict:
        spec["strict"] = True
    return {"toolSpec": {**spec, "description": tool.description} if tool.description else spec}


def _read_message(message: Mapping[str, Any]) -> Message:
    role = Role.ASSISTANT if message.get("role") == "assistant" else Role.USER
    return Message(role, tuple(read_content(message.get("content"))))


def read_content(content: Any) -> Iterator[neutral.Part]:
    for block in content or ():
        if _CACHE_POINT in block or block.get("text") == "":
            continue
        yield _read_block(block)


def _read_block(block: Mapping[str, Any]) -> neutral.Part:
    match block:
        case {"text": str(text)}:
            return neutral.Text(text)
        case {"document": {"source": {"text": str(text)}, **rest}}:
            about = rest.get("context")
            return neutral.Text(f"{about}\n\n{text}" if about else text)
        case {"reasoningContent": {"reasoningText": {"text": str(text)}}}:
            return neutral.Thinking(text)
        case {"image": {"format": str(kind), "source": {"bytes": str(data)}}}:
            return neutral.Image(media_type=f"image/{kind}", data=data)
        case {"toolUse": {"toolUseId": str(at), "name": str(name), **rest}}:
            return neutral.ToolUse(at, name, written(rest.get("input") or {}))
        case {"toolResult": {"toolUseId": str(at), **rest}}:
            return neutral.ToolResult(at, tuple(_read_result(rest.get("content"))), rest.get("status") == "error")
    held = next(iter(block), "nothing")
    raise FieldRefused("messages", f"`messages` hold a block that cannot be translated: {held[:40]}", unsupported=True)


def _read_result(content: Any) -> Iterator[neutral.Text | neutral.Image]:
    for block in content or ():
        part = neutral.Text(written(block["json"])) if "json" in block else _read_block(block)
        if not isinstance(part, neutral.Text | neutral.Image):
            raise FieldRefused("messages", "`messages` hold the result of a tool that cannot be translated")
        yield part


def _calls(message: Message) -> bool:
    return any(isinstance(part, neutral.ToolUse | neutral.ToolResult) for part in message.parts)


def _write_messages(request: NeutralRequest) -> Iterator[dict[str, Any]]:
    for message in request.messages:
        blocks = [write_block(part) for part in message.parts if not isinstance(part, neutral.Thinking)]
        if blocks:
            yield {"role": message.role.value, "content": blocks}


def write_block(part: neutral.Part) -> dict[str, Any]:
    match part:
        case neutral.Image(url=str(url)) if url:
            raise untranslatable("messages", "an image by its address")
        case neutral.Image():
            kind = part.media_type.removeprefix("image/")
            return {"image": {"format": "jpeg" if kind == "jpg" else kind, "source": {"bytes": part.data}}}
        case neutral.ToolUse():
            return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": arguments_of(part.arguments)}}
        case neutral.ToolResult():
            content = [write_block(inner) for inner in part.parts]
            result: dict[str, Any] = {"toolUseId": part.id, "content": content}
            return {"toolResult": {**result, "status": "error"} if part.failed else result}
    return {"text": part.text}
