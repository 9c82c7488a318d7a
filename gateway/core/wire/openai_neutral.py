"""OpenAI chat's half of translation."""

from types import MappingProxyType

from gateway.core.wire import openai_neutral_reply, openai_neutral_request
from gateway.core.wire.neutral import Half

HALF = Half(
    read_request=openai_neutral_request.read_request,
    write_request=openai_neutral_request.write_request,
    read_reply=openai_neutral_reply.read_reply,
    write_reply=openai_neutral_reply.write_reply,
    reader=openai_neutral_reply.ChatReader,
    writer=openai_neutral_reply.ChatWriter,
    error_text=openai_neutral_reply.error_text,
    error_body=openai_neutral_reply.error_body,
    details=True,
    spelled=MappingProxyType({"parallel": "parallel_tool_calls", "shape": "response_format"}),
)
