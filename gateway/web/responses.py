"""The OpenAI Responses format in front, and the one old format beside it."""

from gateway.core.call import Kind
from gateway.core.wire.formats import OPENAI_COMPLETIONS, OPENAI_RESPONSES
from gateway.pipeline.answer import Answer
from gateway.pipeline.count import count_prompt
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import arrival_of, as_json, governed, identified


async def responses(face: Face, request: Request) -> Answer:
    """POST /v1/responses"""
    return await governed(face, request, Kind.CHAT, OPENAI_RESPONSES)


async def input_tokens(face: Face, request: Request) -> Answer:
    """POST /v1/responses/input_tokens: free and unthrottled."""
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, OPENAI_RESPONSES)
    return as_json({"object": "response.input_tokens", "input_tokens": await count_prompt(face.plane, caller, arrival)})


async def completions(face: Face, request: Request) -> Answer:
    """POST /v1/completions"""
    return await governed(face, request, Kind.CHAT, OPENAI_COMPLETIONS)
