"""Streamable HTTP to one tool server, in either era.

Rules: headers are made here from the configuration and the protocol alone. A broken call breaks no other call: each
request is an exchange of its own in the task that wants it. A call is cancelled by closing its stream, and in the era
of sessions also by saying so.
"""

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx2

from gateway.core.upstream import UpstreamError, UpstreamFailed
from mcp_server.http_exchange import ERROR_BODY_MAX, Cursor, Reply, exchange, parse_message
from mcp_server.upstream.wire import (
    CANCELLED,
    PROGRESS,
    Message,
    OnNotification,
    OnProgress,
    answer_to_server,
    is_response,
    result_of,
)

RESUMES_MAX = 3
COURTESY_TIMEOUT_S = 2.0
VERSION_HEADER = "mcp-protocol-version"
SESSION_HEADER = "mcp-session-id"


class HttpRefused(UpstreamFailed):
    """The server answered with an HTTP status and no JSON-RPC message."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the tool server answered with HTTP {status}", sent=True)
        self.status = status


class SessionLost(UpstreamFailed):
    """The server no longer knows our session; it did nothing with the request."""

    def __init__(self) -> None:
        super().__init__("the tool server no longer knows our session", sent=False)


class HttpWire:
    """One session (or none, in the modern era) with one HTTP tool server. The client belongs to the caller."""

    def __init__(self, client: httpx2.AsyncClient, url: str, bytes_max: int, on_notification: OnNotification) -> None:
        self._client = client
        self._url = url
        self._bytes_max = bytes_max
        self._on_notification = on_notification
        self._ids = itertools.count(1)
        self._session_id: str | None = None
        self._version: str | None = None
        self._modern = False
        self._closed = False
        self._courtesies: set[asyncio.Task[None]] = set()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def stateful(self) -> bool:
        return self._session_id is not None

    def begin(self, version: str, *, modern: bool) -> None:
        self._version, self._modern = version, modern

    async def request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Message:
        request_id = next(self._ids)
        body = dict(params)
        if on_progress is not None:
            body["_meta"] = {**(body.get("_meta") or {}), "progressToken": request_id}
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": body}
        try:
            return result_of(await self._answer(message, {**self._protocol_headers(), **(headers or {})}, on_progress))
        except asyncio.CancelledError:
            if not self._modern and method != "initialize":
                self._say_cancelled(request_id)
            raise

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._post({"jsonrpc": "2.0", "method": method, **({"params": dict(params)} if params else {})})

    async def listen(self) -> bool:
        if self._modern:
            return False
        async with exchange(
            self._client, "GET", self._url, headers=self._protocol_headers(), bytes_max=self._bytes_max
        ) as reply:
            if reply.status != 200:
                return False
            async for message in reply.messages():
                await self._take(message, None, None)
        return True

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._session_id is not None:
            with suppress(UpstreamError, TimeoutError):
                async with (
                    asyncio.timeout(COURTESY_TIMEOUT_S),
                    exchange(
                        self._client, "DELETE", self._url, headers=self._protocol_headers(), bytes_max=ERROR_BODY_MAX
                    ),
                ):
                    pass
        if self._courtesies:
            await asyncio.wait(self._courtesies, timeout=COURTESY_TIMEOUT_S)

    async def _answer(self, message: Message, headers: Mapping[str, str], on_progress: OnProgress | None) -> Message:
        cursor = Cursor()
        async with exchange(
            self._client, "POST", self._url, headers=headers, bytes_max=self._bytes_max, message=message
        ) as reply:
            if reply.status >= 300:
                return await self._refusal(reply, message, in_session=SESSION_HEADER in headers)
            if message["method"] == "initialize":
                self._session_id = reply.headers.get(SESSION_HEADER)
            answer = await self._until_answer(reply, cursor, message["id"], on_progress)
        for _ in range(RESUMES_MAX):
            if answer is not None or cursor.event_id is None or self._modern:
                break
            await asyncio.sleep(min(cursor.retry_s, 10.0))
            resumed = {**self._protocol_headers(), "last-event-id": cursor.event_id}
            async with exchange(self._client, "GET", self._url, headers=resumed, bytes_max=self._bytes_max) as reply:
                if reply.status != 200:
                    break
                answer = await self._until_answer(reply, cursor, message["id"], on_progress)
        if answer is None:
            raise UpstreamFailed("the tool server ended its reply without an answer", sent=True)
        return answer

    async def _until_answer(
        self, reply: Reply, cursor: Cursor, request_id: int, on_progress: OnProgress | None
    ) -> Message | None:
        async for message in reply.messages(cursor):
            if is_response(message) and message.get("id") == request_id:
                return message
            await self._take(message, request_id, on_progress)
        return None

    async def _refusal(self, reply: Reply, message: Message, *, in_session: bool) -> Message:
        """The JSON-RPC error of a reply that is no success. Raises SessionLost, or HttpRefused where there is none."""
        if reply.status == 404 and in_session:
            self._closed = True
            raise SessionLost
        if reply.content_type == "application/json" and reply.status not in (401, 403):
            with suppress(UpstreamError):
                answer = parse_message(await reply.body(ERROR_BODY_MAX))
                if isinstance(answer.get("error"), dict):
                    return {**answer, "id": message["id"]}
        raise HttpRefused(reply.status)

    async def _take(self, message: Message, request_id: int | None, on_progress: OnProgress | None) -> None:
        """Anything that a server sends beside the answer."""
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str):
            return
        if "id" in message:
            await self._post(answer_to_server(message))
        elif method == PROGRESS:
            if isinstance(params, dict) and params.get("progressToken") == request_id and on_progress is not None:
                await on_progress(params)
        else:
            self._on_notification(method)

    async def _post(self, message: Message) -> None:
        if self._modern:
            return  # this era has no messages from client to server but requests
        headers = self._protocol_headers()
        async with exchange(
            self._client, "POST", self._url, headers=headers, bytes_max=ERROR_BODY_MAX, message=message
        ):
            pass

    def _protocol_headers(self) -> dict[str, str]:
        headers = {}
        if self._version is not None:
            headers[VERSION_HEADER] = self._version
        if self._session_id is not None:
            headers[SESSION_HEADER] = self._session_id
        return headers

    def _say_cancelled(self, request_id: int) -> None:
        """In a task of its own: the one that called is being cancelled and can wait for nothing."""
        task = asyncio.create_task(self._courtesy(request_id))
        self._courtesies.add(task)
        task.add_done_callback(self._courtesies.discard)

    async def _courtesy(self, request_id: int) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(COURTESY_TIMEOUT_S):
                await self.notify(CANCELLED, {"requestId": request_id, "reason": "cancelled by the caller"})
