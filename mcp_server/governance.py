"""What the MCP front door asks of the gateway: who is calling, what may be seen, and the whole line of a tool call.

Rule: nothing here knows MCP, and nothing in this package decides. The gateway implements `Governance`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from gateway.core.tool import ToolAsk, ToolDone

T = TypeVar("T")


class Caller(Protocol):
    """An identified credential. Opaque, but for the key that it is."""

    @property
    def key_id(self) -> str: ...

    @property
    def key_name(self) -> str: ...


class Governance(Protocol):
    """Header names are lower case everywhere. Every method may raise gateway.core.denial.Refused.

    `caller` is what `identify` returned, in whatever class the gateway has for it.
    """

    async def identify(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Caller:
        """Who is calling; asked for every HTTP request, whatever its verb."""
        ...

    async def lister(self, caller: Any, headers: Mapping[str, str]) -> Callable[[str], bool]:
        """Tells of each tool `server__tool` whether this caller may see it, for one listing."""
        ...

    async def call_tool(self, caller: Any, ask: ToolAsk, send: Callable[[], Awaitable[T]]) -> ToolDone[T]:
        """Authorizes, holds, awaits `send()` at most once, settles.

        `send` returns what the tool server answered, its own errors included, and raises
        gateway.core.upstream.UpstreamError when there was no answer. Being cancelled settles too.
        """
        ...

    async def status(self, caller: Any, headers: Mapping[str, str], session: str | None) -> Mapping[str, Any]:
        """`quota_status`: of one session, or of all open ones of this key."""
        ...

    async def estimate(
        self, caller: Any, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]: ...

    async def limits(self, caller: Any, headers: Mapping[str, str], session: str | None) -> Mapping[str, Any]: ...

    async def history(self, caller: Any, by: str, last: int | None) -> Mapping[str, Any]:
        """`quota_history`: what this key used in the `last` hours or days."""
        ...

    async def open_child(
        self, caller: Any, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """`session_open_child`; the token is in the answer and nowhere else."""
        ...

    async def close_session(
        self, caller: Any, headers: Mapping[str, str], session: str | None
    ) -> Mapping[str, Any]: ...

    async def request(self, caller: Any, headers: Mapping[str, str], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """`quota_request`: asks, or tells of what was asked."""
        ...

    async def models(self, caller: Any) -> Mapping[str, Any]: ...

    async def explain(self, caller: Any, call_id: str) -> Mapping[str, Any]: ...
