"""examples/agent_loop, run as its README says: the agent that looks finishes, its twin is stopped."""

import json
import re

import pytest

from tests.examples.shown import run_block

pytestmark = pytest.mark.xdist_group("agent_loop")
BUDGET_TOKENS = 3_000


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    said = run_block("examples/agent_loop/README.md", tmp_path_factory.mktemp("loop") / "home")
    named = (part.partition("\n") for part in said.removeprefix("== ").split("\n== "))
    return {name: text for name, _, text in named}


def test_the_agent_asks_plans_and_finishes_in_its_budget(parts: dict[str, str]) -> None:
    said = parts["agent.py"]
    assert re.search(r"^  quota_status \{\}: .*remain", said, re.MULTILINE)
    asked = len(re.findall(r"^question \d: ", said, re.MULTILINE))
    assert "the report needs some: no further question" in said
    finished = re.search(
        r"^finished: (\d) of 6 questions, (\d+) calls, ([\d,]+) tokens, ([\d,]+) left$", said, re.MULTILINE
    )
    assert finished is not None
    done, _, tokens, left = (int(figure.replace(",", "")) for figure in finished.groups())
    assert 0 < done == asked < 6
    assert tokens + left == BUDGET_TOKENS


def test_the_twin_is_stopped_after_one_refused_request(parts: dict[str, str]) -> None:
    said, books = parts["runaway.py"], parts["who spent what"]
    answers = len(re.findall(r"^  lookup ", said, re.MULTILINE))
    assert re.search(
        rf"^stopped after {answers} answers and [\d,]+ tokens: HTTP 402, loop_detected$", said, re.MULTILINE
    )
    assert "is paused" in said
    (denial,) = re.findall(r"^  error.comptroller: (.*)$", said, re.MULTILINE)
    assert json.loads(denial)["code"] == "loop_detected"
    header, *rows = (line.split() for line in books.splitlines())
    parrot = next(dict(zip(header, row, strict=True)) for row in rows if row[0] == "parrot")
    assert (parrot["calls"], parrot["denied"]) == (str(answers), "1")
