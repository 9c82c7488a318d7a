"""What objects of Bedrock's Converse may hold where they are translated; see `members`. Source: botocore's model of the
service, as of 2026-11."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.wire.members import Found, Members, members

_MESSAGE = members("messages", "role", "content")
_BLOCK = members(
    *("messages", "text", "json", "image", "document", "toolUse", "toolResult", "reasoningContent"),
    hints=("cachePoint",),
)
_SOURCE = members("messages", "bytes", "text")
_IMAGE = members("messages", "format", "source")
_DOCUMENT = members(
    *("messages", "format", "source", "context"), hints=("name",), nothing={"citations": ({"enabled": False},)}
)
_USE = members("messages", "toolUseId", "name", "input")
_RESULT = members("messages", "toolUseId", "content", "status")
_SYSTEM = members("system", "text", hints=("cachePoint",))
_TOOLS = members("toolConfig", "tools", "toolChoice")
_TOOL = members("toolConfig", "toolSpec", hints=("cachePoint",))
_SPEC = members("toolConfig", "name", "description", "inputSchema", "strict")
_SCHEMA_OF_INPUT = members("toolConfig", "json")
_CHOICE = members("toolConfig", "auto", "any", "tool")
_CHOSEN = members("toolConfig", "name")
_OUTPUT = members("outputConfig", "textFormat", hints=("effort",))
_FORMAT = members("outputConfig", "type", "structure")
_STRUCTURE = members("outputConfig", "jsonSchema")
_SCHEMA = members("outputConfig", "schema", "name", "description")


def objects(body: Mapping[str, Any]) -> Found:
    """Those of a request that was read."""
    declared, output = body.get("toolConfig") or {}, body.get("outputConfig") or {}
    yield from ((_TOOLS, declared), (_OUTPUT, output))
    for tool in declared.get("tools") or ():
        spec = tool.get("toolSpec") or {}
        yield from ((_TOOL, tool), (_SPEC, spec), (_SCHEMA_OF_INPUT, spec.get("inputSchema")))
    choice = declared.get("toolChoice") or {}
    yield from ((_CHOICE, choice), *((_CHOSEN, choice.get(kind)) for kind in ("auto", "any", "tool")))
    shape = output.get("textFormat") or {}
    structure = shape.get("structure") or {}
    yield from ((_FORMAT, shape), (_STRUCTURE, structure), (_SCHEMA, structure.get("jsonSchema")))
    yield from ((_SYSTEM, block) for block in body.get("system") or ())
    for message in body["messages"]:
        yield _MESSAGE, message
        yield from _blocks(message.get("content"))


def _blocks(content: Any) -> Iterator[tuple[Members, Any]]:
    for block in content or ():
        result = block.get("toolResult") or {}
        image, document = block.get("image") or {}, block.get("document") or {}
        yield from ((_BLOCK, block), (_IMAGE, image), (_DOCUMENT, document))
        yield from ((_SOURCE, image.get("source")), (_SOURCE, document.get("source")))
        yield from ((_USE, block.get("toolUse")), (_RESULT, result))
        yield from _blocks(result.get("content"))
