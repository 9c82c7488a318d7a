"""The Anthropic wire format in front: messages and the counting of their tokens."""

from gateway.core.call import Kind
from gateway.core.usage import TOKENS_MAX
from gateway.core.wire.formats import ANTHROPIC_MESSAGES
from gateway.pipeline.answer import Answer
from gateway.pipeline.count import count_prompt
from gateway.web.exchange import Request
from gateway.web.face import Face
from gateway.web.openai import arrival_of, as_json, governed, identified


async def messages(face: Face, request: Request) -> Answer:
    """POST /v1/messages"""
    return await governed(face, request, Kind.CHAT, ANTHROPIC_MESSAGES)


async def count_tokens(face: Face, request: Request) -> Answer:
    """POST /v1/messages/count_tokens: free and unthrottled; a coding agent asks for dozens at once."""
    caller = identified(face, request)
    arrival = await arrival_of(face, request, caller, ANTHROPIC_MESSAGES)
    arrival = arrival._replace(body={**arrival.body, "max_tokens": TOKENS_MAX, "stream": False})
    return as_json({"input_tokens": await count_prompt(face.plane, caller, arrival)})
