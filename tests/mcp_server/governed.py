"""A small, honest `Governance` in memory: keys, denied tools and a budget of calls. No part of the gateway is faked."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.core.denial import Code, Denial, LimitFacts, Refused
from gateway.core.tool import ToolAsk, ToolDone
from gateway.core.upstream import UpstreamError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyCaller:
    key_id: str
    key_name: str


@dataclass(slots=True)
class Outcome:
    """What became of one call: settled, denied, failed or cancelled."""

    ask: ToolAsk
    state: str = "held"


@dataclass
class TableGovernance:
    """`keys`: secret to key name. `denied`: tools nobody may list or call; `denied_calls`: listed, but not callable."""

    keys: dict[str, str] = field(default_factory=lambda: {"secret-a": "alice", "secret-b": "bob"})
    denied: set[str] = field(default_factory=set)
    denied_calls: set[str] = field(default_factory=set)
    budget: int = 1_000
    outcomes: list[Outcome] = field(default_factory=list)
    identified: list[Mapping[str, str]] = field(default_factory=list)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    async def identify(self, headers: Mapping[str, str], query: Mapping[str, str]) -> KeyCaller:
        self.identified.append(headers)
        credential = headers.get("authorization", "").removeprefix("Bearer ") or query.get("key", "")
        if not credential:
            raise Refused(Denial(Code.KEY_MISSING, "A key is missing: send it as a bearer token."))
        if credential not in self.keys:
            raise Refused(Denial(Code.KEY_UNKNOWN, "This key is unknown."))
        return KeyCaller(f"id-{self.keys[credential]}", self.keys[credential])

    async def lister(self, caller: KeyCaller, headers: Mapping[str, str]) -> Callable[[str], bool]:
        return lambda name: self._may_see(caller, name)

    def _may_see(self, caller: KeyCaller, name: str) -> bool:
        return name not in self.denied and f"{caller.key_name}:{name}" not in self.denied

    async def call_tool(self, caller: KeyCaller, ask: ToolAsk, send: Callable[[], Awaitable[T]]) -> ToolDone[T]:
        call_id = f"call-{next(self._ids)}"
        outcome = Outcome(ask)
        self.outcomes.append(outcome)
        try:
            self._admit(caller, ask, call_id)
            result = await send()
        except Refused:
            outcome.state = "denied"
            raise
        except UpstreamError:
            outcome.state = "failed"
            raise
        except asyncio.CancelledError:
            outcome.state = "cancelled"
            self.settled.set()
            raise
        outcome.state = "settled"
        self.settled.set()
        remaining = {"limit": "calls", "unit": "tool_calls", "remaining": self.budget - self._used()}
        return ToolDone(result, call_id, f"session-of-{caller.key_name}", remaining)

    def _admit(self, caller: KeyCaller, ask: ToolAsk, call_id: str) -> None:
        if not self._may_see(caller, ask.name) or ask.name in self.denied_calls:
            raise Refused(Denial(Code.TOOL_DENIED, f"`{ask.name}` is denied.", call_id, rule="p, user:x"))
        if self._used() > self.budget:
            facts = LimitFacts("calls", "session:s", "tool_calls", self.budget, self.budget, 0, 1, None)
            raise Refused(
                Denial(Code.SESSION_BUDGET_EXHAUSTED, "All tool calls of the session are used.", call_id, limit=facts)
            )

    def _used(self) -> int:
        return sum(outcome.state in ("held", "settled") for outcome in self.outcomes)

    async def status(self, caller: KeyCaller, headers: Mapping[str, str], session: str | None) -> dict[str, Any]:
        return {
            "summary": f"{self.budget - self._used()} calls left.",
            "sessions": [{"session": session or "s", "state": "open"}],
        }

    async def estimate(
        self, caller: KeyCaller, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {"summary": "Would be allowed.", "would_allow": True, "cost_usd": 0.0}

    async def limits(self, caller: KeyCaller, headers: Mapping[str, str], session: str | None) -> dict[str, Any]:
        limit = {"name": "calls", "scope": "session:s", "unit": "tool_calls", "limit": self.budget, "remaining": 1}
        return {"summary": "One limit.", "limits": [limit]}

    async def history(self, caller: KeyCaller, by: str, last: int | None) -> dict[str, Any]:
        return {"summary": f"{self._used()} calls.", "by": by, "since": "", "until": "", "rows": []}

    async def open_child(
        self, caller: KeyCaller, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        parent = arguments.get("session") or "s"
        child = {"session": "c", "parent": parent, "depth": 1, "token": "t", "header": "x-comptroller-session"}
        return {"summary": "One child.", "expires_at": "", "limits": [], **child}

    async def close_session(self, caller: KeyCaller, headers: Mapping[str, str], session: str | None) -> dict[str, Any]:
        return {"summary": "Closed.", "session": session or "s", "closed": [session or "s"]}

    async def request(
        self, caller: KeyCaller, headers: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        asked = {"request": "req", "state": "pending", "limit": "calls", "scope": "session:s", "unit": "tool_calls"}
        return {"summary": "Asked.", "requests": [asked]}

    async def models(self, caller: KeyCaller) -> dict[str, Any]:
        return {"summary": "One model.", "models": [{"name": "tiny"}]}

    async def explain(self, caller: KeyCaller, call_id: str) -> dict[str, Any]:
        if not call_id.startswith("call-"):
            raise Refused(Denial(Code.REQUEST_MALFORMED, "No call of this key has that id.", field="call_id"))
        return {"summary": "It was denied by a rule.", "comptroller": {"call": call_id}}
