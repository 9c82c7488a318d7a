"""The repository as the tidy tests see it: files, and Python modules parsed once. Works without git."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("gateway", "mcp_server")
SHIPPED = (*PRODUCT, "examples", "benchmarks")

# Made by tools and runs; .gitignore names the same. Hidden folders are made too, but for .ci.
MADE = frozenset({"build", "dist", "var", "node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Module:
    path: str
    text: str
    tree: ast.Module

    @property
    def line_count(self) -> int:
        return self.text.count("\n")


def walk(top: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(top):
        here = Path(folder)
        names[:] = sorted(n for n in names if n not in MADE and (n == ".ci" or not n.startswith(".")))
        if here == ROOT / "benchmarks":
            names[:] = [name for name in names if name != "results"]
        # In a linked work tree `.git` is a file, and it holds a path.
        yield from (here / name for name in sorted(files) if name != ".git" and not (here / name).is_symlink())


@cache
def modules(*tops: str) -> tuple[Module, ...]:
    """Every Python module below the given top-level folders."""
    found = []
    for top in tops:
        for path in walk(ROOT / top):
            if path.suffix == ".py":
                text = path.read_text(encoding="utf-8")
                found.append(Module(path.relative_to(ROOT).as_posix(), text, ast.parse(text, str(path))))
    return tuple(found)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """(path, text) of every text file of the repository."""
    found = []
    for path in walk(ROOT):
        if path.suffix in {".db", ".log"} or ".db-" in path.name:
            continue
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # a picture or another binary
    return tuple(found)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def at(module: Module, node: ast.AST) -> str:
    return f"{module.path}:{getattr(node, 'lineno', 1)}"


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of attributes on a name, else the empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
