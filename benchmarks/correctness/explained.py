"""A denial is only as good as its figures: do they add up, and does `denial_explain` tell the agent the same ones?"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.clients import Answer
from tests.support.gateway import GatewayProcess

TRIES = 20
Machine = Mapping[str, Any]


def figures(machine: Machine) -> list[str]:
    """What is wrong with the figures of a denial: room that was there, or remains that do not follow."""
    limit = machine["limit"]
    if limit is None:
        return []
    scale = 1_000_000 if limit["unit"] == "usd" else 1
    amount, spent, held, asked, remaining = (
        round(limit[name] * scale) for name in ("limit", "spent", "held", "asked", "remaining")
    )
    at = f"{machine['call']} on {limit['name']}: limit {amount}, spent {spent}, held {held}, asked {asked}"
    found = []
    if spent + held + asked <= amount:
        found.append(f"{at}: it would have fitted")
    if remaining != max(0, amount - spent - held):
        found.append(f"{at}: {remaining} cannot remain")
    if min(spent, held) < 0 or asked <= 0:
        found.append(f"{at}: an amount is out of range")
    return found


def refusals(answers: Iterable[Answer]) -> list[Machine]:
    """The machine-readable object of every refused call."""
    return [answer.json["error"]["comptroller"] for answer in answers if answer.status != 200]


async def unexplained(gateway: GatewayProcess, key: str, machines: Sequence[Machine]) -> list[str]:
    """What the agent's own tool says differently from the refusals that it was given."""
    found = [fault for machine in machines for fault in figures(machine)]
    headers = {"Authorization": f"Bearer {gateway.keys[key]}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30.0) as http:
        transport = streamable_http_client(f"{gateway.origin}/mcp", http_client=http)
        async with Client(transport, mode="auto", cache=None) as client:
            for machine in machines:
                told = await _explained(client, machine["call"])
                if told.get("comptroller") != machine:
                    found.append(f"denial_explain of {machine['call']} ({machine['code']}): {told.get('summary')}")
    return found


async def _explained(client: Client, call_id: str) -> Machine:
    """Asks at the small rate that the tool has."""
    told: Machine = {}
    for _ in range(TRIES):
        result = await client.call_tool("denial_explain", {"call_id": call_id})
        told = result.structured_content or {}
        if not result.is_error or told.get("comptroller", told).get("code") != "rate_limited":
            return told
        await asyncio.sleep(0.1)
    return told
