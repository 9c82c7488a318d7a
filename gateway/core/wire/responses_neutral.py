"""OpenAI Responses' half of translation."""

from types import MappingProxyType

from gateway.core.wire import responses_neutral_reply, responses_neutral_request
from gateway.core.wire.neutral import Half
from gateway.core.wire.openai_neutral_reply import error_body, error_text

HALF = Half(
    read_request=responses_neutral_request.read_request,
    write_request=responses_neutral_request.write_request,
    read_reply=responses_neutral_reply.read_reply,
    write_reply=responses_neutral_reply.write_reply,
    reader=responses_neutral_reply.ResponsesReader,
    writer=responses_neutral_reply.ResponsesWriter,
    error_text=error_text,
    error_body=error_body,
    details=True,
    spelled=MappingProxyType({"messages": "input", "parallel": "parallel_tool_calls", "shape": "text"}),
)
