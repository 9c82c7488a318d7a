"""Quart owns every route: the table in `routes.py` becomes views that reach the same handlers as the fast lane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, RequestTimeout

from gateway.core.denial import Code, Denial, Refused
from gateway.pipeline.answer import Answer, Streamed, Whole
from gateway.web.encoding import encoding_of, plain_body
from gateway.web.exchange import Request, headers_of
from gateway.web.face import Face
from gateway.web.openai import unknown
from gateway.web.routes import Route
from gateway.web.run import answer_to

UNREAD_STREAM_S = 60.0


def make_quart(face: Face, routes: Iterable[Route]) -> Quart:
    """The application without its guard; see `gateway.web.edge`."""
    app = Quart("comptroller", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = face.body_bytes_max
    app.config["BODY_TIMEOUT"] = 30
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.config["RESPONSE_TIMEOUT"] = None
    # A doubled slash is another path, not a reason to redirect to an address made from the client's Host header.
    app.url_map.merge_slashes = False
    for route in routes:
        app.add_url_rule(
            route.path,
            endpoint=f"{route.method} {route.path}",
            view_func=_view(face, route),
            methods=[route.method],
            provide_automatic_options=False,
        )
    app.register_error_handler(HTTPException, _otherwise(face))
    return app


def _view(face: Face, route: Route) -> Callable[..., Awaitable[Response]]:
    async def view(**parameters: Any) -> Response:
        # Quart cancels a view when the client leaves; a call that does not stream runs on and is booked (rule 10).
        left = asyncio.Event()
        answering = face.plane.background.spawn(answer_to(face, route.handler, _request(face, parameters, left)))
        try:
            return _response(await asyncio.shield(answering))
        except asyncio.CancelledError:
            left.set()
            answering.add_done_callback(unread)
            raise

    def unread(answering: asyncio.Task[Answer]) -> None:
        """A stream that began when its client had just left is closed, which settles it."""
        if not answering.cancelled() and answering.exception() is None:
            answer = answering.result()
            if isinstance(answer, Streamed):
                _ = face.plane.background.spawn(_close(answer))

    return view


def _otherwise(face: Face) -> Callable[[HTTPException], Awaitable[Response]]:
    async def respond(error: HTTPException) -> Response:
        return _response(await answer_to(face, unknown, _request(face, {}, asyncio.Event())))

    return respond


def _request(face: Face, parameters: Mapping[str, Any], left: asyncio.Event) -> Request:
    scope: Mapping[str, Any] = request.scope
    raw = dict(scope["headers"])
    body = request.body
    clock = face.plane.clock
    client = scope.get("client")

    async def read_body() -> bytes:
        try:
            content = bytes(await body)
        except RequestEntityTooLarge:
            text = f"The body is larger than {face.body_bytes_max} bytes."
            raise Refused(Denial(Code.REQUEST_TOO_LARGE, text)) from None
        except (RequestTimeout, TimeoutError):
            raise Refused(Denial(Code.REQUEST_MALFORMED, "The body did not arrive in time.")) from None
        return await plain_body(content, encoding_of(raw.get(b"content-encoding")), face.body_bytes_max)

    return Request(
        method=scope["method"],
        path=scope["path"],
        raw_query=scope["query_string"],
        headers=headers_of(raw),
        client=client[0] if client else "",
        at_us=clock.now_us(),
        at_ns=clock.monotonic_ns(),
        read_body=read_body,
        parameters={name: str(value) for name, value in parameters.items()},
        left=left.wait,
    )


def _response(answer: Answer) -> Response:
    if isinstance(answer, Whole):
        response = Response(answer.body, answer.status)
    else:
        response = Response(_chunks(answer), answer.status)
        response.timeout = None
    response.headers.clear()
    if isinstance(answer, Whole):
        response.headers["content-length"] = str(len(answer.body))
    for name, value in answer.headers.items():
        response.headers[name] = value.replace("\r", " ").replace("\n", " ")
    return response


async def _close(answer: Streamed) -> None:
    await answer.close()


def _chunks(answer: Streamed) -> AsyncIterator[bytes]:
    """The stream, closed whatever becomes of it: a response that nobody ever reads is closed after a while."""
    unread = asyncio.get_running_loop().call_later(UNREAD_STREAM_S, lambda: asyncio.ensure_future(answer.close()))

    async def chunks() -> AsyncIterator[bytes]:
        unread.cancel()
        try:
            async for chunk in answer.chunks:
                yield chunk
        finally:
            await answer.close()

    return chunks()
