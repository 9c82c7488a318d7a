"""SQL stands in plain sight: every statement is a constant, every value is bound. Nothing is built from strings."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.tidy.tree import Module, at, modules

STATEMENT = re.compile(
    r"^\s*(select|insert|update|delete|create|alter|drop|pragma|with|begin|replace|attach|vacuum)\s+\S", re.IGNORECASE
)
RUNS = frozenset({"execute", "executemany", "executescript", "execute_fetchall", "execute_insert"})
BUILDS = frozenset({"format", "join", "replace", "removesuffix", "substitute"})


def is_built(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BUILDS


def reads_as_sql(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and STATEMENT.match(part.value)
        for part in ast.walk(node)
    )


def runs_sql(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in RUNS


def faults(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if is_built(node) and reads_as_sql(node):
            yield f"{at(module, node)} builds SQL"
        elif isinstance(node, ast.Call) and runs_sql(node) and node.args and is_built(node.args[0]):
            yield f"{at(module, node)} runs what it builds"


def test_sql_is_constant() -> None:
    assert [fault for module in modules("gateway/storage") for fault in faults(module)] == []


@pytest.mark.parametrize(
    ("source", "faulty"),
    [
        ("db.execute(f'select * from {table}')", True),
        ("sql = 'select * from t where id = %s' % call", True),
        ("sql = 'delete from ' + table", True),
        ("db.execute(' '.join(parts))", True),
        ("sql = 'update {} set x = 1'.format(table)", True),
        ("db.execute('select * from t where id = ?', (call,))", False),
        ("db.executescript(SCHEMA)", False),
        ("log.info('selected ' + name)", False),
        ("total = a + b", False),
    ],
)
def test_what_counts_as_built_sql(source: str, *, faulty: bool) -> None:
    assert bool(list(faults(Module("made.py", source, ast.parse(source))))) is faulty
