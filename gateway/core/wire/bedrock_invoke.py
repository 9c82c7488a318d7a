"""Anthropic messages in Bedrock's envelope (`invoke`): the body without model and stream, with a version of its own;
events of a stream as frames with `{"bytes": base64 of the event}`.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from gateway.core.wire import anthropic_request
from gateway.core.wire.anthropic_reply import MessagesMeter
from gateway.core.wire.facts import FieldRefused, RequestFacts

ASIDE = anthropic_request.ASIDE
MAX_FIELD = "max_tokens"
VERSION = "bedrock-2023-05-31"
_VERSION = "anthropic_version"
ENVELOPE = (_VERSION, "anthropic_beta")


def read_invoke(body: Mapping[str, Any]) -> RequestFacts:
    """As messages are read. Raises FieldRefused, also for the bodies of other families of models."""
    if not isinstance(body.get(_VERSION), str):
        text = "only bodies of Anthropic's format are supported here, with their `anthropic_version`; use `converse`"
        raise FieldRefused(_VERSION, text, unsupported=True)
    return anthropic_request.read_messages(body)


def outgoing(
    body: Mapping[str, Any], facts: RequestFacts, *, model: str, cap: int | None, cap_field: str, ask_usage: bool
) -> dict[str, Any]:
    """The body to send: the client's, with our cap where there is one. The path names the model."""
    sent = anthropic_request.outgoing(body, facts, model=model, cap=cap, cap_field=cap_field, ask_usage=ask_usage)
    return {name: value for name, value in sent.items() if name not in ("model", "stream")}


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """What adds to the prompt beside the messages."""
    return {name: value for name, value in anthropic_request.beside(body).items() if name not in ENVELOPE}


class InvokeMeter(MessagesMeter):
    """Feed it the payload of every frame; a payload that holds no event tells nothing."""

    __slots__ = ()

    def feed(self, chunk: Mapping[str, Any]) -> bool:
        wrapped = chunk.get("bytes")
        if not isinstance(wrapped, str):
            return False
        try:
            event = json.loads(base64.b64decode(wrapped, validate=True))
        except (binascii.Error, ValueError):
            return False
        return super().feed(event) if isinstance(event, dict) else False
