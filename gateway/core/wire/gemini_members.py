"""What objects of Gemini requests may hold where they are translated, by their names in camel case; see `members`.
Source: the types of Google's SDK, as of 2026-11."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.wire.gemini_prompt import listed, member, messages_of, parts_of, section
from gateway.core.wire.members import Found, Members, members

_CONTENT = members("contents", "role", "parts")
_PART = members(
    *("contents", "text", "thought", "inlineData", "functionCall", "functionResponse"),
    hints=("thoughtSignature", "mediaResolution", "partMetadata"),
)
_INLINE = members("contents", "mimeType", "data", hints=("displayName",))
_CALL = members("contents", "id", "name", "args")
_ANSWER = members("contents", "id", "name", "response", "parts")
_FUNCTION = members(
    *("tools", "name", "description", "parameters", "parametersJsonSchema"),
    hints=("response", "responseJsonSchema"),
    nothing={"behavior": ("UNSPECIFIED", "BLOCKING")},
)
_TOOL_CONFIG = members("toolConfig", "functionCallingConfig")
_CALLING = members("toolConfig", "mode", "allowedFunctionNames", hints=("streamFunctionCallArguments",))
_SYSTEM = members("systemInstruction", "role", "parts")
_SYSTEM_PART = members("systemInstruction", "text")


def objects(body: Mapping[str, Any]) -> Found:
    """Those of a request that was read."""
    for tool in listed(body, "tools"):
        yield from ((_FUNCTION, function) for function in listed(tool, "functionDeclarations"))
    chosen = section(body, "toolConfig")
    yield from ((_TOOL_CONFIG, chosen), (_CALLING, member(chosen, "functionCallingConfig")))
    system = section(body, "systemInstruction")
    yield _SYSTEM, system
    yield from ((_SYSTEM_PART, part) for part in parts_of(system))
    for content in messages_of(body):
        yield _CONTENT, content
        yield from _parts(content)


def _parts(holder: Mapping[str, Any]) -> Iterator[tuple[Members, Any]]:
    for part in parts_of(holder):
        answer = section(part, "functionResponse")
        yield from ((_PART, part), (_INLINE, member(part, "inlineData")), (_CALL, member(part, "functionCall")))
        yield _ANSWER, answer
        yield from _parts(answer)
