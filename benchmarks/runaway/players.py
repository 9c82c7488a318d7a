"""Carries an agent's turns to a running gateway with the real SDKs: openai for the model, mcp for tools."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from openai import APIStatusError, AsyncOpenAI

from benchmarks.runaway.agent import TOOLS, Message, Reply, Stopped
from benchmarks.runaway.desk import FAILED, RESULT

SERVER_FAULT = 500
SESSION = "x-comptroller-session"
_DECLARED: Final[Any] = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in TOOLS]


@dataclass
class GatewayPlayer:
    """`calls` counts what was let through, `warned` the replies with a warning; `session_id` is the gateway's."""

    model: AsyncOpenAI
    hurried: AsyncOpenAI
    tools: Client
    session: str
    calls: int = 0
    warned: int = 0
    session_id: str = ""

    async def chat(self, messages: Sequence[Message], reply: Reply, *, stream: bool, patient: bool) -> bool:
        told = json.dumps({"text": reply.text, "calls": reply.calls, "status": reply.status})
        client = self.model if patient else self.hurried
        options: Any = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        try:
            raw = await client.chat.completions.with_raw_response.create(
                model="thinker",
                messages=list(messages),  # type: ignore[arg-type]
                tools=_DECLARED,
                max_tokens=2_000,
                metadata={"reply": told},
                extra_headers={SESSION: self.session},
                **options,
            )
            if stream:
                replies: Any = raw.parse()
                async for _ in replies:
                    pass
        except APIStatusError as error:
            if error.status_code >= SERVER_FAULT:
                self.calls += 1
                return False
            raise Stopped(*_why(error.response.json()["error"])) from error
        self.calls += 1
        self.session_id = raw.headers[SESSION]
        self.warned += "x-comptroller-warning" in raw.headers
        return True

    async def tool(self, name: str, arguments: dict[str, Any], result: str, *, failed: bool) -> None:
        meta: Any = {RESULT: result, FAILED: failed}
        answer = await self.tools.call_tool(f"desk__{name}", arguments, meta=meta)
        said = answer.structured_content
        if isinstance(said, dict) and "comptroller" in said:
            raise Stopped(*_why({"code": said["comptroller"]["code"], **said}))
        told = answer.meta or {}
        if "comptroller/session" not in told:
            raise RuntimeError(f"the tool was not called: {answer}")
        self.calls += 1
        self.session_id = str(told["comptroller/session"])
        self.warned += "comptroller/warning" in told


@asynccontextmanager
async def player(base_url: str, key: str, session: str) -> AsyncIterator[GatewayPlayer]:
    headers = {"Authorization": f"Bearer {key}", SESSION: session}
    async with (
        AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key) as patient,
        AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0) as hurried,
        httpx2.AsyncClient(headers=headers, timeout=30.0) as http,
        Client(streamable_http_client(f"{base_url}/mcp", http_client=http), cache=None) as tools,
    ):
        yield GatewayPlayer(patient, hurried, tools, session)


def _why(error: dict[str, Any]) -> tuple[str, str]:
    loop = (error.get("comptroller") or {}).get("loop") or {}
    return str(error.get("code")), str(loop.get("detector", ""))
