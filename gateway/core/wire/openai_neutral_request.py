"""Requests of OpenAI chat completions from and to the neutral form. Format: the OpenAI API reference as of 2026-11."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.wire import members, neutral
from gateway.core.wire.answer_shape import Shape, openai_shape, shape_of
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.neutral import Choice, Message, NeutralRequest, Role
from gateway.core.wire.openai_members import objects
from gateway.core.wire.untranslatable import untranslatable

LEFT_OUT = (
    *("metadata", "store", "prompt_cache_key", "prompt_cache_retention", "service_tier", "seed", "verbosity"),
    *("reasoning_effort",),
)
"""Fields that hint at how the provider works: another family's provider has its own way."""
_UNDERSTOOD = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream", "n"),
        *("stream_options", "tools", "tool_choice", "parallel_tool_calls", "user", "safety_identifier", "modalities"),
        "response_format",
    }
)
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logprobs": (False,),
    "logit_bias": ({},),
    "functions": ([],),
}
"""Values with which these fields say nothing."""


def read_request(body: Mapping[str, Any]) -> NeutralRequest:
    """The body was checked by `read_chat`. Raises FieldRefused."""
    left_out = tuple(name for name in LEFT_OUT if body.get(name) is not None)
    for name, value in body.items():
        if name in _UNDERSTOOD or name in LEFT_OUT or value is None or value in _NOTHING.get(name, ()):
            continue
        raise untranslatable(name)
    if body.get("n") not in (None, 1):
        raise untranslatable("n")
    stop = body.get("stop")
    choice, chosen = _read_choice(body.get("tool_choice"))
    system, messages = _read_messages(body["messages"])
    return NeutralRequest(
        messages=messages,
        system=system,
        tools=tuple(_read_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=choice,
        chosen_tool=chosen,
        parallel=body.get("parallel_tool_calls") is not False,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        stream=body.get("stream") is True,
        end_user=str(body.get("safety_identifier") or body.get("user") or ""),
        shape=_read_shape(body.get("response_format")),
        left_out=(*left_out, *members.left_out(objects(body))),
    )


def write_request(request: NeutralRequest, model: str, output_max: int, cap_field: str) -> dict[str, Any]:
    """A body for a provider that caps output by `cap_field`."""
    body: dict[str, Any] = {"model": model, cap_field: output_max, "messages": list(_write_messages(request))}
    if request.tools:
        body["tools"] = [_write_tool(tool) for tool in request.tools]
        if not request.parallel:
            body["parallel_tool_calls"] = False
    if request.tool_choice is Choice.ONE:
        body["tool_choice"] = {"type": "function", "function": {"name": request.chosen_tool}}
    elif request.tool_choice is not None:
        body["tool_choice"] = "required" if request.tool_choice is Choice.ANY else request.tool_choice.value
    if request.shape is not None:
        body["response_format"] = _write_shape(request.shape)
    sampling = {"temperature": request.temperature, "top_p": request.top_p}
    body |= {name: value for name, value in sampling.items() if value is not None}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.end_user:
        body["user"] = request.end_user
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _read_choice(choice: Any) -> tuple[Choice | None, str]:
    match choice:
        case None:
            return None, ""
        case "auto" | "none":
            return Choice(choice), ""
        case "required":
            return Choice.ANY, ""
        case {"type": "function", "function": {"name": str(name)}}:
            return Choice.ONE, name
    raise untranslatable("tool_choice")


def _read_shape(shape: Any) -> Shape | None:
    match shape:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return Shape()
        case {"type": "json_schema", "json_schema": {"schema": dict()} as held}:
            return shape_of(held)
    raise untranslatable("response_format")


def _write_shape(shape: Shape) -> dict[str, Any]:
    if shape.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": openai_shape(shape)}


def _read_tool(tool: Mapping[str, Any]) -> neutral.Tool:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        raise untranslatable("tools")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    name, described = str(function.get("name")), str(function.get("description") or "")
    return neutral.Tool(name, described, schema, strict=function.get("strict") is True)


def _write_tool(tool: neutral.Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": dict(tool.schema)}
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _read_messages(messages: list[Any]) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    """System text from the beginning, and the rest; what a system message says later on is said where it stands."""
    system: list[str] = []
    found: list[Message] = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role in ("system", "developer") and not found:
            system += neutral.texts(_read_content(content), "messages")
        elif role in ("system", "developer", "user"):
            found.append(Message(Role.USER, tuple(_read_content(content))))
        elif role == "assistant":
            refused = _read_content(message.get("refusal"))
            found.append(Message(Role.ASSISTANT, (*_read_content(content), *refused, *read_calls(message))))
        elif role == "tool":
            parts = tuple(part for part in _read_content(content) if isinstance(part, neutral.Text | neutral.Image))
            found.append(Message(Role.USER, (neutral.ToolResult(str(message.get("tool_call_id")), parts),)))
        else:
            raise FieldRefused(
                "messages", f"`messages` has a role that cannot be translated: {str(role)[:40]}", unsupported=True
            )
    return tuple(system), neutral.joined(found)


def _read_content(content: Any) -> Iterator[neutral.Part]:
    if isinstance(content, str):
        if content:
            yield neutral.Text(content)
        return
    for part in content or ():
        match part:
            case {"type": "text" | "refusal" as kind, **rest}:
                text = rest.get("text" if kind == "text" else "refusal")
                if isinstance(text, str) and text:
                    yield neutral.Text(text)
            case {"type": "image_url", "image_url": {"url": str(url), **rest}}:
                yield image_of(url, "messages", rest.get("detail"))
            case _:
                kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
                raise FieldRefused(
                    "messages", f"`messages` hold a part that cannot be translated: {str(kind)[:40]}", unsupported=True
                )


def image_of(url: str, field: str, detail: Any) -> neutral.Image:
    """Raises FieldRefused, of the field that holds it."""
    said = detail if isinstance(detail, str) and detail != "auto" else ""
    if not url.startswith("data:"):
        return neutral.Image(url=url, detail=said)
    head, separator, data = url.partition(";base64,")
    if not separator:
        raise FieldRefused(field, f"`{field}` holds an image whose data is not base64")
    return neutral.Image(head.removeprefix("data:"), data, detail=said)


def image_url(image: neutral.Image) -> str:
    return image.url or f"data:{image.media_type};base64,{image.data}"


def _write_messages(request: NeutralRequest) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": "\n\n".join(request.system)}
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, neutral.ToolResult):
                yield _tool_message(part)
        rest = [part for part in message.parts if not isinstance(part, neutral.ToolResult | neutral.Thinking)]
        calls = [written_call(part) for part in rest if isinstance(part, neutral.ToolUse)]
        content = [_part(part) for part in rest if isinstance(part, neutral.Text | neutral.Image)]
        only_text = (
            "\n\n".join(part["text"] for part in content) if all(p["type"] == "text" for p in content) else content
        )
        if calls:
            yield {"role": message.role.value, "content": only_text or None, "tool_calls": calls}
        elif content:
            yield {"role": message.role.value, "content": only_text}


def _tool_message(result: neutral.ToolResult) -> dict[str, Any]:
    text = "\n".join(part.text for part in result.parts if isinstance(part, neutral.Text))
    if any(isinstance(part, neutral.Image) for part in result.parts):
        raise FieldRefused(
            "messages", "`messages` hold a tool result with an image, which has no counterpart", unsupported=True
        )
    return {"role": "tool", "tool_call_id": result.id, "content": f"Error: {text}" if result.failed else text}


def _part(part: neutral.Text | neutral.Image) -> dict[str, Any]:
    if isinstance(part, neutral.Text):
        return {"type": "text", "text": part.text}
    detail = {"detail": part.detail} if part.detail else {}
    return {"type": "image_url", "image_url": {"url": image_url(part), **detail}}


def read_calls(message: Mapping[str, Any]) -> Iterator[neutral.ToolUse]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise untranslatable("messages")
        yield neutral.ToolUse(
            str(call.get("id") or ""), str(function.get("name") or ""), str(function.get("arguments") or "{}")
        )


def written_call(part: neutral.ToolUse) -> dict[str, Any]:
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
