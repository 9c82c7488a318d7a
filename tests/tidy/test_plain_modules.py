"""A module is read from the top: its imports first, its constants constant, its state in objects that somebody made."""

import ast
from collections.abc import Iterator

import pytest

from tests.tidy.tree import PRODUCT, SHIPPED, Module, at, dotted, functions, modules

# `comptroller --help` answers in 200 ms because commands are imported by name when they are asked for.
IMPORTS_BY_NAME = frozenset({"gateway/cli/lazy.py", "gateway/wiring/http_client.py", "mcp_server/front.py"})

MUTABLE_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_MAKERS = frozenset(
    {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "ChainMap", "count", "cycle"}
)
# A name annotated with one of these cannot be written through: mypy --strict refuses it.
READ_ONLY = frozenset({"Final", "Mapping", "Sequence", "Collection", "Set", "AbstractSet", "Iterable"})


def makes_mutable(value: ast.AST) -> bool:
    if isinstance(value, MUTABLE_DISPLAYS):
        return True
    return isinstance(value, ast.Call) and dotted(value.func).rpartition(".")[2] in MUTABLE_MAKERS


def reads_only(annotation: ast.AST) -> bool:
    named = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return dotted(named).rpartition(".")[2] in READ_ONLY


def module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, those under `if` and `try` too."""
    for statement in body:
        yield statement
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.With):
                yield from module_level(getattr(statement, field, []))


def mutable_state(module: Module) -> Iterator[str]:
    for statement in module_level(module.tree.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                continue
            case ast.Assign(targets=[target, *_], value=value) if makes_mutable(value):
                yield f"{at(module, statement)} {dotted(target)}"
            case ast.AnnAssign(target=target, annotation=kind, value=value) if value and makes_mutable(value):
                if not reads_only(kind):
                    yield f"{at(module, statement)} {dotted(target)}"


def late_imports(module: Module) -> Iterator[str]:
    for function in functions(module.tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield f"{at(module, node)} in {function.name}"
    if module.path in IMPORTS_BY_NAME:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and dotted(node.func) in {
            "importlib.import_module",
            "import_module",
            "__import__",
        }:
            yield f"{at(module, node)} imports by name"


def test_no_mutable_state_at_module_level() -> None:
    """Use a tuple, a frozenset, a MappingProxyType, or annotate the name with a read-only type."""
    assert [fault for module in modules(*SHIPPED) for fault in mutable_state(module)] == []


def test_imports_stand_at_the_top() -> None:
    assert [fault for module in modules(*SHIPPED) for fault in late_imports(module)] == []


def test_no_global_statement() -> None:
    found = [
        at(module, node)
        for module in modules(*SHIPPED, "tests")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
    ]
    assert found == []


def test_every_package_is_a_package() -> None:
    """A folder without __init__.py is left out of the layer contracts and of the type check."""
    folders = {module.path.rpartition("/")[0] for module in modules(*PRODUCT)}
    packages = {module.path.rpartition("/")[0] for module in modules(*PRODUCT) if module.path.endswith("/__init__.py")}
    assert sorted(folders - packages) == []


@pytest.mark.parametrize(
    ("source", "faulty"),
    [
        ("cache = {}", True),
        ("seen: set[str] = set()", True),
        ("if True:\n    waiting = collections.deque()", True),
        ("NAMES = ['a']", True),
        ("NAMES = ('a', 'b')", False),
        ("NAMES = frozenset({'a'})", False),
        ("NAMES: Final = {'a': 1}", False),
        ("NAMES: Mapping[str, int] = {'a': 1}", False),
        ("NAMES = MappingProxyType({'a': 1})", False),
        ("__all__ = ['a']", False),
        ("def f():\n    x = []", False),
    ],
)
def test_what_counts_as_mutable_state(source: str, *, faulty: bool) -> None:
    assert bool(list(mutable_state(Module("made.py", source, ast.parse(source))))) is faulty
