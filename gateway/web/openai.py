"""The OpenAI wire format in front: chat completions, embeddings, models."""

import orjson

from gateway.core.call import Arrival, Caller, Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.identity import ABSENT
from gateway.core.strict_json import JsonRefused
from gateway.pipeline.answer import Answer, Whole
from gateway.pipeline.authorize import standing_context, usable_models
from gateway.pipeline.chat import model_call
from gateway.pipeline.identify import identify
from gateway.pipeline.tags import tags_of
from gateway.web.body import parse_json
from gateway.web.exchange import Request
from gateway.web.face import Face

END_USER_LENGTH_MAX = 128


async def chat_completions(face: Face, request: Request) -> Answer:
    """POST /v1/chat/completions"""
    return await _governed(face, request, Kind.CHAT)


async def embeddings(face: Face, request: Request) -> Answer:
    """POST /v1/embeddings"""
    return await _governed(face, request, Kind.EMBEDDINGS)


async def models(face: Face, request: Request) -> Answer:
    """GET /v1/models: only what this key may use."""
    caller = identified(face, request)
    names = usable_models(face.plane, caller, standing_context(face.plane, caller))
    listed = [_model_object(face, name) for name in names]
    return _json({"object": "list", "data": listed})


async def model(face: Face, request: Request) -> Answer:
    """GET /v1/models/{model}"""
    caller = identified(face, request)
    name = request.parameters["model"]
    if name not in usable_models(face.plane, caller, standing_context(face.plane, caller)):
        raise Refused(Denial(Code.ROUTE_UNKNOWN, f"Model '{name[:100]}' is not one that this key may use."))
    return _json(_model_object(face, name))


async def unknown(face: Face, request: Request) -> Answer:
    """Whatever is not served: 404 in the wire format's shape, never forwarded."""
    raise Refused(Denial(Code.ROUTE_UNKNOWN, f"{request.method} {request.path[:200]} is not served here."))


def identified(face: Face, request: Request) -> Caller:
    """The caller; unauthenticated refusals are counted (rule 33)."""
    try:
        return identify(face.plane, request.headers, request.query(), face.digest_of)
    except Refused as refused:
        face.plane.refusals.unauthenticated(refused.denial.code.value, request.client, request.at_us)
        raise


async def _governed(face: Face, request: Request, kind: Kind) -> Answer:
    caller = identified(face, request)
    content = await request.read_body()
    try:
        body = parse_json(content)
    except JsonRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"The body is not acceptable JSON: {error}.")) from error
    if not isinstance(body, dict):
        raise Refused(Denial(Code.REQUEST_MALFORMED, "The body must be a JSON object."))
    arrival = Arrival(
        headers=request.headers,
        body=body,
        body_bytes=len(content),
        at_us=request.at_us,
        at_ns=request.at_ns,
        tags=tags_of(request.headers),
        end_user=_end_user(caller, body),
        left=request.left,
    )
    return await model_call(face.plane, caller, arrival, kind)


def _end_user(caller: Caller, body: dict[str, object]) -> str:
    """Who an app's call is for: attribution and `each: end_user` limits only, and only if its key may say so."""
    named = body.get("safety_identifier") or body.get("user")
    if not caller.key.may_assert_user or not isinstance(named, str):
        return ABSENT
    return named[:END_USER_LENGTH_MAX]


def _model_object(face: Face, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "comptroller"}


def _json(value: object) -> Whole:
    return Whole(200, {"content-type": "application/json"}, orjson.dumps(value))
