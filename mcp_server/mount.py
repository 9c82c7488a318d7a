"""`/mcp` and `/mcp/{server}` as an ASGI application in front of another one.

Rules: every request of every verb is identified before anything else looks at it; the credential goes no further; the
body is read strictly, so that what is judged is what is forwarded.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from gateway.core.denial import Code, Denial, Refused
from gateway.core.strict_json import JsonRefused, parse
from mcp_server.denials import http_refusal
from mcp_server.front import McpFront
from mcp_server.streams import Receive, Send, Stream
from mcp_server.visit import CREDENTIALS, SCOPE_KEY, SESSION_HEADER, Visit

if TYPE_CHECKING:
    from mcp_server.running import Running

PATH = "/mcp"
Scope = Any
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class McpMount:
    """`app.asgi_app = McpMount(app.asgi_app, front)`"""

    def __init__(self, inner: AsgiApp, front: McpFront) -> None:
        self._inner = inner
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = _server_of(scope["path"]) if scope["type"] == "http" else None
        if server is None:
            await self._inner(scope, receive, send)
            return
        try:
            await self._serve(scope, receive, send, server)
        except Refused as refused:
            await _refuse(send, refused.denial)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, server: str) -> None:
        headers = _headers_of(scope)
        caller = await self._front.governance.identify(
            headers, dict(parse_qsl(scope["query_string"].decode("latin-1")))
        )
        running = await self._front.opened()
        if running is None:
            raise _refused(Code.OVERLOADED, "The gateway is starting or stopping: try again in a second.", 1.0)
        if server and server not in running.servers:
            raise _refused(Code.ROUTE_UNKNOWN, f"There is no tool server `{server[:64]}`.")
        session_id = headers.get(SESSION_HEADER)
        if session_id is None and self._front.clients.full(caller.key_id):
            raise _refused(Code.CONCURRENCY_LIMITED, "This key has too many MCP sessions open: end some first.", 60.0)
        body = None
        if scope["method"] == "POST":
            body = await _body(receive, self._front.options.body_bytes_max)
            if body is None:
                return
            _check_strictly(body)
        key_id = caller.key_id
        stream = self._front.streams.open(
            key_id, send, lambda found: self._front.clients.opened(found, key_id), lasting=scope["method"] == "GET"
        )
        if stream is None:
            raise _refused(Code.CONCURRENCY_LIMITED, "This key has too many MCP requests open at once.", 5.0)
        visit = Visit(caller, server or None, {name: headers[name] for name in headers.keys() - CREDENTIALS})
        try:
            await self._run(stream, running, _inner_scope(scope, visit), _replaying(body, receive))
        finally:
            self._front.streams.forget(stream)

    async def _run(self, stream: Stream, running: "Running", scope: Scope, receive: Receive) -> None:
        visit = scope[SCOPE_KEY]
        session_id = visit.headers.get(SESSION_HEADER)
        clients = self._front.clients
        if session_id is not None:
            clients.enter(session_id)
        try:
            answered = await stream.run(lambda send: running.handle(scope, visit.caller, receive, send))
        finally:
            if session_id is not None:
                clients.leave(session_id)
        if not answered:
            raise _refused(Code.OVERLOADED, "The request was ended by the gateway.", 1.0)
        if session_id is not None and (stream.status == 404 or (scope["method"], stream.status) == ("DELETE", 200)):
            clients.ended(session_id)


def _server_of(path: str) -> str | None:
    """The server of `/mcp/{server}`, empty for `/mcp`; None if the path is not ours. A slash at the end is nothing."""
    if path in (PATH, f"{PATH}/"):
        return ""
    if not path.startswith(f"{PATH}/"):
        return None
    name = path.removeprefix(f"{PATH}/").removesuffix("/")
    return None if "/" in name else name


def _headers_of(scope: Scope) -> dict[str, str]:
    """Lines of one name are joined, so that a second credential is seen and not passed over."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _inner_scope(scope: Scope, visit: Visit) -> Scope:
    """What the SDK sees: no credential and no query."""
    return {
        **scope,
        "query_string": b"",
        "headers": [line for line in scope["headers"] if line[0].decode("latin-1").lower() not in CREDENTIALS],
        SCOPE_KEY: visit,
    }


async def _body(receive: Receive, bytes_max: int) -> bytes | None:
    """None if the client left. Raises Refused when it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > bytes_max:
            raise _refused(Code.REQUEST_TOO_LARGE, f"The request is larger than {bytes_max} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


def _check_strictly(body: bytes) -> None:
    """The SDK reads the body again, with parsers that differ in what they let pass; what passes here they agree on."""
    try:
        parse(body)
    except JsonRefused as error:
        raise _refused(Code.REQUEST_MALFORMED, f"The request is not read: {error.message}.") from None


def _replaying(body: bytes | None, receive: Receive) -> Receive:
    """The body that was read, then whatever else comes."""
    left: list[Mapping[str, Any]] = []
    if body is not None:
        left.append({"type": "http.request", "body": body, "more_body": False})

    async def replay() -> Any:
        return left.pop() if left else await receive()

    return replay


async def _refuse(send: Send, denial: Denial) -> None:
    status, headers, body = http_refusal(denial)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _refused(code: Code, message: str, retry_after_s: float | None = None) -> Refused:
    return Refused(Denial(code, message, retry_after_s=retry_after_s))
