"""The policies that we ship and show: each loads, passes its own tests, and has no row that no test needs."""

import pytest

from gateway.policy.engine import load_policy, run_tests
from gateway.policy.source import PolicySource
from tests.policy.policies import REPOSITORY

EXAMPLES = sorted(path.name for path in (REPOSITORY / "examples" / "policies").iterdir() if path.is_dir())
DIRECTORIES = ["policies/", *(f"examples/policies/{name}/" for name in EXAMPLES)]


def test_there_are_three_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("directory", DIRECTORIES)
@pytest.mark.parametrize("engine", ["compiled", "casbin"])
def test_loads_and_passes_its_tests(directory: str, engine: str) -> None:
    policy = load_policy(PolicySource(REPOSITORY, files=(directory,)), engine=engine)
    assert len(policy.expectations) >= 5


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_row_decides_some_expectation(directory: str) -> None:
    policy = load_policy(PolicySource(REPOSITORY, files=(directory,)))
    deciding = {result.decision.rule for result in run_tests(policy)}
    assert [str(rule.place) for rule in policy.rows.rules if str(rule.place) not in deciding] == []


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_carries_its_count_of_rows(directory: str) -> None:
    for path in (REPOSITORY / directory).glob("*.csv"):
        lines = path.read_text().splitlines()
        assert any(
            line.startswith("# rows: ") for line in lines[: next(n for n, line in enumerate(lines) if line[0:1] != "#")]
        )
