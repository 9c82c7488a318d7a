"""The tools that Comptroller itself offers to agents: what may I still use, what would this cost, why was I refused.

They are always allowed, cost nothing, need no session to be open, and tell about the caller's own key only.
Every result holds `summary`, one sentence, which is also the text of the result.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from gateway.core.denial import Code, Denial, Refused
from gateway.pipeline.key_rate import KeyRate
from mcp_server.denials import tool_refusal
from mcp_server.governance import Caller, Governance
from mcp_server.own.arguments import check
from mcp_server.own.table import BY_NAME, TOOLS
from mcp_server.own.tool import Asked

DEFINITIONS: Final[tuple[Mapping[str, Any], ...]] = tuple(tool.definition for tool in TOOLS)
NAMES: Final = frozenset(BY_NAME)


class OwnTools:
    """`rate_per_s` calls a second and key; more are refused with the time to wait."""

    def __init__(self, governance: Governance, rate_per_s: float, clock: Callable[[], float]) -> None:
        self._governance = governance
        self._rate = KeyRate(rate_per_s, burst=max(1, round(2 * rate_per_s)), clock=clock)

    async def call(
        self, caller: Caller, name: str, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A raw CallToolResult; a refusal too."""
        tool = BY_NAME[name]
        try:
            self._admit(caller)
            check(name, tool.definition["inputSchema"], arguments)
            found = await tool.answer(Asked(self._governance, caller, headers, arguments))
        except Refused as refused:
            return tool_refusal(refused.denial)
        summary = found.get("summary")
        text = summary if isinstance(summary, str) else orjson.dumps(found).decode()
        return {"content": [{"type": "text", "text": text}], "structuredContent": dict(found), "isError": False}

    def _admit(self, caller: Caller) -> None:
        if (wait_s := self._rate.retry_after_s(caller.key_id)) is not None:
            message = f"Too many questions at once: ask again in {wait_s:.1f} s."
            raise Refused(Denial(Code.RATE_LIMITED, message, retry_after_s=round(wait_s, 3)))
