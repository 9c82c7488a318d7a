"""The Azure OpenAI paths in front: `/openai/deployments/{name}/...`, where the deployment is the model.

The body need not name one. The `api-version` is for Azure and does not go along.
"""

from gateway.core.call import Kind
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import OPENAI_CHAT, OPENAI_COMPLETIONS, OPENAI_IMAGES, OPENAI_SPEECH
from gateway.pipeline.answer import Answer
from gateway.pipeline.chat import model_call
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import arrival_of, identified


async def chat_completions(face: Face, request: Request) -> Answer:
    """POST /openai/deployments/{name}/chat/completions"""
    return await _governed(face, request, Kind.CHAT, OPENAI_CHAT)


async def completions(face: Face, request: Request) -> Answer:
    """POST /openai/deployments/{name}/completions"""
    return await _governed(face, request, Kind.CHAT, OPENAI_COMPLETIONS)


async def embeddings(face: Face, request: Request) -> Answer:
    """POST /openai/deployments/{name}/embeddings"""
    return await _governed(face, request, Kind.EMBEDDINGS, OPENAI_CHAT)


async def images(face: Face, request: Request) -> Answer:
    """POST /openai/deployments/{name}/images/generations"""
    return await _governed(face, request, Kind.IMAGES, OPENAI_IMAGES)


async def speech(face: Face, request: Request) -> Answer:
    """POST /openai/deployments/{name}/audio/speech"""
    return await _governed(face, request, Kind.SPEECH, OPENAI_SPEECH)


async def _governed(face: Face, request: Request, kind: Kind, wire: WireFormat) -> Answer:
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, wire)
    named = {**arrival.body, "model": request.parameters["deployment"]}
    return await model_call(face.plane, caller, arrival._replace(body=named), kind)
