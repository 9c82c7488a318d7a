"""Bedrock's halves of translation: Converse, and for clients of `invoke` Anthropic's in Bedrock's envelope."""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.wire import anthropic_neutral, bedrock_neutral_reply, bedrock_neutral_request
from gateway.core.wire.anthropic_neutral_reply import MessagesWriter
from gateway.core.wire.bedrock_invoke import ENVELOPE, VERSION
from gateway.core.wire.eventstream import event_frame
from gateway.core.wire.gemini_prompt import written
from gateway.core.wire.neutral import Half, NeutralRequest

CONVERSE = Half(
    read_request=bedrock_neutral_request.read_request,
    write_request=bedrock_neutral_request.write_request,
    read_reply=bedrock_neutral_reply.read_reply,
    write_reply=bedrock_neutral_reply.write_reply,
    reader=bedrock_neutral_reply.ConverseReader,
    writer=bedrock_neutral_reply.ConverseWriter,
    error_text=bedrock_neutral_reply.error_text,
    error_body=bedrock_neutral_reply.error_body,
    spelled=MappingProxyType({"stop": "stopSequences", "tool_choice": "toolConfig", "shape": "outputConfig"}),
)


class InvokeWriter(MessagesWriter):
    """Anthropic's events, each in a frame."""

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        event = base64.b64encode(written(chunk).encode()).decode()
        return event_frame("chunk", written({"bytes": event}).encode())


def _read_invoke(body: Mapping[str, Any]) -> NeutralRequest:
    return anthropic_neutral.HALF.read_request({name: value for name, value in body.items() if name not in ENVELOPE})


def _write_invoke(request: NeutralRequest, model: str, output_max: int, cap_field: str) -> dict[str, Any]:
    body = anthropic_neutral.HALF.write_request(request, model, output_max, cap_field)
    kept = {name: value for name, value in body.items() if name not in ("model", "stream")}
    return {**kept, "anthropic_version": VERSION}


INVOKE = anthropic_neutral.HALF._replace(
    read_request=_read_invoke,
    write_request=_write_invoke,
    writer=InvokeWriter,
    error_text=bedrock_neutral_reply.error_text,
    error_body=bedrock_neutral_reply.error_body,
)
