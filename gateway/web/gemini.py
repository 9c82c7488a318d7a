"""The Gemini wire format in front: generateContent and its kin, and models.

The path names the model and the action; a name may be written percent-encoded and may hold colons and slashes, so the
last colon parts them. `model` and `stream` are written into the body, where every other format has them.
"""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

from gateway.core.call import Arrival, Caller, Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.sse import SseDecoder
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import GEMINI, GEMINI_BATCH_EMBED, GEMINI_EMBED
from gateway.pipeline.answer import Answer, Streamed
from gateway.pipeline.chat import model_call
from gateway.pipeline.count import count_prompt
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import arrival_of, as_json, identified, model, models, unknown

_PREFIX = "models/"
_STREAM = "streamGenerateContent"
_JSON = "application/json"
_EMBEDDING: Mapping[str, WireFormat] = MappingProxyType(
    {"embedContent": GEMINI_EMBED, "batchEmbedContents": GEMINI_BATCH_EMBED}
)


async def generate(face: Face, request: Request) -> Answer:
    """POST /v1beta/models/{model}:{action}, of which `countTokens` is free and unthrottled."""
    name, _, action = request.parameters["call"].rpartition(":")
    embedding = _EMBEDDING.get(action)
    if not name or (embedding is None and action not in ("generateContent", _STREAM, "countTokens")):
        return await unknown(face, request)
    caller = identified(face, request)
    if embedding is not None:
        return await model_call(
            face.plane, caller, await _arrival(face, request, caller, name, embedding), Kind.EMBEDDINGS
        )
    if action == "countTokens":
        return as_json({"totalTokens": await _counted(face, request, caller, name)})
    arrival = await _arrival(face, request, caller, name, GEMINI, stream=action == _STREAM)
    answer = await model_call(face.plane, caller, arrival, Kind.CHAT)
    if isinstance(answer, Streamed) and request.query().get("alt") != "sse":
        return Streamed(answer.status, {**answer.headers, "content-type": _JSON}, _as_array(answer), answer.close)
    return answer


async def gemini_models(face: Face, request: Request) -> Answer:
    """GET /v1beta/models: only what this key may use."""
    return await models(face, request)


async def gemini_model(face: Face, request: Request) -> Answer:
    """GET /v1beta/models/{model}"""
    return await model(face, request)


async def _arrival(
    face: Face, request: Request, caller: Caller, name: str, wire: WireFormat, *, stream: bool = False
) -> Arrival:
    arrival = await arrival_of(face, request, caller, wire)
    return arrival._replace(body=_asking(arrival.body, name, stream=stream))


async def _counted(face: Face, request: Request, caller: Caller, name: str) -> int:
    arrival = await arrival_of(face, request, caller, GEMINI)
    inner = arrival.body.get("generateContentRequest", arrival.body.get("generate_content_request"))
    body = arrival.body if inner is None else inner
    if not isinstance(body, Mapping):
        text = "`generateContentRequest` must be an object."
        raise Refused(Denial(Code.REQUEST_MALFORMED, text, field="generateContentRequest"))
    return await count_prompt(face.plane, caller, arrival._replace(body=_asking(body, name, stream=False)))


def _asking(body: Mapping[str, object], name: str, *, stream: bool) -> Mapping[str, object]:
    """The body with what the path says. Raises Refused where the body names another model."""
    named = body.get("model")
    if named is not None and (not isinstance(named, str) or named.removeprefix(_PREFIX) != name):
        raise Refused(Denial(Code.REQUEST_MALFORMED, "`model` must be the model of the path.", field="model"))
    return {**body, "model": name, "stream": stream}


async def _as_array(answer: Streamed) -> AsyncIterator[bytes]:
    """The events of a stream as the elements of one JSON array, which is what the API gives without `alt=sse`."""
    decoder = SseDecoder()
    opened = False
    async for chunk in answer.chunks:
        elements = [event.data for event in decoder.feed(chunk) if event.data]
        if elements:
            yield (b",\r\n" if opened else b"[") + b",\r\n".join(elements)
            opened = True
    yield b"]" if opened else b"[]"
