"""The agent of examples/mcp_tools against the endpoint: it sees what it may use, and stops when it is told to."""

import asyncio
import json
import os
import sys

from mcp_server.own_tools import NAMES
from tests.mcp_server.governed import TableGovernance
from tests.mcp_server.serving import ROOT, example, gateway

FOLDER = ROOT / "examples/mcp_tools"


async def test_the_agent_works_until_its_budget_ends() -> None:
    governance = TableGovernance(denied={"notes__delete_note"}, budget=5)
    async with gateway(example(), governance=governance) as gate:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(FOLDER / "agent.py"),
            env={**os.environ, "COMPTROLLER_URL": gate.url, "COMPTROLLER_API_KEY": "secret-a"},
            stdout=asyncio.subprocess.PIPE,
        )
        said = (await process.communicate())[0].decode().splitlines()
    assert process.returncode == 0
    assert said[0].endswith("denial_explain, notes__add_note, notes__search_notes")
    assert said[2].startswith("delete: There is no tool `notes__delete_note`")
    assert [line.partition(",")[0] for line in said[3:]] == [f"call {n}: kept" for n in range(1, 6)] + [
        "call 6: refused"
    ]
    assert "session_budget_exhausted" in said[-1]


def test_the_client_configuration_is_one() -> None:
    servers = json.loads((FOLDER / "mcp.json").read_text())["mcpServers"]
    assert servers["comptroller"]["url"].endswith("/mcp")
    assert servers["comptroller-stdio"]["args"][0] == "mcp"


def test_the_documentation_names_every_tool_of_ours() -> None:
    page = (ROOT / "docs/mcp.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []
