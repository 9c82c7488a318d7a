"""What the MCP front door asks of the gateway (`mcp_server.governance.Governance`), answered by the data plane."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from gateway.core.call import Caller
from gateway.core.denial import Refused
from gateway.core.tool import ToolAsk, ToolDone
from gateway.management import own, quota
from gateway.management.own_requests import quota_request
from gateway.management.raises import asker_object
from gateway.management.requests import RequestDesk
from gateway.pipeline.identify import DigestOf, identify
from gateway.pipeline.plane import Plane
from gateway.pipeline.tool_call import tool_call, tool_lister
from gateway.ports import Reports
from mcp_server.governance import Caller as SeenCaller

T = TypeVar("T")
NO_CLIENT = ""


class PlaneGovernance:
    """Callers that come back from the front door are those that `identify` gave out."""

    def __init__(self, plane: Plane, reports: Reports, requests: RequestDesk, digest_of: DigestOf) -> None:
        self._plane = plane
        self._reports = reports
        self._requests = requests
        self._digest_of = digest_of

    async def identify(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Caller:
        try:
            return identify(self._plane, headers, query, self._digest_of)
        except Refused as refused:
            now_us = self._plane.clock.now_us()
            self._plane.refusals.unauthenticated(refused.denial.code.value, NO_CLIENT, now_us)
            raise

    async def lister(self, caller: SeenCaller, headers: Mapping[str, str]) -> Callable[[str], bool]:
        return await tool_lister(self._plane, cast(Caller, caller), headers)

    async def call_tool(self, caller: SeenCaller, ask: ToolAsk, send: Callable[[], Awaitable[T]]) -> ToolDone[T]:
        return await tool_call(self._plane, cast(Caller, caller), ask, send)

    async def status(self, caller: SeenCaller, headers: Mapping[str, str], session: str | None) -> Mapping[str, Any]:
        found = await quota.status(self._plane, cast(Caller, caller), headers, session)
        return {**found, "requests": [asker_object(each) for each in self._requests.own(cast(Caller, caller))]}

    async def estimate(
        self, caller: SeenCaller, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return await quota.estimate(self._plane, cast(Caller, caller), headers, arguments)

    async def limits(self, caller: SeenCaller, headers: Mapping[str, str], session: str | None) -> Mapping[str, Any]:
        return await quota.limits(self._plane, cast(Caller, caller), headers, session)

    async def history(self, caller: SeenCaller, by: str, last: int | None) -> Mapping[str, Any]:
        return await own.history(self._plane, self._reports, cast(Caller, caller), by, last)

    async def open_child(
        self, caller: SeenCaller, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return await own.open_own_child(self._plane, cast(Caller, caller), headers, arguments)

    async def close_session(
        self, caller: SeenCaller, headers: Mapping[str, str], session: str | None
    ) -> Mapping[str, Any]:
        return await own.close_own(self._plane, cast(Caller, caller), headers, session)

    async def request(
        self, caller: SeenCaller, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return await quota_request(self._requests, cast(Caller, caller), headers, arguments)

    async def models(self, caller: SeenCaller) -> Mapping[str, Any]:
        return await quota.models(self._plane, cast(Caller, caller))

    async def explain(self, caller: SeenCaller, call_id: str) -> Mapping[str, Any]:
        return await quota.explain(self._plane, self._reports, cast(Caller, caller), call_id)
