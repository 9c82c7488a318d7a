"""OpenAI images, audio and moderations in front; forms with files and JSON."""

import hashlib

from gateway.core.call import Arrival, Caller, Kind
from gateway.core.denial import Code, Denial, Refused
from gateway.core.wire.facts import FieldRefused
from gateway.core.wire.format import WireFormat
from gateway.core.wire.formats import (
    OPENAI_IMAGE_EDITS,
    OPENAI_IMAGE_VARIATIONS,
    OPENAI_IMAGES,
    OPENAI_MODERATIONS,
    OPENAI_SPEECH,
    OPENAI_TRANSCRIPTIONS,
    OPENAI_TRANSLATIONS,
)
from gateway.core.wire.multipart import read_form
from gateway.pipeline.answer import Answer
from gateway.pipeline.chat import model_call
from gateway.pipeline.tags import tags_of
from gateway.web.exchange import Request
from gateway.web.face import Face, Handler
from gateway.web.openai import arrival_of, end_user, governed, identified

MODERATION_MODEL = "omni-moderation-latest"
"""The one that the API takes where a request names none."""


def _form(kind: Kind, wire: WireFormat) -> Handler:
    async def handler(face: Face, request: Request) -> Answer:
        caller = identified(face, request)
        return await model_call(face.plane, caller, await _form_of(face, request, caller, wire), kind)

    return handler


def _json(kind: Kind, wire: WireFormat) -> Handler:
    async def handler(face: Face, request: Request) -> Answer:
        return await governed(face, request, kind, wire)

    return handler


images = _json(Kind.IMAGES, OPENAI_IMAGES)
image_edits = _form(Kind.IMAGES, OPENAI_IMAGE_EDITS)
image_variations = _form(Kind.IMAGES, OPENAI_IMAGE_VARIATIONS)
speech = _json(Kind.SPEECH, OPENAI_SPEECH)
transcriptions = _form(Kind.TRANSCRIPTION, OPENAI_TRANSCRIPTIONS)
translations = _form(Kind.TRANSCRIPTION, OPENAI_TRANSLATIONS)


async def moderations(face: Face, request: Request) -> Answer:
    """POST /v1/moderations: free, and counted as a request."""
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, OPENAI_MODERATIONS)
    named = {**arrival.body, "model": arrival.body.get("model") or MODERATION_MODEL}
    return await model_call(face.plane, caller, arrival._replace(body=named), Kind.MODERATION)


async def _form_of(face: Face, request: Request, caller: Caller, wire: WireFormat) -> Arrival:
    """Reads a form; a deployment in the path is its model. Raises Refused for none, and for one that can be read in
    two ways."""
    content, deployment = await request.read_body(), request.parameters.get("deployment")
    try:
        form = read_form(content, request.headers.get("content-type", ""))
        body: dict[str, object] = {**form.texts(), **({"model": deployment} if deployment else {})}
        if not deployment and not any(part.name == "model" and not part.file for part in form.parts):
            raise FieldRefused("model", "`model` must be a field of the form")
    except FieldRefused as error:
        raise Refused(Denial(Code.REQUEST_MALFORMED, f"{error}.", field=error.field)) from error
    files = [part for part in form.parts if part.file]
    digests = [(f.name, hashlib.blake2b(content[f.start : f.end], digest_size=16).hexdigest()) for f in files]
    return Arrival(
        headers=request.headers,
        body={**body, "files": digests} if digests else body,
        body_bytes=len(content),
        at_us=request.at_us,
        at_ns=request.at_ns,
        tags=tags_of(request.headers),
        end_user=end_user(caller, body),
        query=request.query(),
        left=request.left,
        format=wire,
        form=form,
    )
