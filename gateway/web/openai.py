"""The OpenAI wire format in front: chat completions, embeddings, models; and what all fronts share."""

import orjson

from gateway.core.call import Arrival, Caller, Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import ABSENT
from gateway.core.strict_json import JsonRefused
from gateway.core.wire.anthropic_as_chat import is_messages, messages_as_chat
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import OPENAI_CHAT
from gateway.core.wire.responses_as_chat import as_chat, is_responses
from gateway.pipeline.answer import Answer, Whole
from gateway.pipeline.authorize import standing_context, usable_models
from gateway.pipeline.chat import model_call
from gateway.pipeline.identify import identify
from gateway.pipeline.read_request import field_denial
from gateway.pipeline.tags import tags_of
from gateway.web.body import parse_json
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.fronts import Front, front_of
from gateway.web.not_served import why_not_served

END_USER_LENGTH_MAX = 128
_GEMINI_METHODS = ("generateContent", "countTokens")
_NO_DATE = "1970-01-01T00:00:00Z"  # what the API's own reference says where a date is not known


async def chat_completions(face: Face, request: Request) -> Answer:
    """POST /v1/chat/completions"""
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, OPENAI_CHAT)
    try:
        if is_responses(arrival.body):
            arrival = arrival._replace(body=as_chat(arrival.body))
        elif is_messages(arrival.body):
            arrival = arrival._replace(body=messages_as_chat(arrival.body))
    except FieldRefused as error:
        raise Refused(field_denial(error)) from error
    return await model_call(face.plane, caller, arrival, Kind.CHAT)


async def embeddings(face: Face, request: Request) -> Answer:
    """POST /v1/embeddings"""
    return await governed(face, request, Kind.EMBEDDINGS, OPENAI_CHAT)


async def models(face: Face, request: Request) -> Answer:
    """GET /v1/models: only what this key may use, in the shape of the format that its client speaks."""
    caller = identified(face, request)
    front = front_of(request.path, request.headers)
    names = usable_models(face.plane, caller, standing_context(face.plane, caller))
    listed = [_model_object(name, front) for name in names]
    if front is Front.GEMINI:
        return as_json({"models": listed})
    if front is Front.ANTHROPIC:
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return as_json({"data": listed, "has_more": False, **ends})
    return as_json({"object": "list", "data": listed})


async def model(face: Face, request: Request) -> Answer:
    """GET /v1/models/{model}"""
    caller = identified(face, request)
    name = request.parameters["model"]
    if name not in usable_models(face.plane, caller, standing_context(face.plane, caller)):
        raise Refused(Denial(Code.ROUTE_UNKNOWN, f"Model '{name[:100]}' is not one that this key may use."))
    return as_json(_model_object(name, front_of(request.path, request.headers)))


async def unknown(face: Face, request: Request) -> Answer:
    """Whatever is not served: 404 in the wire format's shape, never forwarded."""
    why = why_not_served(request.path) or f"{request.method} {request.path[:200]} is not served here."
    raise Refused(Denial(Code.ROUTE_UNKNOWN, why))


def identified(face: Face, request: Request) -> Caller:
    """The caller; unauthenticated refusals are counted (rule 33)."""
    try:
        return identify(face.plane, request.headers, request.query(), face.digest_of)
    except Refused as refused:
        face.plane.refusals.unauthenticated(refused.denial.code.value, request.client, request.at_us)
        raise


async def governed(face: Face, request: Request, kind: Kind, wire: WireFormat) -> Answer:
    """A call of a model in this wire format, down the whole line."""
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, wire)
    return await model_call(face.plane, caller, arrival, kind)


async def arrival_of(face: Face, request: Request, caller: Caller, wire: WireFormat) -> Arrival:
    """Reads the body. Raises Refused for what is not an object of strict JSON."""
    content = await request.read_body()
    try:
        body = parse_json(content)
    except JsonRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The body is not acceptable JSON: {error}.")) from error
    if not isinstance(body, dict):
        raise Refused(Denial(Code.REQUEST_MALFORMED, "The body must be a JSON object."))
    return Arrival(
        headers=request.headers,
        body=body,
        body_bytes=len(content),
        at_us=request.at_us,
        at_ns=request.at_ns,
        tags=tags_of(request.headers),
        end_user=end_user(caller, body),
        query=request.query(),
        left=request.left,
        format=wire,
    )


def end_user(caller: Caller, body: dict[str, object]) -> str:
    """Who an app's call is for: attribution and `each: end_user` limits only, and only if its key may say so."""
    named = body.get("safety_identifier") or body.get("user")
    if not caller.key.may_assert_user or not isinstance(named, str):
        return ABSENT
    return named[:END_USER_LENGTH_MAX]


def _model_object(name: str, front: Front) -> dict[str, object]:
    if front is Front.GEMINI:
        return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": list(_GEMINI_METHODS)}
    if front is Front.ANTHROPIC:
        return {"type": "model", "id": name, "display_name": name, "created_at": _NO_DATE}
    return {"id": name, "object": "model", "created": 0, "owned_by": "comptroller"}


def as_json(value: object) -> Whole:
    return Whole(200, {"content-type": "application/json"}, orjson.dumps(value))
