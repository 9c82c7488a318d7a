"""Anthropic messages' half of translation."""

from types import MappingProxyType

from gateway.core.wire import anthropic_neutral_reply, anthropic_neutral_request
from gateway.core.wire.neutral import Half

HALF = Half(
    read_request=anthropic_neutral_request.read_request,
    write_request=anthropic_neutral_request.write_request,
    read_reply=anthropic_neutral_reply.read_reply,
    write_reply=anthropic_neutral_reply.write_reply,
    reader=anthropic_neutral_reply.MessagesReader,
    writer=anthropic_neutral_reply.MessagesWriter,
    error_text=anthropic_neutral_reply.error_text,
    error_body=anthropic_neutral_reply.error_body,
    spelled=MappingProxyType({"stop": "stop_sequences", "parallel": "tool_choice", "shape": "output_config"}),
)
