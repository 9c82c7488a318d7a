"""examples/mcp_tools, run as its README says: a real tool server behind a real gateway, until the budget ends."""

import re

import pytest

from tests.examples.shown import run_block

pytestmark = pytest.mark.xdist_group("mcp_tools")
TOOL_CALLS = 5
PRICE_USD = 0.01


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_block("examples/mcp_tools/README.md", tmp_path_factory.mktemp("mcp-tools") / "home")


def test_the_agent_sees_what_it_may_use_and_works_until_its_budget_ends(said: str) -> None:
    (listed,) = re.findall(r"^tools: (.*)$", said, re.MULTILINE)
    assert {"notes__add_note", "notes__search_notes", "quota_status"} <= set(listed.split(", "))
    assert "notes__delete_note" not in listed
    assert re.search(r"^delete: There is no tool `notes__delete_note`", said, re.MULTILINE)
    assert [int(n) for n in re.findall(r"^call (\d): kept", said, re.MULTILINE)] == list(range(1, TOOL_CALLS + 1))
    assert re.search(rf"^call {TOOL_CALLS + 1}: refused, session_budget_exhausted: ", said, re.MULTILINE)


def test_the_books_say_what_the_agent_was_told(said: str) -> None:
    header, *rows = (line.split() for line in said.partition("== who spent what\n")[2].splitlines())
    booked = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    added = booked["notes__add_note"]
    assert (added["agent"], added["calls"], added["denied"]) == ("notetaker", str(TOOL_CALLS), "1")
    assert (added["tool_calls"], float(added["cost_usd"])) == (str(TOOL_CALLS), TOOL_CALLS * PRICE_USD)
    assert (booked["notes__delete_note"]["calls"], booked["notes__delete_note"]["cost_usd"]) == ("0", "0")
