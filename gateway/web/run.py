"""Runs a handler: whatever it raises becomes an answer in the wire format. Shared by both lanes."""

from gateway.core.denial import Refused
from gateway.core.retry_words import asks_again_at_numbers
from gateway.pipeline.answer import Answer, ClientLeft
from gateway.web.errors import broken, refusal
from gateway.web.exchange import Request
from gateway.web.face import Face, Handler
from gateway.web.fronts import front_of


async def answer_to(face: Face, handler: Handler, request: Request) -> Answer:
    """Raises only ClientLeft and cancellation."""
    try:
        return await handler(face, request)
    except Refused as refused:
        front, quiet = front_of(request.path, request.headers), asks_again_at_numbers(request.headers)
        return refusal(refused.denial, front, quiet=quiet)
    except ClientLeft:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence; the incident is logged with its traceback
        return broken(face.incident(error), front_of(request.path, request.headers))
