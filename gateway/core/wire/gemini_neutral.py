"""Gemini's half of translation."""

from types import MappingProxyType

from gateway.core.wire import gemini_neutral_reply, gemini_neutral_request
from gateway.core.wire.neutral import Half

HALF = Half(
    read_request=gemini_neutral_request.read_request,
    write_request=gemini_neutral_request.write_request,
    read_reply=gemini_neutral_reply.read_reply,
    write_reply=gemini_neutral_reply.write_reply,
    reader=gemini_neutral_reply.GenerateReader,
    writer=gemini_neutral_reply.GenerateWriter,
    error_text=gemini_neutral_reply.error_text,
    error_body=gemini_neutral_reply.error_body,
    spelled=MappingProxyType(
        {
            "messages": "contents",
            "stop": "stopSequences",
            "tool_choice": "toolConfig",
            "shape": "responseMimeType",
        }
    ),
)
