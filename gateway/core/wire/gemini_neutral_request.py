"""Requests of Gemini generateContent from and to the neutral form. Format: the Gemini API reference, v1beta, 2026-11.

Google's models may call a tool without an id; the neutral form and other formats need one. Calls without are numbered,
and an answer without belongs to the first call of its name that has none yet.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.wire import members, neutral
from gateway.core.wire.answer_shape import Shape, closed
from gateway.core.wire.anthropic_neutral_request import arguments_of
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.gemini_members import objects
from gateway.core.wire.gemini_prompt import camel, listed, member, messages_of, parts_of, section, spellings, written
from gateway.core.wire.neutral import Choice, Message, NeutralRequest, Role
from gateway.core.wire.untranslatable import untranslatable

_UNDERSTOOD = ("model", "stream", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
_LEFT_OUT = ("safetySettings", "labels", "store", "serviceTier")
_CONFIG_UNDERSTOOD = ("maxOutputTokens", "temperature", "topP", "stopSequences", "responseModalities")
_CONFIG_SHAPE = ("responseMimeType", "responseSchema", "responseJsonSchema")
_JSON = "application/json"
_CONFIG_LEFT_OUT = ("thinkingConfig", "topK", "seed", "mediaResolution")
_CONFIG_NOTHING: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "candidateCount": (1,),
        "frequencyPenalty": (0,),
        "presencePenalty": (0,),
        "responseLogprobs": (False,),
    }
)
"""Values with which these settings say nothing."""
_MODES: Mapping[str, Choice] = MappingProxyType(
    {"AUTO": Choice.AUTO, "VALIDATED": Choice.AUTO, "NONE": Choice.NONE, "ANY": Choice.ANY}
)
_SIGNS_CALLS_NOT = ("gemini-1", "gemini-2", "gemma")
_UNSIGNED = "skip_thought_signature_validator"
"""What Google's reference gives for a call that another family's model made: later models refuse one without."""
_NO_SCHEMA: Mapping[str, Any] = MappingProxyType({"type": "object", "properties": {}})
_SCHEMA_DEPTH_MAX = 64
_SCHEMA_LISTS = ("anyOf", "prefixItems")
_SCHEMA_TABLES = ("properties", "defs")
_SCHEMA_WITHIN = ("items", "additionalProperties")
_SCHEMA_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_SCHEMA_NAMES: Mapping[str, str] = MappingProxyType({"defs": "$defs", "ref": "$ref"})
_SCHEMA_HINTS = ("propertyOrdering",)


def read_request(body: Mapping[str, Any]) -> NeutralRequest:
    """The body was checked by `read_generate`. Raises FieldRefused."""
    config = section(body, "generationConfig")
    left_out = [*_left_out(body, _UNDERSTOOD, _LEFT_OUT, {})]
    left_out += _left_out(config, (*_CONFIG_UNDERSTOOD, *_CONFIG_SHAPE), _CONFIG_LEFT_OUT, _CONFIG_NOTHING)
    choice, chosen = _read_choice(body)
    stop = member(config, "stopSequences")
    system = parts_of(section(body, "systemInstruction"))
    return NeutralRequest(
        messages=neutral.joined(list(_read_contents(messages_of(body)))),
        system=tuple(text for part in system if isinstance(text := part.get("text"), str) and text),
        tools=tuple(_read_tools(body)),
        tool_choice=choice,
        chosen_tool=chosen,
        temperature=member(config, "temperature"),
        top_p=member(config, "topP"),
        stop=tuple(stop) if isinstance(stop, list) else (),
        stream=body.get("stream") is True,
        shape=_read_shape(config),
        left_out=(*left_out, *members.left_out(objects(body), camel)),
    )


def write_request(request: NeutralRequest, model: str, output_max: int, cap_field: str) -> dict[str, Any]:
    """A body without model and stream, which the path says; this format has one field that caps output.

    Who the end user is has no place in it. Raises FieldRefused.
    """
    if not request.parallel:
        raise untranslatable("parallel", "at most one call of a tool an answer")
    body: dict[str, Any] = {"contents": list(_write_contents(request, model))}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in request.system]}
    if request.tools:
        functions = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.schema)}
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": functions}]
    strict = any(tool.strict for tool in request.tools)
    if request.tools and (strict or request.tool_choice is not None):
        body["toolConfig"] = {"functionCallingConfig": _choice(request, strict=strict)}
    config: dict[str, Any] = {"maxOutputTokens": output_max}
    given = {"temperature": request.temperature, "topP": request.top_p, "stopSequences": list(request.stop) or None}
    if request.shape is not None:
        config["responseMimeType"] = _JSON
        if request.shape.schema is not None:
            config["responseJsonSchema"] = request.shape.described_schema()
    body["generationConfig"] = config | {name: value for name, value in given.items() if value is not None}
    return body


def _left_out(
    holder: Mapping[str, Any],
    understood: tuple[str, ...],
    left_out: tuple[str, ...],
    nothing: Mapping[str, tuple[Any, ...]],
) -> Iterator[str]:
    """The members that are left out and said. Raises FieldRefused for the first that may not be."""
    for name, value in holder.items():
        known = next((each for each in (*understood, *left_out, *nothing) if name in spellings(each)), None)
        if value is None or known in understood or value in nothing.get(known or "", ()):
            continue
        if known is None or known not in left_out:
            raise untranslatable(name)
        yield known


def _read_choice(body: Mapping[str, Any]) -> tuple[Choice | None, str]:
    asked = section(section(body, "toolConfig"), "functionCallingConfig")
    mode = asked.get("mode")
    if mode is None or mode == "MODE_UNSPECIFIED":
        return None, ""
    allowed = member(asked, "allowedFunctionNames") or []
    if mode not in _MODES or len(allowed) > 1:
        raise untranslatable("toolConfig", "this `toolConfig`")
    return (Choice.ONE, str(allowed[0])) if allowed else (_MODES[mode], "")


def _read_shape(config: Mapping[str, Any]) -> Shape | None:
    kind, googles = member(config, "responseMimeType"), member(config, "responseSchema")
    schema = member(config, "responseJsonSchema")
    if schema and googles:
        raise untranslatable("responseSchema", "`responseSchema` beside `responseJsonSchema`")
    schema = schema or _json_schema(googles, 0)
    if kind in (None, "", "text/plain") and not schema:
        return None
    if kind != _JSON or not isinstance(schema, Mapping | None):
        raise untranslatable("responseMimeType", "this `responseMimeType`")
    return Shape(schema or None)


def _choice(request: NeutralRequest, *, strict: bool) -> dict[str, Any]:
    """Calls that must be made follow their schema here; others do in the mode `VALIDATED`."""
    match request.tool_choice:
        case Choice.ONE:
            return {"mode": "ANY", "allowedFunctionNames": [request.chosen_tool]}
        case Choice.ANY:
            return {"mode": "ANY"}
        case Choice.NONE:
            return {"mode": "NONE"}
    return {"mode": "VALIDATED" if strict else "AUTO"}


def _read_tools(body: Mapping[str, Any]) -> Iterator[neutral.Tool]:
    mode = section(section(body, "toolConfig"), "functionCallingConfig").get("mode")
    for tool in listed(body, "tools"):
        for field, value in tool.items():
            if value is not None and field not in spellings("functionDeclarations"):
                raise untranslatable("tools", f"`{field[:40]}`")
        for function in listed(tool, "functionDeclarations"):
            schema = member(function, "parametersJsonSchema") or _json_schema(function.get("parameters"), 0)
            name, description = str(function.get("name")), str(function.get("description") or "")
            held = mode == "VALIDATED" and closed(schema)
            yield neutral.Tool(name, description, schema or _NO_SCHEMA, strict=held)


def _json_schema(value: Any, depth: int) -> Any:
    """Google's schema as JSON Schema: its types are in capitals, `nullable` is a type beside the other, numbers may be
    text. The order of properties that it gives is a hint which JSON Schema has no word for."""
    if depth > _SCHEMA_DEPTH_MAX:
        raise FieldRefused("tools", "the schema of a tool is too deep")
    if not isinstance(value, Mapping):
        return value
    names = {camel(name): inner for name, inner in value.items()}
    schema = {
        _SCHEMA_NAMES.get(name, name): _schema_member(name, inner, depth + 1)
        for name, inner in names.items()
        if name not in _SCHEMA_HINTS
    }
    nullable = schema.pop("nullable", False) is True
    if isinstance(kind := value.get("type"), str):
        schema["type"] = [kind.lower(), "null"] if nullable else kind.lower()
    return schema


def _schema_member(name: str, value: Any, depth: int) -> Any:
    if name in _SCHEMA_WITHIN:
        return _json_schema(value, depth)
    if name in _SCHEMA_LISTS and isinstance(value, list):
        return [_json_schema(each, depth) for each in value]
    if name in _SCHEMA_TABLES and isinstance(value, Mapping):
        return {each: _json_schema(held, depth) for each, held in value.items()}
    if name in _SCHEMA_COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value


def _read_contents(contents: list[Any]) -> Iterator[Message]:
    open_calls: list[tuple[str, str]] = []
    number = 0
    for content in contents:
        parts: list[neutral.Part] = []
        for part in parts_of(content):
            if call := section(part, "functionCall"):
                number += 1
                at = str(call.get("id") or f"call_{number}")
                open_calls.append((str(call.get("name")), at))
                parts.append(neutral.ToolUse(at, str(call.get("name")), written(call.get("args") or {})))
            elif answer := section(part, "functionResponse"):
                parts.append(_read_answer(answer, open_calls))
            else:
                parts += _read_part(part)
        yield Message(Role.ASSISTANT if content.get("role") == "model" else Role.USER, tuple(parts))


def _read_answer(answer: Mapping[str, Any], open_calls: list[tuple[str, str]]) -> neutral.ToolResult:
    name, at = str(answer.get("name")), answer.get("id")
    found = next((call for call in open_calls if call[1] == at), None) if at else None
    found = found or next((call for call in open_calls if call[0] == name), None)
    if found is None:
        raise FieldRefused("contents", f"an answer of `{name[:64]}` belongs to no call of it")
    open_calls.remove(found)
    response = section(answer, "response")
    text = response.get("output", response.get("result", response.get("error")))
    said = neutral.Text(text if isinstance(text, str) else written(response))
    images = [image for part in parts_of(answer) for image in _read_part(part) if isinstance(image, neutral.Image)]
    return neutral.ToolResult(found[1], (said, *images), response.get("error") is not None)


def _read_part(part: Mapping[str, Any]) -> Iterator[neutral.Text | neutral.Image | neutral.Thinking]:
    text, inline = part.get("text"), section(part, "inlineData")
    if isinstance(text, str):
        if text:
            yield neutral.Thinking(text) if part.get("thought") is True else neutral.Text(text)
        return
    kind, data = member(inline, "mimeType"), inline.get("data")
    if isinstance(kind, str) and kind.startswith("image/") and isinstance(data, str):
        yield neutral.Image(media_type=kind, data=data)
        return
    held = next(iter(part), "nothing")
    raise FieldRefused("contents", f"`contents` hold a part that cannot be translated: {held[:40]}", unsupported=True)


def _write_contents(request: NeutralRequest, model: str) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}
    signed = not model.startswith(_SIGNS_CALLS_NOT)
    for message in request.messages:
        parts = []
        for part in message.parts:
            if isinstance(part, neutral.ToolUse):
                names[part.id] = part.name
            if not isinstance(part, neutral.Thinking):
                parts.append(_write_part(part, names, signed=signed))
        if parts:
            yield {"role": "model" if message.role is Role.ASSISTANT else "user", "parts": parts}


def _write_part(part: neutral.Part, names: Mapping[str, str], *, signed: bool) -> dict[str, Any]:
    match part:
        case neutral.Image(url=str(url)) if url:
            raise untranslatable("messages", "an image by its address")
        case neutral.Image():
            return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
        case neutral.ToolUse():
            call = {"functionCall": {"id": part.id, "name": part.name, "args": arguments_of(part.arguments)}}
            return {**call, "thoughtSignature": _UNSIGNED} if signed else call
        case neutral.ToolResult():
            if part.id not in names:
                raise FieldRefused("messages", "`messages` hold the result of a tool that was not called")
            text = "\n".join(inner.text for inner in part.parts if isinstance(inner, neutral.Text))
            answer: dict[str, Any] = {
                "id": part.id,
                "name": names[part.id],
                "response": {"error" if part.failed else "output": text},
            }
            images = [
                _write_part(inner, names, signed=False) for inner in part.parts if isinstance(inner, neutral.Image)
            ]
            return {"functionResponse": {**answer, "parts": images} if images else answer}
    return {"text": part.text}
