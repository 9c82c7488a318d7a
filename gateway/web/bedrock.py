"""The Bedrock wire format in front: converse and invoke, each whole or as a stream, and the counting of tokens.

The path names the model and the action; an id may be an ARN with colons and slashes, so the last slash parts them.
`model` and `stream` are written into the body, where other formats have them.
"""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.core.call import Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.strict_json import JsonRefused
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import BEDROCK_CONVERSE, BEDROCK_INVOKE
from gateway.pipeline.answer import Answer
from gateway.pipeline.authorize import standing_context, usable_models
from gateway.pipeline.chat import model_call
from gateway.pipeline.count import count_prompt
from gateway.web.body import parse_json
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import arrival_of, as_json, identified, unknown

_ACTIONS: Final[Mapping[str, tuple[WireFormat, bool]]] = MappingProxyType(
    {
        "converse": (BEDROCK_CONVERSE, False),
        "converse-stream": (BEDROCK_CONVERSE, True),
        "invoke": (BEDROCK_INVOKE, False),
        "invoke-with-response-stream": (BEDROCK_INVOKE, True),
    }
)


async def bedrock(face: Face, request: Request) -> Answer:
    """POST /bedrock/model/{id}/{action}, of which `count-tokens` is free and unthrottled."""
    name, _, action = request.parameters["call"].rpartition("/")
    if name and action == "count-tokens":
        return as_json({"inputTokens": await _counted(face, request, name)})
    if not name or action not in _ACTIONS:
        return await unknown(face, request)
    wire, stream = _ACTIONS[action]
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, wire)
    arrival = arrival._replace(body={**arrival.body, "model": name, "stream": stream})
    return await model_call(face.plane, caller, arrival, Kind.CHAT)


async def inference_profiles(face: Face, request: Request) -> Answer:
    """GET /bedrock/inference-profiles: the models that this key may use, as profiles of the account."""
    caller = identified(face, request)
    names = usable_models(face.plane, caller, standing_context(face.plane, caller))
    return as_json({"inferenceProfileSummaries": [_profile(name) for name in names]})


async def _counted(face: Face, request: Request, name: str) -> int:
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, BEDROCK_CONVERSE)
    asked = arrival.body.get("input")
    given = asked if isinstance(asked, Mapping) else {}
    if isinstance(converse := given.get("converse"), Mapping):
        return await count_prompt(face.plane, caller, arrival._replace(body={**converse, "model": name}))
    invoke = given.get("invokeModel")
    body = _decoded(invoke.get("body")) if isinstance(invoke, Mapping) else None
    if not isinstance(body, Mapping):
        text = "`input` must hold `converse`, or `invokeModel` with a body in base64."
        raise Refused(Denial(Code.REQUEST_MALFORMED, text, field="input"))
    arrival = arrival._replace(body={**body, "model": name}, format=BEDROCK_INVOKE)
    return await count_prompt(face.plane, caller, arrival)


def _decoded(body: object) -> object:
    """The JSON in base64; None for what is neither."""
    try:
        return parse_json(base64.b64decode(body, validate=True)) if isinstance(body, str) else None
    except (binascii.Error, JsonRefused):
        return None


def _profile(name: str) -> dict[str, object]:
    return {
        "inferenceProfileId": name,
        "inferenceProfileName": name,
        "inferenceProfileArn": f"arn:aws:bedrock:::inference-profile/{name}",
        "models": [{"modelArn": f"arn:aws:bedrock:::foundation-model/{name}"}],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }
