"""Every promise has proofs that exist, and every benchmark of correctness belongs to one."""

import ast
import re

from benchmarks.correctness.benches import BENCHES
from tests.tidy.tree import ROOT, modules

PAGE = ROOT / "docs" / "promises.md"
PROMISES = 13
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
PROOF = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows() -> list[tuple[str, str, str, str]]:
    return ROW.findall(PAGE.read_text(encoding="utf-8"))


def defined() -> dict[str, set[str]]:
    """Names on the top level of every test module."""
    return {module.path: set(_names(module.tree)) for module in modules("tests")}


def _names(tree: ast.Module) -> list[str]:
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return found


def test_every_promise_stands_on_the_page_with_a_proof() -> None:
    assert [int(number) for number, *_ in rows()] == list(range(1, PROMISES + 1))
    assert [number for number, _, proofs, _ in rows() if not PROOF.search(proofs)] == []


def test_the_proofs_exist() -> None:
    known = defined()
    dead = [
        f"{path}::{name}"
        for _, _, proofs, _ in rows()
        for path, name in PROOF.findall(proofs)
        if path not in known or (name and name not in known[path])
    ]
    assert dead == []


def test_every_benchmark_of_correctness_is_the_figure_of_a_promise() -> None:
    named = {name for *_, figures in rows() for name in re.findall(r"\bC\d+T?\b|\bM\b", figures)}
    assert named == {bench.name for bench in BENCHES}
