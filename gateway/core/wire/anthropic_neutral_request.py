"""Requests of Anthropic messages from and to the neutral form. Format: the Anthropic API reference as of 2026-11."""

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.wire import members, neutral
from gateway.core.wire.answer_shape import Shape
from gateway.core.wire.anthropic_members import objects
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.neutral import Choice, Message, NeutralRequest, Role
from gateway.core.wire.untranslatable import untranslatable

LEFT_OUT = ("context_management", "service_tier", "thinking", "cache_control", "top_k", "speed")
"""Fields that hint at how the provider works: another family's provider has its own way."""
_UNDERSTOOD = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stream", "temperature", "top_p", "stop_sequences", "tools"),
        *("tool_choice", "metadata", "output_config"),
    }
)
_CHOICES: Mapping[str, Choice] = {"auto": Choice.AUTO, "any": Choice.ANY, "tool": Choice.ONE, "none": Choice.NONE}
_WORDS: Mapping[Choice, str] = {choice: word for word, choice in _CHOICES.items()}


def read_request(body: Mapping[str, Any]) -> NeutralRequest:
    """The body was checked by `read_messages`. Raises FieldRefused."""
    for name, value in body.items():
        if name not in _UNDERSTOOD and name not in LEFT_OUT and value is not None:
            raise untranslatable(name)
    output = body.get("output_config") or {}
    hints = (name for name in LEFT_OUT if body.get(name) is not None)
    choice = body.get("tool_choice") or {}
    kind = choice.get("type") if isinstance(choice, Mapping) else "?"
    if kind is not None and kind not in _CHOICES:
        raise untranslatable("tool_choice")
    system, messages = _read_messages(body)
    metadata = body.get("metadata")
    return NeutralRequest(
        messages=messages,
        system=system,
        tools=tuple(_read_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=None if kind is None else _CHOICES[kind],
        chosen_tool=str(choice.get("name") or ""),
        parallel=choice.get("disable_parallel_tool_use") is not True,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=tuple(body.get("stop_sequences") or ()),
        stream=body.get("stream") is True,
        end_user=str(metadata.get("user_id") or "") if isinstance(metadata, Mapping) else "",
        shape=_read_shape(output),
        left_out=tuple(dict.fromkeys((*hints, *members.left_out(objects(body))))),
    )


def write_request(request: NeutralRequest, model: str, output_max: int, cap_field: str) -> dict[str, Any]:
    """This format has one field that caps output. Raises FieldRefused."""
    if request.temperature is not None and request.temperature > 1:
        raise FieldRefused("temperature", "`temperature` is at most 1 at this model's provider")
    body: dict[str, Any] = {"model": model, "max_tokens": output_max}
    body["messages"] = [
        {"role": message.role.value, "content": [_written(part) for part in _sendable(message)]}
        for message in request.messages
        if any(_sendable(message))
    ]
    if request.system:
        body["system"] = [{"type": "text", "text": text} for text in request.system]
    if request.tools:
        body["tools"] = [_write_tool(tool) for tool in request.tools]
        choice = _choice(request)
        if choice is not None:
            body["tool_choice"] = choice
    sampling = {"temperature": request.temperature, "top_p": request.top_p}
    body |= {name: value for name, value in sampling.items() if value is not None}
    if request.shape is not None:
        if request.shape.schema is None:
            raise untranslatable("shape", "`shape` without a schema")
        body["output_config"] = {"format": {"type": "json_schema", "schema": request.shape.described_schema()}}
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.end_user:
        body["metadata"] = {"user_id": request.end_user}
    if request.stream:
        body["stream"] = True
    return body


def _choice(request: NeutralRequest) -> dict[str, Any] | None:
    if request.tool_choice is None and request.parallel:
        return None
    choice: dict[str, Any] = {"type": _WORDS[request.tool_choice or Choice.AUTO]}
    if request.tool_choice is Choice.ONE:
        choice["name"] = request.chosen_tool
    if not request.parallel and request.tool_choice is not Choice.NONE:
        choice["disable_parallel_tool_use"] = True
    return choice


def _untranslatable_part(kind: Any) -> FieldRefused:
    text = f"`messages` hold a block that cannot be translated: {str(kind)[:40]}"
    return FieldRefused("messages", text, unsupported=True)


def _read_shape(output: Any) -> Shape | None:
    match output:
        case {"format": {"type": "json_schema", "schema": dict(schema)}}:
            return Shape(schema)
        case {"format": None} | {}:
            if "format" not in output or output["format"] is None:
                return None
    raise untranslatable("output_config", "this `output_config`")


def _read_tool(tool: Mapping[str, Any]) -> neutral.Tool:
    if tool.get("type") not in (None, "custom"):
        raise FieldRefused(
            "tools", f"`tools` of type {tool['type']!r} are known to Anthropic's models only", unsupported=True
        )
    schema = tool.get("input_schema") or {"type": "object", "properties": {}}
    name, described = str(tool.get("name")), str(tool.get("description") or "")
    return neutral.Tool(name, described, schema, strict=tool.get("strict") is True)


def _write_tool(tool: neutral.Tool) -> dict[str, Any]:
    said: dict[str, Any] = {"name": tool.name, "description": tool.description, "input_schema": dict(tool.schema)}
    return {**said, "strict": True} if tool.strict else said


def _read_messages(body: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    system = neutral.texts(_read_content(body.get("system")), "system")
    found: list[Message] = []
    for message in body["messages"]:
        role = message.get("role")
        parts = tuple(_read_content(message.get("content")))
        if role == "assistant":
            found.append(Message(Role.ASSISTANT, parts))
        elif role in ("user", "system"):
            found.append(Message(Role.USER, parts))
        else:
            raise FieldRefused("messages", f"`messages` has a role that is not known: {str(role)[:40]}")
    return tuple(system), neutral.joined(found)


def _read_content(content: Any) -> Iterator[neutral.Part]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for block in content or ():
        kind = block.get("type") if isinstance(block, Mapping) else type(block).__name__
        if kind == "redacted_thinking" or (kind == "text" and not block.get("text")):
            continue
        read = _READERS.get(str(kind))
        part = read(block) if read is not None else None
        if part is None:
            raise _untranslatable_part(kind)
        yield part


def _read_text(block: Mapping[str, Any]) -> neutral.Part | None:
    text = block.get("text")
    return neutral.Text(text) if isinstance(text, str) else None


def _read_thinking(block: Mapping[str, Any]) -> neutral.Part | None:
    return neutral.Thinking(str(block.get("thinking") or ""))


def _read_image(block: Mapping[str, Any]) -> neutral.Part | None:
    match block.get("source"):
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return neutral.Image(media_type=kind, data=data)
        case {"type": "url", "url": str(url)}:
            return neutral.Image(url=url)
    return None


def _read_document(block: Mapping[str, Any]) -> neutral.Part | None:
    match block.get("source"):
        case {"type": "text", "data": str(text)}:
            about = (said for name in ("title", "context") if isinstance(said := block.get(name), str) and said)
            return neutral.Text("\n\n".join((*about, text)))
    return None


def _read_use(block: Mapping[str, Any]) -> neutral.Part | None:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    return neutral.ToolUse(str(block.get("id")), str(block.get("name")), arguments)


def _read_result(block: Mapping[str, Any]) -> neutral.Part | None:
    parts = tuple(_result_parts(block.get("content")))
    return neutral.ToolResult(str(block.get("tool_use_id")), parts, block.get("is_error") is True)


_READERS: Mapping[str, Callable[[Mapping[str, Any]], neutral.Part | None]] = MappingProxyType(
    {
        "text": _read_text,
        "thinking": _read_thinking,
        "image": _read_image,
        "document": _read_document,
        "tool_use": _read_use,
        "tool_result": _read_result,
    }
)


def _result_parts(content: Any) -> Iterator[neutral.Text | neutral.Image]:
    for part in _read_content(content):
        if not isinstance(part, neutral.Text | neutral.Image):
            raise _untranslatable_part(f"a tool result with {type(part).__name__}")
        yield part


def _sendable(message: Message) -> list[neutral.Part]:
    """Results stand before all else; thinking without its signature would be refused."""
    parts = [part for part in message.parts if not isinstance(part, neutral.Thinking)]
    return sorted(parts, key=lambda part: not isinstance(part, neutral.ToolResult))


def _written(part: neutral.Part) -> dict[str, Any]:
    match part:
        case neutral.Image(url=str(url)) if url:
            return {"type": "image", "source": {"type": "url", "url": url}}
        case neutral.Image():
            return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
        case neutral.ToolUse():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments_of(part.arguments)}
        case neutral.ToolResult():
            content = [_written(inner) for inner in part.parts]
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id, "content": content}
            return {**result, "is_error": True} if part.failed else result
    return {"type": "text", "text": part.text}


def arguments_of(text: str) -> Any:
    """What a model wrote as arguments is nearly always an object; what is not is handed on as text in one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}
