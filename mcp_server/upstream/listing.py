"""The tools of one server, as it describes them: listed raw, checked one by one, kept unchanged.

Rule: one bad tool is left out and named; it never empties the list. What is kept keeps every field, known or not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map
from mcp_types import methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION
from pydantic import ValidationError

from gateway.core.upstream import UpstreamInvalid
from mcp_server.upstream.session import Session

NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
PAGES_MAX = 100
TOOL_BYTES_MAX = 256 * 1024
DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """One tool as its server describes it. `legacy` is what clients of the handshake era are told."""

    name: str
    raw: Mapping[str, Any]
    legacy: Mapping[str, Any]
    param_headers: Mapping[tuple[str, ...], str]

    @property
    def input_schema(self) -> Any:
        return self.raw.get("inputSchema")


@dataclass(frozen=True, slots=True)
class Listing:
    """The usable tools in the server's order, and the names and faults of the others."""

    tools: tuple[ToolDefinition, ...]
    refused: tuple[tuple[str, str], ...] = ()


async def list_tools(session: Session, tools_max: int) -> Listing:
    """All pages. Raises RpcError, UpstreamError."""
    found: dict[str, ToolDefinition] = {}
    refused: list[tuple[str, str]] = []
    params: dict[str, Any] = {}
    seen: set[str] = set()
    for _ in range(PAGES_MAX):
        page = await session.request("tools/list", params)
        tools = page.get("tools")
        if not isinstance(tools, list):
            raise UpstreamInvalid("the list of tools is no list")
        for raw in tools:
            read_tool(raw, found, refused)
        if len(found) + len(refused) > tools_max:
            raise UpstreamInvalid(f"the tool server lists more than {tools_max} tools")
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or cursor in seen:
            break
        seen.add(cursor)
        params = {"cursor": cursor}
    return Listing(tuple(found.values()), tuple(refused))


def read_tool(raw: Any, found: dict[str, ToolDefinition], refused: list[tuple[str, str]]) -> None:
    """Adds the tool to one of the two."""
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        refused.append(("?", "its name is missing or not 1 to 128 of A-Z a-z 0-9 _ . -"))
        return
    if (fault := _fault(name, raw, found)) is not None:
        refused.append((name, fault))
        return
    legacy = raw
    if not _valid(raw, LATEST_HANDSHAKE_VERSION):  # an output schema that is no object came with the modern era
        legacy = {key: value for key, value in raw.items() if key != "outputSchema"}
    found[name] = ToolDefinition(name, raw, legacy, x_mcp_header_map(raw["inputSchema"]))


def _fault(name: str, raw: dict[str, Any], found: Mapping[str, ToolDefinition]) -> str | None:
    if name in found:
        return "another tool has the same name"
    if deeper_than(raw, DEPTH_MAX):
        return f"nested deeper than {DEPTH_MAX}"
    if len(orjson.dumps(raw)) > TOOL_BYTES_MAX:
        return f"its description is larger than {TOOL_BYTES_MAX} bytes"
    if not _valid(raw, LATEST_MODERN_VERSION):
        return "its description is not what the specification says"
    if find_invalid_x_mcp_header(raw["inputSchema"]) is not None:
        return "its x-mcp-header is invalid"
    return None


def deeper_than(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return True


def _valid(raw: dict[str, Any], version: str) -> bool:
    page = {"tools": [raw], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    try:
        methods.validate_server_result("tools/list", version, page)
    except ValidationError:
        return False
    return True
