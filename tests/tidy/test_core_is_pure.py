"""gateway/core computes; it does not wait, look at a clock, draw lots or talk. `now` and ids come in as arguments."""

import ast
import sys
from collections.abc import Iterator

from tests.tidy.tree import Module, at, dotted, modules

IMPURE = frozenset(
    {
        *(
            "asyncio",
            "concurrent",
            "contextvars",
            "multiprocessing",
            "queue",
            "sched",
            "signal",
            "threading",
            "weakref",
        ),
        *("http", "select", "selectors", "smtplib", "socket", "socketserver", "ssl", "urllib.request"),
        *(
            "getpass",
            "glob",
            "io",
            "os",
            "pathlib",
            "platform",
            "shelve",
            "shutil",
            "sqlite3",
            "subprocess",
            "tempfile",
        ),
        *("importlib", "inspect", "locale", "logging", "random", "secrets", "sys", "time", "uuid"),
    }
)
CLOCKS = ("now", "utcnow", "today")
TALKING = frozenset({"open", "print", "input", "exec", "eval", "__import__"})


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or "."


def faults(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        for name in imported(node):
            top = name.split(".", maxsplit=1)[0]
            if name in IMPURE or top in IMPURE:
                yield f"{at(module, node)} imports {name}"
            elif top not in sys.stdlib_module_names and not name.startswith("gateway.core"):
                yield f"{at(module, node)} imports {name}, which is neither core nor the standard library"
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{at(module, node)} waits"
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in TALKING:
                yield f"{at(module, node)} calls {name}"
            if name.rpartition(".")[2] in CLOCKS and name.split(".")[0] in {"datetime", "date", "dt"}:
                yield f"{at(module, node)} looks at the clock: {name}"


def test_core_is_pure() -> None:
    assert [fault for module in modules("gateway/core") for fault in faults(module)] == []


def test_core_is_there() -> None:
    assert len(modules("gateway/core")) > 10
