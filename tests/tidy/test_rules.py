"""Every rule that is built has a test that carries its number."""

import re

from tests.tidy.rules_of_issue import BUILT, LAST
from tests.tidy.tree import functions, modules

RULE_TEST = re.compile(r"test_rule_(\d+)_\w")


def proven() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for module in modules("tests"):
        for function in functions(module.tree):
            if match := RULE_TEST.match(function.name):
                found.setdefault(int(match[1]), []).append(f"{module.path}::{function.name}")
    return found


def test_rules_are_listed_once_in_order() -> None:
    assert list(BUILT) == sorted(set(BUILT))


def test_every_built_rule_is_proven() -> None:
    assert sorted(set(BUILT) - proven().keys()) == []


def test_every_proof_is_of_a_rule_that_there_is() -> None:
    assert sorted(proven().keys() - set(range(1, LAST + 1))) == []
