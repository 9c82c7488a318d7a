"""An agent without a model: it looks what it may do, takes notes until it is stopped, and says what it was told.

COMPTROLLER_URL=http://127.0.0.1:8091 COMPTROLLER_API_KEY=cptr_sk_... python agent.py
"""

import asyncio
import os

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

CALLS_MAX = 20


def text_of(result: CallToolResult) -> str:
    return " ".join(part.text for part in result.content if isinstance(part, TextContent))


async def take_notes(client: Client) -> None:
    tools = [tool.name for tool in (await client.list_tools()).tools]
    print("tools:", ", ".join(tools))
    print("quota:", text_of(await client.call_tool("quota_status", {})))
    forbidden = await client.call_tool("notes__delete_note", {"id": 1})
    print("delete:", text_of(forbidden))
    for number in range(1, CALLS_MAX + 1):
        result = await client.call_tool("notes__add_note", {"text": f"note {number}"})
        if result.is_error:
            denial = (result.structured_content or {}).get("comptroller", {})
            print(f"call {number}: refused, {denial.get('code')}: {text_of(result)}")
            return
        print(f"call {number}: kept, left: {(result.meta or {}).get('comptroller/quota')}")


async def main() -> None:
    headers = {"authorization": f"Bearer {os.environ['COMPTROLLER_API_KEY']}", "x-comptroller-session": "notes-run"}
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(f"{os.environ['COMPTROLLER_URL']}/mcp", http_client=http)
        async with Client(transport) as client:
            await take_notes(client)


if __name__ == "__main__":
    asyncio.run(main())
