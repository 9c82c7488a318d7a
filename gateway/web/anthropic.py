"""The Anthropic wire format in front: messages and the counting of their tokens, and the same by Vertex's paths."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.core.call import Arrival, Caller, Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.formats import ANTHROPIC_MESSAGES
from gateway.pipeline.answer import Answer
from gateway.pipeline.chat import model_call
from gateway.pipeline.count import count_prompt
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import arrival_of, as_json, governed, identified, unknown

_VERTEX_ACTIONS: Final[Mapping[str, bool]] = MappingProxyType({"rawPredict": False, "streamRawPredict": True})
_VERTEX_COUNT = "count-tokens"
_BETA = "anthropic-beta"


async def messages(face: Face, request: Request) -> Answer:
    """POST /v1/messages"""
    return await governed(face, request, Kind.CHAT, ANTHROPIC_MESSAGES)


async def count_tokens(face: Face, request: Request) -> Answer:
    """POST /v1/messages/count_tokens: free and unthrottled; a coding agent asks for dozens at once."""
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, ANTHROPIC_MESSAGES)
    return await _counted(face, caller, arrival)


async def vertex(face: Face, request: Request) -> Answer:
    """POST /vertex/.../publishers/anthropic/models/{id}:rawPredict or :streamRawPredict, of which the model
    `count-tokens` is free. There the path names model and action, and the body its version and beta features."""
    name, _, action = request.parameters["call"].rpartition("/")[2].rpartition(":")
    if not name or action not in _VERTEX_ACTIONS:
        return await unknown(face, request)
    caller = identified(face, request)
    arrival = _as_messages(await arrival_of(face, request, caller, ANTHROPIC_MESSAGES))
    if name == _VERTEX_COUNT:
        return await _counted(face, caller, arrival)
    body = {**arrival.body, "model": name, "stream": _VERTEX_ACTIONS[action]}
    return await model_call(face.plane, caller, arrival._replace(body=body), Kind.CHAT)


async def _counted(face: Face, caller: Caller, arrival: Arrival) -> Answer:
    """What is to be counted has no maximum of output, which a call must have."""
    body = {**arrival.body, "max_tokens": TOKENS_MAX, "stream": False}
    return as_json({"input_tokens": await count_prompt(face.plane, caller, arrival._replace(body=body))})


def _as_messages(arrival: Arrival) -> Arrival:
    """Version and beta features where Anthropic's own API has them. Raises Refused for what cannot stand there."""
    body = dict(arrival.body)
    body.pop("anthropic_version", None)
    beta = body.pop("anthropic_beta", None)
    headers = dict(arrival.headers)
    headers.pop("anthropic-version", None)
    if beta is not None:
        if not isinstance(beta, list) or not all(map(_is_word, beta)):
            text = "`anthropic_beta` must be a list of words."
            raise Refused(Denial(Code.REQUEST_MALFORMED, text, field="anthropic_beta"))
        named = headers.get(_BETA)
        headers[_BETA] = ",".join([*([] if named is None else [named]), *beta])
    return arrival._replace(body=body, headers=headers)


def _is_word(value: object) -> bool:
    """Whether it may stand in a header, where a line end would begin another one."""
    return isinstance(value, str) and value.isascii() and value.isprintable()
