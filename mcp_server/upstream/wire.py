"""The vocabulary of talking to one tool server in JSON-RPC, over whatever carries the messages.

Rule: a server's own error is an `RpcError`; that there was no answer is an `UpstreamError` of the core.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

METHOD_NOT_FOUND = -32601
TOOLS_CHANGED = "notifications/tools/list_changed"
PROGRESS = "notifications/progress"
CANCELLED = "notifications/cancelled"

Message = dict[str, Any]
OnProgress = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Receives the params of each progress notification of one request."""
OnNotification = Callable[[str], None]
"""Receives the method of every other notification. Must not block."""


class RpcError(Exception):
    """A JSON-RPC error that the tool server answered with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Wire(Protocol):
    """One connection to one tool server. Cancelling `request` tells the server so."""

    @property
    def closed(self) -> bool: ...

    @property
    def stateful(self) -> bool:
        """Whether the server keeps state for this very connection, so that clients must not share it."""
        ...

    def begin(self, version: str, *, modern: bool) -> None:
        """Fixes the protocol revision of all that follows."""
        ...

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Message:
        """The result object. Raises RpcError or gateway.core.upstream.UpstreamError."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None: ...

    async def listen(self) -> bool:
        """Takes in what the server says on its own until it ends that stream; False where there is no such stream."""
        ...

    async def close(self) -> None: ...


def result_of(reply: Mapping[str, Any]) -> Message:
    """The result of a response message. Raises RpcError if it is an error."""
    if "error" in reply:
        error = reply["error"] if isinstance(reply["error"], Mapping) else {}
        code, text = error.get("code"), error.get("message")
        raise RpcError(
            code if isinstance(code, int) else -32603,
            text if isinstance(text, str) else "the tool server answered with an error",
            error.get("data"),
        )
    result = reply["result"]
    if not isinstance(result, dict):
        raise RpcError(-32603, "the tool server answered with a result that is no object")
    return result


def is_response(message: Mapping[str, Any]) -> bool:
    return "method" not in message and ("result" in message or "error" in message)


def answer_to_server(message: Mapping[str, Any]) -> Message:
    """What a tool server hears when it asks us: `ping` is answered, elicitation declined, all else not offered.

    We declare no client capability, so a conforming server asks for none of these.
    """
    reply: Message = {"jsonrpc": "2.0", "id": message["id"]}
    match message.get("method"):
        case "ping":
            reply["result"] = {}
        case "elicitation/create":
            reply["result"] = {"action": "decline"}
        case _:
            reply["error"] = {"code": METHOD_NOT_FOUND, "message": "not offered by this gateway"}
    return reply
