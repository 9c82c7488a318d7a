"""An agent loop on the openai SDK: the model may call tools until it answers. `lookup` is the agent's own tool,
`quota_status` one of the gateway's, reached with the mcp SDK."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from openai import AsyncOpenAI

URL = os.environ.get("COMPTROLLER_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("MODEL", "sim-small")
STEPS_MAX = 20
ANSWER_TOKENS_MAX = 400


def function(name: str, description: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A tool as the OpenAI format declares it."""
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def lookup(topic: str) -> str:
    return f"Three books are about {topic}; the newest is on the second shelf."


class Agent:
    """One run of one agent, with the openai SDK for the model and an MCP client of the same gateway for tools."""

    def __init__(self, openai: AsyncOpenAI, gateway: Client) -> None:
        self.calls = 0
        self.tokens = 0
        self._openai = openai
        self._gateway = gateway

    async def run(self, task: str) -> str:
        """Lets the model work on a task until it answers. A refusal of the gateway is an openai.APIStatusError."""
        topic = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
        tools = [function("lookup", "Look something up in the library.", topic), await self._quota_tool()]
        messages: list[Any] = [{"role": "user", "content": task}]
        for _ in range(STEPS_MAX):
            message = await self._answer(messages, tools)
            if not message.tool_calls:
                return str(message.content)
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls:
                result = await self._use(call.function.name, json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        return "I came to no end."

    async def tokens_left(self) -> int:
        """What this run may still use, as `quota_status` tells it: free of charge, also when nothing is left."""
        result = await self._gateway.call_tool("quota_status", {})
        sessions = (result.structured_content or {})["sessions"]
        return int(next(limit["remaining"] for limit in sessions[0]["limits"] if limit["unit"] == "tokens"))

    async def _answer(self, messages: list[Any], tools: list[Any]) -> Any:
        reply = await self._openai.chat.completions.create(
            model=MODEL, messages=messages, tools=tools, max_tokens=ANSWER_TOKENS_MAX
        )
        self.calls += 1
        self.tokens += reply.usage.total_tokens if reply.usage else 0
        return reply.choices[0].message

    async def _quota_tool(self) -> dict[str, Any]:
        listed = (await self._gateway.list_tools()).tools
        tool = next(tool for tool in listed if tool.name == "quota_status")
        return function(tool.name, tool.description or "", tool.input_schema)

    async def _use(self, name: str, arguments: dict[str, Any]) -> str:
        if name == "lookup":
            result = lookup(**arguments)
        else:
            answer = await self._gateway.call_tool(name, arguments)
            result = " ".join(part.text for part in answer.content if isinstance(part, TextContent))
        print(f"  {name} {json.dumps(arguments)}: {result}")
        return result


@asynccontextmanager
async def connected(session: str) -> AsyncIterator[tuple[AsyncOpenAI, Client]]:
    """A model client and an MCP client with the same key. `session` names this run: its budget counts by that."""
    key = os.environ["COMPTROLLER_API_KEY"]
    mark = {"x-comptroller-session": session}
    async with (
        AsyncOpenAI(base_url=f"{URL}/v1", api_key=key, default_headers=mark) as openai,
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}", **mark}, timeout=30.0) as http,
        Client(streamable_http_client(f"{URL}/mcp", http_client=http)) as gateway,
    ):
        yield openai, gateway
