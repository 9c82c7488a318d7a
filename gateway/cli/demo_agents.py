"""Agents as the demo has them: a plain HTTP client that speaks the OpenAI format, an MCP client for the quota tools.

They know the gateway's address and their own virtual key, nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from gateway.cli.demo_gateway import DemoFailed, Gateway

TIMEOUT_S = 30.0
Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request. `error` is the OpenAI error object of a refusal; `clamped`: the gateway set the
    longest answer; `final`: the agent is told not to try again."""

    status: int
    session_id: str
    text: str
    tokens: int
    cost_usd: Decimal
    warning: str | None
    clamped: bool
    final: bool
    error: Mapping[str, Any] | None

    @property
    def code(self) -> str:
        return "" if self.error is None else str(self.error["code"])

    @property
    def message(self) -> str:
        return "" if self.error is None else str(self.error["message"])

    @property
    def denial(self) -> Mapping[str, Any]:
        """The machine-readable object of a refusal."""
        found: Mapping[str, Any] = {} if self.error is None else self.error["comptroller"]
        return found


class Agent:
    """One run of one agent. `replies` is all that it was told, in order."""

    def __init__(self, gateway: Gateway, name: str, secret: str) -> None:
        self.name = name
        self.replies: list[Reply] = []
        self._gateway = gateway
        self._headers = {"authorization": f"Bearer {secret}", "x-comptroller-session": f"{name}-run"}

    @property
    def session_id(self) -> str:
        """The gateway's own name for this run."""
        return next(reply.session_id for reply in self.replies if reply.session_id)

    @property
    def answered(self) -> int:
        """How many of its requests were answered."""
        return sum(1 for reply in self.replies if reply.error is None)

    async def ask(self, model: str, messages: Sequence[Message] | str, **fields: Any) -> Reply:
        """One chat completion; `messages` may be the text of a single one."""
        asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        got = await self._gateway.client.post(
            f"{self._gateway.url}/v1/chat/completions",
            headers=self._headers,
            json={"model": model, "messages": asked, **fields},
        )
        reply = _read(got)
        self.replies.append(reply)
        return reply

    async def quota_status(self) -> Mapping[str, Any]:
        """What this agent may still use: the governance tool of the gateway's MCP server."""
        async with httpx2.AsyncClient(headers=self._headers, timeout=TIMEOUT_S, trust_env=False) as http:
            transport = streamable_http_client(f"{self._gateway.url}/mcp", http_client=http)
            async with Client(transport) as client:
                result = await client.call_tool("quota_status", {})
        if result.is_error or result.structured_content is None:
            raise DemoFailed("quota_status was refused")
        found: Mapping[str, Any] = result.structured_content
        return found


def _read(got: httpx2.Response) -> Reply:
    document = got.json()
    error = document.get("error")
    if error is not None and "comptroller" not in error:
        raise DemoFailed(f"an unexpected answer: {got.status_code} {got.text[:300]}")
    usage = document.get("usage") or {}
    return Reply(
        status=got.status_code,
        session_id=got.headers.get("x-comptroller-session", ""),
        text="" if error is not None else document["choices"][0]["message"]["content"] or "",
        tokens=usage.get("total_tokens", 0),
        cost_usd=Decimal(got.headers.get("x-comptroller-cost-usd", "0")),
        warning=got.headers.get("x-comptroller-warning"),
        clamped="x-comptroller-clamped" in got.headers,
        final=got.headers.get("x-should-retry") == "false",
        error=error,
    )
