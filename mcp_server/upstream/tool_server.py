"""One configured tool server: its sessions, its listing, its calls, and how it comes back when it was gone.

Rules: a session is opened in a task of its own, so that a caller that leaves breaks it for nobody else. Clients share a
session unless the server keeps state for it; then each downstream session (a *lane*) has its own. A server that cannot
be reached fails at once until its back-off is over.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp.shared.inbound import mcp_param_headers

from gateway.core.upstream import Phase, UpstreamError, UpstreamFailed, UpstreamTimeout
from mcp_server.http_exchange import make_client
from mcp_server.upstream.backoff import Backoff
from mcp_server.upstream.config import ServerConfig, UpstreamOptions
from mcp_server.upstream.http_wire import HttpWire, SessionLost
from mcp_server.upstream.lanes import Lanes
from mcp_server.upstream.listing import Listing, ToolDefinition, list_tools
from mcp_server.upstream.session import Session, open_session
from mcp_server.upstream.stdio_wire import open_stdio
from mcp_server.upstream.wire import TOOLS_CHANGED, Message, OnProgress, RpcError, Wire

logger = logging.getLogger(__name__)

SHARED = ""
"""The lane of the session that lists, watches, and serves all calls where the server keeps no state."""


SHORT_LIFE_S = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool server answered to a call: a result, or an error of its own."""

    result: Message | None
    error: RpcError | None = None


@dataclass(slots=True)
class Began:
    """Whether a call may have reached its tool."""

    sent: bool = False


class ToolServer:
    """`start` begins to connect; `close` ends every session and process. `on_change` is told when the tools changed."""

    def __init__(
        self,
        config: ServerConfig,
        options: UpstreamOptions,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._options = options
        self._on_change = on_change
        self._clock = clock
        self._backoff = Backoff(config.name, options.backoff_first_s, options.backoff_max_s, clock)
        self._lanes = Lanes(self._open, options.lanes_max, options.lane_idle_s, clock)
        self._client: httpx2.AsyncClient | None = None
        self._listing: Listing | None = None
        self._listed_at = 0.0
        self._list_task: asyncio.Task[Listing] | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._opened_at = float("-inf")

    def start(self) -> None:
        if self.config.transport == "http":
            bearer = {} if self.config.bearer is None else {"authorization": f"Bearer {self.config.bearer}"}
            self._client = make_client(
                {**self.config.headers, **bearer},
                connect_timeout_s=self._options.connect_timeout_s,
                connections_max=256,
            )
        self._list_again()

    async def close(self) -> None:
        for task in (self._watch_task, self._list_task):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self._lanes.close()
        if self._client is not None:
            await self._client.aclose()

    async def release(self, lane: str) -> None:
        """Ends the upstream session of a downstream session that ended."""
        await self._lanes.release(lane)

    def fresh_listing(self) -> Listing | None:
        """The tools as they are remembered; None if the server should be asked."""
        fresh = self._clock() - self._listed_at < self._options.listing_ttl_s
        return self._listing if fresh and not self._lanes.ended(SHARED) else None

    async def listing(self) -> Listing:
        """The tools, from memory while fresh. Raises UpstreamError when the server cannot be asked.

        A server that failed last time is asked again behind the caller's back: nobody waits for it twice.
        """
        if (remembered := self.fresh_listing()) is not None:
            return remembered
        if self._list_task is None or self._list_task.done():
            self._backoff.check()
            self._list_again()
        if self._backoff.failing:
            raise UpstreamFailed(f"the tool server `{self.config.name}` is being tried again", sent=False)
        assert self._list_task is not None
        return await asyncio.shield(self._list_task)

    async def call(
        self,
        tool: ToolDefinition | str,
        arguments: Mapping[str, Any],
        meta: Mapping[str, Any],
        *,
        lane: str,
        on_progress: OnProgress | None,
    ) -> Answer:
        """One `tools/call` within `timeout_s`, connecting included. Raises UpstreamError."""
        began = Began()
        name = tool if isinstance(tool, str) else tool.name
        headers = {} if isinstance(tool, str) else mcp_param_headers(tool.param_headers, arguments)
        params: dict[str, Any] = {"name": name, "arguments": arguments}
        if meta:
            params["_meta"] = meta
        try:
            async with asyncio.timeout(self.config.timeout_s):
                try:
                    return await self._call_once(params, headers, lane, on_progress, began)
                except SessionLost:  # it expired there and did nothing: once more, in a new one
                    began.sent = False
                    return await self._call_once(params, headers, lane, on_progress, began)
        except TimeoutError:
            raise UpstreamTimeout(Phase.TOTAL if began.sent else Phase.CONNECT, sent=began.sent) from None

    async def _call_once(
        self,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        lane: str,
        on_progress: OnProgress | None,
        began: Began,
    ) -> Answer:
        session = await self._session(SHARED)
        if session.stateful and lane != SHARED:
            session = await self._session(lane)
        began.sent = True
        try:
            return Answer(await session.request("tools/call", params, headers=headers, on_progress=on_progress))
        except RpcError as error:
            return Answer(None, error)

    async def _session(self, lane: str) -> Session:
        if not self._lanes.has(lane):
            self._backoff.check()
        return await self._lanes.session(lane)

    async def _open(self, lane: str) -> Session:
        """Runs in a task of its own, which may outlive whoever wanted the session."""
        if self.config.transport == "stdio" and self._clock() - self._opened_at < SHORT_LIFE_S:
            self._backoff.failed()  # starting is no success where the last one ended so soon
        self._backoff.check()
        wire: Wire | None = None
        try:
            async with asyncio.timeout(self._options.connect_timeout_s + self._options.listing_timeout_s):
                wire = await self._wire()
                session = await open_session(wire)
        except BaseException as error:
            if wire is not None:
                await wire.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            self._backoff.failed()
            if isinstance(error, TimeoutError):
                raise UpstreamTimeout(Phase.CONNECT, sent=False) from None
            raise
        if lane == SHARED:
            self._opened_at = self._clock()
            self._watch(session)
        return session

    async def _wire(self) -> Wire:
        options = self._options
        if self.config.transport == "http":
            assert self._client is not None
            assert self.config.url is not None
            return HttpWire(self._client, self.config.url, options.message_bytes_max, self._notified)
        return await open_stdio(
            self.config.command,
            self.config.env,
            self.config.cwd,
            line_bytes_max=options.message_bytes_max,
            stop_grace_s=options.stop_grace_s,
            on_notification=self._notified,
        )

    def _list_again(self) -> None:
        self._list_task = asyncio.create_task(self._list())
        self._list_task.add_done_callback(_retrieve)

    async def _list(self) -> Listing:
        before = self._listing
        try:
            async with asyncio.timeout(self._options.listing_timeout_s):
                listing = await self._list_tools()
        except (UpstreamError, RpcError, TimeoutError) as error:
            self._listing = None
            if self._backoff.wait_s == 0:
                self._backoff.failed()
            if before is not None:
                self._on_change()
            logger.warning("tool server %s: its tools cannot be listed (%s)", self.config.name, type(error).__name__)
            if isinstance(error, UpstreamError):
                raise
            raise UpstreamTimeout(Phase.FIRST_BYTE, sent=True) from None
        self._backoff.succeeded()
        for name, fault in listing.refused:
            logger.warning("tool server %s: tool %s is left out: %s", self.config.name, name, fault)
        self._listing, self._listed_at = listing, self._clock()
        if before != listing:
            self._on_change()
        return listing

    async def _list_tools(self) -> Listing:
        try:
            return await list_tools(await self._lanes.session(SHARED), self._options.tools_max)
        except SessionLost:
            return await list_tools(await self._lanes.session(SHARED), self._options.tools_max)

    def _notified(self, method: str) -> None:
        if method == TOOLS_CHANGED:
            self._listed_at = float("-inf")
            if self._list_task is None or self._list_task.done():
                self._list_again()

    def _watch(self, session: Session) -> None:
        if self._watch_task is not None:
            self._watch_task.cancel()
        self._watch_task = None
        if session.terms.announces_tool_changes():
            self._watch_task = asyncio.create_task(self._watching(session))

    async def _watching(self, session: Session) -> None:
        """Keeps the stream of change notifications open for as long as the session lives."""
        pause_s = 1.0
        while not session.closed:
            opened_at = self._clock()
            with suppress(UpstreamError):
                if not await session.listen():
                    return
            pause_s = 1.0 if self._clock() - opened_at > 30.0 else min(60.0, pause_s * 2)
            await asyncio.sleep(pause_s)
            self._listed_at = float("-inf")  # what changed meanwhile was not heard


def _retrieve(task: "asyncio.Task[Listing]") -> None:
    """An error that nobody waited for is known already."""
    if not task.cancelled():
        task.exception()
